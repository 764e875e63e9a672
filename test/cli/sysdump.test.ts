// meshd sysdump: what is in the archive, what is missing and said so, and that no secret is in it,
// wherever it lay and however it was written there.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { loadSecrets } from "../../control/founding/mesh.js";
import { createIdentity, createMesh } from "../../control/index.js";
import { rootTest } from "../support/root.js";
import { fakeAgent, makeWorld, Refused, STATUS, type World } from "./world.js";

const test = suite<{ world: World }>("sysdump");

test.before.each((given) => {
  given.world = makeWorld();
});
test.after.each(({ world }) => world.remove());

interface Dumped {
  file: string;
  files: number;
  missing: { what: string; why: string }[];
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Files of an archive by their names in it. */
function unpacked(world: World, file: string): Map<string, Buffer> {
  const folder = join(world.dir, "unpacked");
  mkdirSync(folder);
  execFileSync("tar", ["-C", folder, "-xzf", file]);
  const [top = ""] = readdirSync(folder);
  const names = readdirSync(join(folder, top), { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => statSync(join(folder, top, name)).isFile());
  return new Map(files.map((name) => [name, readFileSync(join(folder, top, name))]));
}

async function dump(world: World, ...words: string[]): Promise<Dumped> {
  const file = join(world.dir, "dump.tar.gz");
  const done = await world.run(["sysdump", "--output", file, "--json", ...words]);
  assert.is(done.code, 0, done.err);
  assert.is(statSync(file).mode & 0o777, 0o600);
  return done.json as Dumped;
}

/** How a secret may stand in a file: in base64 with something before it, too. */
function encodings(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const shifted = ["", "a", "ab"].map((before) => Buffer.from(`${before}${secret}`));
  const forms = shifted.flatMap((one) => [one.toString("base64"), one.toString("base64url")]);
  return [secret, bytes.toString("hex"), ...forms, encodeURIComponent(secret)];
}

/** What of those is the secret's alone. */
const tracesOf = (secret: string) =>
  encodings(secret).map((form) => (form === secret ? form : form.slice(4, -4)));

const hex = () => randomBytes(16).toString("hex");

/** The lines of a PEM file between its marks. */
function keyText(path: string): string {
  const [, text = ""] = /-----\n([\s\S]+?)\n-----/.exec(readFileSync(path, "utf8")) ?? [];
  return text.replaceAll("\n", "");
}

/** Secrets in every file and log that may hold one; gives them by what they are. */
async function plant(world: World): Promise<Record<string, string>> {
  const { stateDir } = world;
  const mesh = await createMesh(join(stateDir, "mesh"), { servers: ["nats://192.0.2.10:4222"] });
  const { signer, grant, operator, system } = await loadSecrets(mesh);
  const seedOf = (key: { getSeed(): Uint8Array } | null) => Buffer.from(key?.getSeed() ?? []);
  const creds = readFileSync(mesh.adminCredentials, "utf8");
  const [, adminJwt = ""] = /JWT-----\s*(\S+)/.exec(creds) ?? [];
  const kept = JSON.parse(readFileSync(join(stateDir, "mesh", "mesh.json"), "utf8"));
  const secrets = {
    ...{ signerSeed: `${seedOf(signer)}`, grantSeed: `${seedOf(grant)}` },
    ...{ operatorSeed: `${seedOf(operator)}`, systemSeed: system?.seed ?? "" },
    ...{ systemJwt: system?.jwt ?? "", adminJwt, accountJwt: kept.accountJwt as string },
    nodeSeed: `SU${"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".repeat(2).slice(0, 56)}`,
    ...{
      ntHash: hex(),
      dialClear: `dial pass/word+${hex()}`,
      pair: randomBytes(24).toString("base64url"),
    },
    ...{
      accountsKey: randomBytes(32).toString("base64url"),
      sealed: randomBytes(40).toString("base64url"),
    },
    ...{ settingsPassword: `pw-${hex()}`, urlPassword: hex(), logPassword: hex() },
    caKey: keyText(join(mesh.dir, "ca.key")),
    otherKey: randomBytes(48).toString("base64"),
    strange: `strange-${hex()}`,
  };
  const tokenOf = (fields: object) =>
    `meshd1.${Buffer.from(JSON.stringify(fields)).toString("base64url")}`;
  const token = tokenOf({ seed: secrets.nodeSeed });
  const state = (name: string, value: unknown) =>
    put(join(stateDir, name), typeof value === "string" ? value : JSON.stringify(value));
  const { seed } = createIdentity();
  const foreign = {
    seed,
    token: tokenOf({ of: seed }),
    jwt: `eyJ0eXAiOiJKV1QifQ.${Buffer.from(hex()).toString("base64url")}.${hex()}${hex()}`,
  };
  const grants = [
    { key: "leases.x", value: JSON.stringify({ record: { cidr: "10.244.0.0/24" }, serial: 7 }) },
  ];
  state("node.key", `${secrets.nodeSeed}\n`);
  state("membership.json", {
    name: "n1",
    jwt: secrets.adminJwt,
    renewalJwt: secrets.systemJwt,
    grants,
  });
  state("snapshot.json", {
    meshId: "m",
    entries: [
      ["users.x", 3, JSON.stringify({ record: { name: "x", sealed: secrets.sealed }, serial: 9 })],
    ],
  });
  state("dials.json", [
    { host: "192.0.2.7", user: "u", ntHash: secrets.ntHash, clear: secrets.dialClear },
  ]);
  state("pptp-pairs.json", { secrets: [["UNODE", secrets.pair]] });
  state("pptp-accounts.json", { key: secrets.accountsKey, records: "{}" });
  state("pending-token", `${token}\n`);
  state(
    "mesh/tls/ca.pem",
    `-----BEGIN PRIVATE KEY-----\n${secrets.otherKey}\n-----END PRIVATE KEY-----\n`,
  );
  state("forgotten.txt", secrets.strange);
  state("nats/nats-server.conf", `operator: "${kept.operatorJwt}"\n  A: "${secrets.accountJwt}"\n`);
  state("nats/jetstream/blk", secrets.strange);
  const everything = Object.values(secrets).filter((one) => one !== secrets.strange);
  const known = everything.filter(
    (one) => ![secrets.logPassword, secrets.urlPassword].includes(one),
  );
  const lines = [
    ...known.filter((one) => one !== secrets.settingsPassword && one !== secrets.sealed),
    ...[secrets.nodeSeed, secrets.pair, secrets.accountsKey].flatMap(encodings),
    `token ${token}`,
    // Of elsewhere: nothing but their looks tells what they are.
    ...[`key ${foreign.seed}`, `join ${foreign.token}`, `user ${foreign.jwt}`],
    `password=${secrets.logPassword}`,
    `nats://user:${secrets.urlPassword}@192.0.2.10:4222`,
  ];
  for (const log of ["agent.log", "agent.log.1", "controller.log", "nats/nats-server.log"]) {
    state(log, lines.map((line) => `{"event":"x","said":"before ${line} behind"}\n`).join(""));
  }
  put(join(world.dir, "meshd.yaml"), `# password: ${secrets.settingsPassword}\nlogLevel: debug\n`);
  return { ...secrets, ...foreign, token };
}

test("no secret is in the archive, wherever it lay", async ({ world }) => {
  const secrets = await plant(world);
  const said = { ...STATUS, warnings: [`jwt ${secrets.adminJwt}`, `seed: ${secrets.nodeSeed}`] };
  const agent = await fakeAgent(world.runDir, ({ path }) =>
    path === "/metrics" ? `meshd_x{token="${secrets.token}"} 1\n` : said,
  );
  const { file, missing } = await dump(world, "--config", join(world.dir, "meshd.yaml"));
  await agent.stop();
  const files = unpacked(world, file);
  for (const [what, secret] of Object.entries(secrets)) {
    for (const form of tracesOf(secret)) {
      for (const [name, bytes] of files)
        assert.not.ok(bytes.includes(form), `${what} in ${name}: ${form}`);
    }
  }
  const whole = execFileSync("gzip", ["-dc", file], { maxBuffer: 1 << 28 });
  assert.ok(Object.values(secrets).every((secret) => !whole.includes(secret)));
  const text = (name: string) => files.get(name)?.toString() ?? "";
  assert.match(text("logs/agent.log"), /"said":"before \[removed\] behind"/);
  assert.match(text("agent/membership.json"), /"cidr": "10.244.0.0\/24"/);
  assert.match(text("agent/snapshot.json"), /"sealed": "\[removed\]"/);
  assert.match(text("settings.yaml"), /logLevel: debug/);
  assert.is(JSON.parse(text("agent/status.json")).lease.podCIDRs[0], "10.244.0.0/24");
  assert.match(text("files.txt"), /0600 .*mesh\/grant\.nk\n/);
  assert.equal(JSON.parse(text("about.json")).missing, missing);
  assert.ok(
    missing.some(({ what }) => what === "controller's answers"),
    "NATS is away",
  );
});

test("without an agent, NATS and a state it has what there is, and says what not", async ({
  world,
}) => {
  const { file, missing } = await dump(world);
  assert.match(
    missing.find(({ what }) => what === "agent/status.json")?.why ?? "",
    /no agent runs/,
  );
  const files = unpacked(world, file);
  for (const name of [
    "host/summary.json",
    "host/addresses.txt",
    "host/routes4.txt",
    "settings.json",
  ]) {
    assert.ok((files.get(name)?.length ?? 0) > 20, name);
  }
  const again = await world.run(["sysdump", "--output", file]);
  assert.is(again.code, 1);
  assert.match(again.err, /is there already/);
});

test("an agent that refuses a question is no reason to fail, and long logs are cut", async ({
  world,
}) => {
  const agent = await fakeAgent(world.runDir, ({ path }) =>
    path === "/fib"
      ? new Refused(500, { error: { code: "MESHD_X", message: "it broke" } })
      : STATUS,
  );
  put(join(world.stateDir, "agent.log"), `${"x".repeat(1023)}\n`.repeat(5_000));
  const { file, missing } = await dump(world);
  await agent.stop();
  assert.match(missing.find(({ what }) => what === "agent/fib.json")?.why ?? "", /it broke/);
  const log = unpacked(world, file).get("logs/agent.log")?.toString() ?? "";
  assert.ok(log.length > 2_000_000 && log.length < 2_200_000, `${log.length}`);
  assert.match(log, /^\[the first \d+ bytes are left out\]\nx{1023}\n/);
});

rootTest(test, "another user than root gets an archive, too", async ({ world }) => {
  chmodSync(world.dir, 0o755);
  mkdirSync(world.stateDir);
  put(join(world.stateDir, "membership.json"), "{}");
  chmodSync(join(world.stateDir, "membership.json"), 0o600);
  const theirs = join(world.dir, "theirs");
  mkdirSync(theirs);
  chmodSync(theirs, 0o777);
  // The checkout itself may be closed to others: only what is asked is asked as another.
  await import("../../src/cli/sysdump.js");
  process.seteuid?.(65534);
  const done = await world
    .run(["sysdump", "--json", "--output", join(theirs, "d.tar.gz")])
    .finally(() => process.seteuid?.(0));
  assert.is(done.code, 0, done.err);
  const { missing } = done.json as Dumped;
  const said = missing.map(({ what, why }) => `${what}: ${why}`).join("\n");
  assert.match(said, /membership\.json: .*permission denied/i);
  assert.match(said, /made by user 65534/);
});

test.run();
