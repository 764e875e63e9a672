// What a host is refused for when it joins: one clear line, exit code, the error's own code, and a
// host that is as it was before.
//
//   <lab>-n1 (meshd) --- bridge --- host (asks to join)
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { runSync, spawnIn, trySync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { type Guest, MeshLab, meshdAt, type Place } from "./mesh-lab.js";

const test = suite("refusals");
const lab = new MeshLab("rf");
const POOL = "10.60.0.0/16";
/** Files a refused host may keep: its key, the lock's file, the log that says why. */
const MAY_STAY = new Set(["node.key", "agent.lock", "agent.log"]);
let host: Guest;
let attempts = 0;
/** One for many joins, so that each refusal costs one command less. */
let goodToken: string;

/** State and run directory of their own for every attempt. */
function freshPlace(): Place {
  attempts++;
  const [stateDir, runDir] = ["s", "r"].map((kind) => join(lab.folder, `try${attempts}${kind}`));
  return { namespace: host.namespace, stateDir: stateDir ?? "", runDir: runDir ?? "" };
}

/** What an agent could change of a host. */
function hostState(): string {
  const run = (argv: string) => trySync(host.namespace, argv.split(" ")).stdout;
  const links = run("ip -o link")
    .split("\n")
    .map((line) => line.split(": ")[1]);
  const parts = [
    links.join(" "),
    run("ip -4 -o address"),
    run("ip -4 route show table all"),
    run("ip -6 route show proto 157"),
    run("ip -6 route show proto 158"),
    run("nft list ruleset"),
    run("sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding"),
    trySync(lab.networkSpace, ["ip", "netns", "pids", host.namespace]).stdout,
  ];
  return parts.join("\n--\n");
}

interface Refusal {
  words?: string[];
  token?: string;
  code: string;
  exit?: number;
  says: RegExp;
}

/** Joins, expects the refusal, and that host and files are as before. */
function assertRefused(what: string, { words = [], token, code, exit = 1, says }: Refusal): void {
  const place = freshPlace();
  const before = hostState();
  const given = token ?? goodToken;
  const named = words.includes("--name") ? words : ["--name", `h${attempts}`, ...words];
  const done = meshdAt(place, ["join", "-", "--json", ...named], `${given}\n`);
  assert.is(done.code, exit, `${what}: ${done.stdout}${done.stderr}`);
  assert.match(done.stderr, /^meshd: [^\n]+\n$/, what);
  assert.match(done.stderr, says, `${what}: ${done.stderr}`);
  const { error } = JSON.parse(done.stdout) as { error: { code: string; message: string } };
  assert.is(error.code, code, what);
  assert.match(error.message, says, what);
  assert.is(hostState(), before, what);
  const files = existsSync(place.stateDir) ? readdirSync(place.stateDir) : [];
  assert.equal(
    files.filter((file) => !MAY_STAY.has(file)),
    [],
    what,
  );
  assert.equal(existsSync(place.runDir) ? readdirSync(place.runDir) : [], [], what);
}

/** No refused host is a node or holds a lease. */
function assertOnlyFirstNode(): void {
  const names = lab.admin<{ name: string }[]>("node", "list").map(({ name }) => name);
  assert.equal(names, ["n1"]);
  const held = lab.admin<{ state: string; name: string }[]>("lease", "list");
  const others = held.filter(({ state, name }) => state === "held" && name !== "n1");
  assert.equal(others, []);
}

const ip = (argv: string, at = "") => runSync(at || host.namespace, ["ip", ...argv.split(" ")]);

/** Something of somebody else's stands on the host while `body` runs. */
function withObstacle(add: string, remove: string, body: () => void): void {
  ip(add);
  try {
    body();
  } finally {
    ip(remove);
  }
}

/** Another program has the tunnel's port while `body` runs. */
async function withPortTaken(options: string, body: () => void): Promise<void> {
  const open = `import("node-tun").then((t) => { t.openUdp({ family: 4, ${options} }); `;
  const script = `${open} console.log("open"); setInterval(() => 0, 1000); })`;
  const child = spawnIn(host.namespace, [process.execPath, "-e", script]);
  let said = "";
  child.stdout?.on("data", (piece: Buffer) => {
    said += piece;
  });
  try {
    await until("the port is taken", () => said.includes("open"));
    body();
  } finally {
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}

if (isRoot) {
  test.before(() => {
    lab.up("--nodes", "1", "--pods", "0", "--set", `clusterPoolIPv4PodCIDR=${POOL}`);
    host = lab.addGuest("host");
    goodToken = lab.token("--uses", "unlimited");
  });
  test.after.each(() => assertOnlyFirstNode());
}

rootTest(test, "a route of the host that overlaps the pool", () => {
  const route = "route add 10.60.7.0/24 via 192.168.77.254";
  withObstacle(route, "route delete 10.60.7.0/24", () => {
    assertRefused("route", { code: "MESHD_ROUTE_CONFLICT", says: /10\.60\.7\.0\/24.*choose/ });
  });
  const address = "address add 10.60.8.1/32 dev lo";
  withObstacle(address, "address delete 10.60.8.1/32 dev lo", () => {
    assertRefused("address", { code: "MESHD_ROUTE_CONFLICT", says: /10\.60\.8\.1/ });
  });
});

rootTest(test, "a device of that name, whatever kind it is and whoever made it", () => {
  const code = "MESHD_DEVICE_BUSY";
  withObstacle("link add mesh0 type veth peer name other0", "link delete mesh0", () => {
    assertRefused("veth", { code, says: /mesh0.*choose another/ });
  });
  for (const mode of ["tun", "tun multi_queue", "tap"]) {
    withObstacle(`tuntap add mesh0 mode ${mode}`, "link delete mesh0", () => {
      assertRefused(mode, { code, says: /mesh0.*choose another/ });
    });
  }
});

rootTest(test, "the tunnel's port in use, also by one who would share it", async () => {
  const refusal = { code: "MESHD_PORT_IN_USE", says: /8472 on 192\.168\.77\.101 is in use/ };
  const cases = [
    'address: "0.0.0.0", port: 8472',
    'address: "192.168.77.101", port: 8472, reusePort: true',
  ];
  for (const options of cases) {
    await withPortTaken(options, () => assertRefused(options, refusal));
  }
  const own = { words: ["--tunnel-port", "9472"], code: refusal.code, says: /9472 .* is in use/ };
  await withPortTaken('address: "0.0.0.0", port: 9472, reusePort: true', () => {
    assertRefused("own port", own);
  });
});

rootTest(test, "an underlay address inside a pool, on no interface, or of another member", () => {
  const at = (address: string) => ["--underlay-address", address];
  withObstacle("address add 10.60.9.9/32 dev eth0", "address delete 10.60.9.9/32 dev eth0", () => {
    const says = /underlay address 10\.60\.9\.9 lies in.* pool 10\.60\.0\.0\/16/;
    assertRefused("pool", { words: at("10.60.9.9"), code: "MESHD_UNDERLAY_IN_POOL", says });
  });
  const gone = { code: "MESHD_NO_UNDERLAY", says: /192\.168\.77\.200 is on no interface/ };
  assertRefused("gone", { words: at("192.168.77.200"), ...gone });
  withObstacle(
    "address add 192.168.77.1/32 dev lo",
    "address delete 192.168.77.1/32 dev lo",
    () => {
      const says = /192\.168\.77\.1:8472 is claimed by n1/;
      assertRefused("claimed", { words: at("192.168.77.1"), code: "MESHD_ADDRESS_CLAIMED", says });
    },
  );
});

rootTest(test, "a name that another node has", () => {
  const says = /the name n1 belongs to another node/;
  assertRefused("name", { words: ["--name", "n1"], code: "MESHD_NAME_TAKEN", says });
});

rootTest(test, "names and values of settings that there are not", () => {
  const wrong = (words: string[], code: string, says: RegExp) =>
    assertRefused(words.join(" "), { words, code, says, exit: 2 });
  wrong(["--wrokers", "2"], "MESHD_USAGE", /--wrokers.*did you mean --workers/);
  wrong(["--workers", "99"], "MESHD_CONFIG_BAD_VALUE", /workers: value "99".*1 to 32/);
  wrong(["--mtu", "99999"], "MESHD_CONFIG_BAD_VALUE", /mtu: value "99999".*576 to 65535/);
  wrong(["--name", "N_5"], "MESHD_CONFIG_BAD_VALUE", /"N_5".*one DNS label/);
  wrong(["--underlay-address", "1.2.3"], "MESHD_CONFIG_BAD_VALUE", /"1\.2\.3".*address/);
  const set = (...words: string[]) => meshdAt(lab.control, ["config", "set", ...words, "--json"]);
  for (const [words, exit] of [
    [["mtuu", "1400"], 2],
    [["mtu", "12"], 2],
    [["workers", "3"], 1],
  ] as const) {
    const before = lab.admin("config", "get");
    const done = set(...words);
    assert.is(done.code, exit, done.stderr);
    assert.match(done.stderr, /^meshd: [^\n]+\n$/);
    assert.match(done.stderr, new RegExp(words[0]));
    assert.equal(lab.admin("config", "get"), before);
  }
});

rootTest(test, "a token that is revoked, expired or used", async () => {
  const made = lab.admin<{ token: string; tokenId: string }>("token", "create");
  lab.admin("token", "revoke", made.tokenId);
  const revoked = { token: made.token, code: "MESHD_TOKEN_REVOKED", says: /revoked/ };
  assertRefused("revoked", revoked);
  const short = lab.admin<{ token: string; expires: string }>("token", "create", "--expires", "1s");
  await until("the token expires", () => Date.now() > Date.parse(short.expires));
  assertRefused("expired", { token: short.token, code: "MESHD_TOKEN_EXPIRED", says: /ended at/ });
  const once = lab.token();
  const place = freshPlace();
  const words = ["join", "-", "--name", "h-once"];
  const status = lab.ask<AgentStatus>(place, words, once);
  assert.is(status.ready, true);
  lab.ask(place, ["leave"]);
  assertRefused("used", { token: once, code: "MESHD_TOKEN_USED", says: /used/ });
});

interface TokenText {
  tokenId: string;
  bootstrap: { jwt: string; seed: string };
}

const open = (token: string) =>
  JSON.parse(Buffer.from(token.slice(7), "base64url").toString()) as TokenText;
const closed = (contents: TokenText) =>
  `meshd1.${Buffer.from(JSON.stringify(contents)).toString("base64url")}`;

rootTest(test, "a token that is damaged", () => {
  const token = lab.token();
  const says = /token/;
  const cut = { says, code: "MESHD_TOKEN_INVALID" };
  assertRefused("no token", { token: "hello", ...cut });
  assertRefused("cut short", { token: token.slice(0, -9), ...cut });
  const [one, two] = [open(token), open(lab.token())];
  assertRefused("other key", { token: closed({ ...one, bootstrap: two.bootstrap }), ...cut });
  assertRefused("other id", { token: closed({ ...one, tokenId: two.tokenId }), ...cut });
  const bootstrap = { ...one.bootstrap, seed: two.bootstrap.seed };
  // The server alone sees this one, and says no more than that it does not take it.
  const forged = { token: closed({ ...one, bootstrap }), code: "MESHD_TOKEN_REVOKED", says };
  assertRefused("other seed", forged);
});

rootTest(test, "after all that the host joins, and leave takes everything out", () => {
  const before = hostState();
  const place = freshPlace();
  const bad = meshdAt(place, ["join", "-", "--device-name", "bad0", "--name", "n1"], lab.token());
  assert.is(bad.code, 1);
  const status = lab.ask<AgentStatus>(place, ["join", "-", "--name", "host"], lab.token());
  assert.equal([status.ready, status.device], [true, "mesh0"]);
  lab.ask(place, ["leave"]);
  assert.is(hostState(), before);
});

test.run();
