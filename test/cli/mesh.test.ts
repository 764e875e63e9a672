// The commands of an administrator against a real nats-server and a real controller, as processes
// that the command line itself started.
import { execFile } from "node:child_process";
import { cpSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { ClusterStatus } from "../../control/index.js";
import { waitFor } from "../../src/cli/service/process-files.js";
import { freePort } from "../support/ports.js";
import { ask, meshd, program, type UpView } from "./real.js";
import { makeWorld, type World } from "./world.js";

const DEADLINE_MS = 30_000;

/** Runs bin/meshd as a process of its own, as a shell does. */
function meshdProcess(world: World, ...words: string[]): Promise<{ out: string; err: string }> {
  const where = ["--state-dir", world.stateDir, "--run-dir", world.runDir];
  return new Promise((done) => {
    const argv = ["bin/meshd", ...words, ...where];
    execFile(process.execPath, argv, (_, out, err) => done({ out, err }));
  });
}

/** A zombie that the machine's first process has not taken away yet is no life. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

interface Given {
  world: World;
  port: number;
  first: UpView;
}

const test = suite<Given>("a real mesh");
test.before(async (given) => {
  given.world = makeWorld();
  given.port = await freePort();
  const words = ["up", "--name", "prod", "--listen", "127.0.0.1", "--port", String(given.port)];
  const settings = ["--clusterPoolIPv4PodCIDR", "10.60.0.0/16", "--mtu", "1400"];
  given.first = await ask<UpView>(given.world, ...words, ...settings);
});
test.after(async ({ world }) => {
  await meshd(world, "down", "--all");
  world.remove();
});

test("up makes a mesh with the given name, settings and address; keys are private", async ({
  world,
  port,
  first,
}) => {
  assert.is(first.mesh, "prod");
  assert.equal(first.servers, [`tls://127.0.0.1:${port}`]);
  assert.is(statSync(first.adminCredentials).mode & 0o777, 0o600);
  assert.is(statSync(join(world.stateDir, "mesh")).mode & 0o777, 0o700);
  const config = await ask<Record<string, unknown>>(world, "config", "get");
  assert.equal([config.clusterPoolIPv4PodCIDR, config.mtu], ["10.60.0.0/16", 1400]);
});

test("up again is a no-op; flags that differ from the mesh are refused", async ({
  world,
  first,
}) => {
  assert.equal(await ask<UpView>(world, "up", "--mtu", "1400"), first);
  const { code, err } = await meshd(world, "up", "--mtu", "1300");
  assert.is(code, 1);
  assert.match(err, /mtu: the mesh exists and began with 1400; use 'meshd config set mtu 1300'/);
  const elsewhere = await meshd(world, "up", "--port", "1");
  assert.is(elsewhere.code, 1);
  assert.match(elsewhere.err, /--port 1: it runs with \d+; 'meshd down' first/);
  assert.match((await meshd(world, "up", "--name", "other")).err, /holds mesh prod, not other/);
  assert.is((await meshd(world, "up", "--advertise", "no host")).code, 2);
});

test("status on the controller's host shows the controller", async ({ world, first }) => {
  const status = await ask<{ ready: boolean; controller: { pid: number } }>(world, "status");
  assert.equal([status.ready, status.controller.pid], [false, first.controllerPid]);
});

test("a token is printed alone, listed without its secret, and can be revoked", async ({
  world,
}) => {
  const { out, err } = await meshdProcess(
    world,
    "token",
    "create",
    "--expires",
    "10m",
    "--uses",
    "3",
  );
  assert.is(err, "");
  assert.match(out, /^\S{100,}\n$/);
  const list = await ask<Record<string, unknown>[]>(world, "token", "list");
  assert.is(list.length, 1);
  assert.equal([list[0]?.usesMax, list[0]?.uses, list[0]?.revoked], [3, 0, false]);
  assert.not.ok(JSON.stringify(list).includes(out.trim().slice(-40)));
  const revoked = await meshd(world, "token", "revoke", String(list[0]?.tokenId));
  assert.is(revoked.code, 0);
  assert.match((await meshd(world, "token", "list")).out, / revoked /);
});

test("config set changes what config get shows; what this build cannot do is refused", async ({
  world,
}) => {
  assert.equal(await ask(world, "config", "set", "masquerade", "false"), { masquerade: false });
  assert.is((await meshd(world, "config", "get", "masquerade")).out, "false\n");
  const { code, err } = await meshd(world, "config", "set", "underlayAddress", "192.0.2.1");
  assert.is(code, 1);
  assert.match(err, /^meshd: underlayAddress: "192.0.2.1" is an address of one node/);
  assert.is((await meshd(world, "config", "get", "underlayAddress")).out, "null\n");
});

test("a static peer is added, listed, a route, and removed", async ({ world }) => {
  const peer = {
    name: "rack7",
    endpoint: "192.0.2.77",
    port: 8472,
    podCIDRs: ["10.9.0.0/24"],
    vtepMac: "02:00:00:00:00:77",
    protocol: "vxlan",
    vni: 1,
  };
  const { endpoint, vtepMac } = peer;
  const words = ["--endpoint", endpoint, "--cidr", "10.9.0.0/24", "--mac", vtepMac];
  await ask(world, "peer", "add", "rack7", ...words);
  assert.equal(await ask(world, "peer", "list"), [peer]);
  const [route] = await ask<{ prefix: string; via: string }[]>(world, "route", "list");
  assert.equal([route?.prefix, route?.via], ["10.9.0.0/24", "peer"]);
  await ask(world, "peer", "remove", "rack7");
  assert.equal(await ask(world, "peer", "list"), []);
  assert.is((await meshd(world, "peer", "remove", "rack7")).code, 1);
});

test("a static peer of gre has a key and a MAC address only where they are given", async ({
  world,
}) => {
  const words = ["peer", "add", "rack8", "--endpoint", "192.0.2.78", "--cidr", "10.8.0.0/24"];
  const gre = [...words, "--protocol", "gre"];
  const plain = {
    ...{ name: "rack8", endpoint: "192.0.2.78", port: 0, podCIDRs: ["10.8.0.0/24"] },
    ...{ vtepMac: null, protocol: "gre", vni: null },
  };
  const listed = () => ask(world, "peer", "list");
  await ask(world, ...gre);
  assert.equal(await listed(), [plain]);
  await ask(world, ...gre, "--key", "0", "--mac", "02:00:00:00:00:78");
  assert.equal(await listed(), [{ ...plain, vtepMac: "02:00:00:00:00:78", greKey: 0 }]);
  assert.match((await meshd(world, "peer", "list")).out, /^rack8 .* gre +- +0 +02:00/m);
  for (const wrong of [
    [...gre, "--vni", "7"],
    [...gre, "--port", "47"],
    [...gre, "--key", "4294967296"],
    [...words, "--mac", "02:00:00:00:00:78", "--key", "7"],
  ]) {
    assert.is((await meshd(world, ...wrong)).code, 2);
  }
  await ask(world, "peer", "remove", "rack8");
});

test("accounts of PPTP are made, shown, changed and removed, never with their password", async ({
  world,
}) => {
  const file = join(world.dir, "password");
  writeFileSync(file, "clientPass\nsecond line\n");
  const words = ["user", "add", "ada.l", "--password-file", file];
  const made = await meshd(world, ...words, "--expires", "2099-01-31", "--address", "10.60.0.9");
  assert.is(made.code, 0, made.err);
  assert.match(made.out, /insecure.*WireGuard/);
  assert.match(made.out, /no node has 10\.60\.0\.9 .*\n.*no node may serve it yet/);
  const typed = { readInput: () => Promise.resolve("another\n"), program };
  const bob = await world.run(["user", "add", "bob", "--chap-md5", "--json"], typed);
  assert.is(bob.code, 0, bob.err);
  assert.match(bob.out, /clear password is kept for CHAP-MD5: insecure/);
  const list = await ask<Record<string, unknown>[]>(world, "user", "list");
  assert.equal(
    list.map((one) => [one.name, one.expires, one.address, one.insecureClear, one.disabled]),
    [
      ["ada.l", "2099-01-31T00:00:00.000Z", "10.60.0.9", false, false],
      ["bob", null, null, true, false],
    ],
  );
  assert.not.match(JSON.stringify(list), /clientPass|another|44ebba8d/i);
  await ask(world, "user", "set", "ada.l", "--disable", "--expires", "never", "--address", "none");
  const shown = (await meshd(world, "user", "list")).out;
  assert.match(shown, /^ada\.l +disabled +- +- +never +NT hash/m);
  assert.match(shown, /insecure/);
  const changed = await world.run(["user", "passwd", "bob"], typed);
  assert.is(changed.code, 0, changed.err);
  assert.is(
    (await ask<{ insecureClear: boolean }[]>(world, "user", "list"))[1]?.insecureClear,
    false,
  );
  for (const [code, ...wrong] of [
    [1, "user", "add", "bob", "--password-file", file],
    [2, "user", "add", "Bob", "--password-file", file],
    [1, "user", "add", "eve", "--password-file", `${file}-none`],
    [1, "user", "add", "eve"],
    [2, "user", "add", "eve", "secret"],
    [2, "user", "add", "eve", "--expires", "2099-02-31", "--password-file", file],
    [2, "user", "set", "bob"],
    [2, "user", "set", "bob", "--enable", "--disable"],
    [1, "user", "remove", "eve"],
    [2, "node", "pptp", "n1"],
    [1, "node", "pptp", "n1", "--allow"],
  ] as const) {
    assert.is((await meshd(world, ...wrong)).code, code, wrong.join(" "));
  }
  for (const name of ["ada.l", "bob"]) await ask(world, "user", "remove", name);
  assert.equal(await ask(world, "user", "list"), []);
  const { pptpServer } = await ask<{ pptpServer: boolean }>(
    world,
    "token",
    "create",
    "--pptp-server",
  );
  assert.is(pptpServer, true);
});

test("a mesh without nodes has empty lists, and an unknown node is an error", async ({ world }) => {
  assert.equal(await ask(world, "node", "list"), []);
  assert.equal(await ask(world, "lease", "list"), []);
  assert.equal(await ask(world, "lease", "audit"), []);
  assert.match((await meshd(world, "node", "list")).out, /^no nodes; /);
  for (const words of [["show"], ["drain"], ["remove"], ["rename", "other"]]) {
    const [verb = "", ...rest] = words;
    const { code, err } = await meshd(world, "node", verb, "nobody", ...rest);
    assert.is(code, 1);
    assert.match(err, /^meshd: .*nobody/);
  }
});

test("admin credentials work from elsewhere with --nats, --creds, --mesh and the CA", async ({
  first,
}) => {
  const elsewhere = makeWorld();
  const words = ["--nats", first.servers.join(","), "--creds", first.adminCredentials];
  const ca = first.natsClient.ca ?? "";
  const asked = ["node", "list", ...words, "--mesh", "prod"];
  assert.equal(await ask(elsewhere, ...asked, "--nats-ca", ca), []);
  const unproven = await meshd(elsewhere, ...asked);
  assert.match(unproven.err, /does not prove to be a server of this mesh: its CA is not one that/);
  const none = ["--mesh", "a", "--nats-ca", "/none"];
  const missing = await meshd(elsewhere, "node", "list", ...words, ...none);
  assert.match(missing.err, /--nats-ca \/none cannot be read/);
  const nameless = await meshd(elsewhere, "node", "list", ...words);
  assert.match(nameless.err, /give --mesh NAME/);
  elsewhere.remove();
});

test("a second controller runs from a copy of the keys", async ({ world, first }) => {
  const second = makeWorld();
  cpSync(join(world.stateDir, "mesh"), join(second.stateDir, "mesh"), { recursive: true });
  const nats = first.servers.join(",");
  const remembered = join(second.stateDir, "settings.json");
  const node = { settings: { underlayAddress: "192.0.2.9" } };
  writeFileSync(remembered, JSON.stringify(node));
  const none = await meshd(second, "controller", "--nats", "nats://127.0.0.1:1", "--json");
  assert.is((none.json as { error: { code: string } }).error.code, "MESHD_NO_NATS");
  assert.equal(JSON.parse(readFileSync(remembered, "utf8")), node, "as it was before");
  const level = ["--log-level", "debug"];
  const state = await ask<{ pid: number; natsPid: null }>(
    second,
    ...["controller", "--nats", nats, ...level],
  );
  const { settings } = JSON.parse(readFileSync(remembered, "utf8"));
  assert.equal(settings, { ...node.settings, nats: [nats] }, "the node's own flags stay");
  const argv = readFileSync(`/proc/${state.pid}/cmdline`, "utf8").split("\0");
  assert.equal(argv.slice(argv.indexOf("--log-level"), -1), level);
  assert.is(state.natsPid, null);
  assert.not.equal(state.pid, first.controllerPid);
  assert.is((await meshd(second, "controller")).code, 1);
  assert.is((await meshd(second, "down")).out, "stopped: controller\n");
  second.remove();
});

test("cluster status shows the server and the controller of a mesh that has one of each", async ({
  world,
  first,
}) => {
  const { servers, controllers, buckets, problems } = await ask<ClusterStatus>(
    world,
    ...["cluster", "status"],
  );
  assert.equal(problems, []);
  assert.equal(
    servers.map(({ state, isLeader, isCurrent }) => ({ state, isLeader, isCurrent })),
    [{ state: "up", isLeader: true, isCurrent: true }],
  );
  assert.equal(
    controllers.map(({ pid }) => pid),
    [first.controllerPid],
  );
  assert.equal(
    buckets.map(({ wanted, current }) => `${current} of ${wanted}`),
    ["1 of 1", "1 of 1"],
  );
  assert.match((await meshd(world, "cluster", "status")).out, /\nall +is well\n$/);
});

test("a nats-server that is killed is started again by the controller's process", async ({
  world,
  first,
}) => {
  process.kill(first.natsPid, "SIGKILL");
  const back = await waitFor(async () => {
    const { code } = await meshd(world, "config", "get");
    return code === 0 ? true : undefined;
  }, DEADLINE_MS);
  assert.is(back, true);
  const status = await ask<{ controller: { pid: number; natsPid: number } }>(world, "status");
  assert.is(status.controller.pid, first.controllerPid);
  assert.not.equal(status.controller.natsPid, first.natsPid);
});

test("down stops both processes; up without flags brings the same mesh back", async ({
  world,
  port,
  first,
}) => {
  const before = await ask<{ controller: { natsPid: number } }>(world, "status");
  assert.equal(await ask(world, "down"), { stopped: ["controller"] });
  for (const pid of [first.controllerPid, before.controller.natsPid]) {
    assert.not.ok(isAlive(pid), `process ${pid} is gone`);
  }
  assert.is((await meshd(world, "down")).code, 1);
  const stopped = await meshd(world, "status");
  assert.is(stopped.code, 1);
  assert.match(stopped.err, /the controller of mesh \S+ does not run here, nor does its nats-s/);
  assert.match(stopped.err, /'meshd up' starts it/);
  const again = await ask<UpView>(world, "up");
  assert.is(again.meshId, first.meshId);
  assert.equal(again.servers, [`tls://127.0.0.1:${port}`]);
  assert.is((await meshd(world, "config", "get", "masquerade")).out, "false\n");
});

test("down after a killed controller stops the nats-server that it left behind", async ({
  world,
}) => {
  const { controller } = await ask<{ controller: { pid: number; natsPid: number } }>(
    world,
    "status",
  );
  process.kill(controller.pid, "SIGKILL");
  await waitFor(() => (isAlive(controller.pid) ? undefined : true), DEADLINE_MS);
  assert.ok(isAlive(controller.natsPid), "it went on by itself");
  assert.match((await meshd(world, "status")).err, /its nats-server runs on: 'meshd up' starts it/);
  assert.equal(await ask(world, "down"), { stopped: ["nats-server"] });
  assert.not.ok(isAlive(controller.natsPid));
  assert.is((await meshd(world, "down")).code, 1);
  await ask<UpView>(world, "up");
});

test("a port in use is refused by the child's own line, nothing is left running", async () => {
  const other = makeWorld();
  const blocker = createServer();
  const port = await new Promise<number>((done) =>
    blocker.listen(0, "127.0.0.1", () => {
      const address = blocker.address();
      done(typeof address === "object" && address !== null ? address.port : 0);
    }),
  );
  const words = ["--listen", "127.0.0.1", "--port", String(port)];
  const { code, err } = await meshd(other, "up", ...words);
  const { json } = await meshd(other, "up", ...words, "--json");
  assert.is((json as { error: { code: string } }).error.code, "MESHD_PORT_IN_USE");
  for (const left of ["up.json", "mesh", "nats"]) {
    assert.not.ok(existsSync(join(other.stateDir, left)), `${left} of a start that failed`);
  }
  blocker.close();
  assert.is(code, 1);
  assert.match(
    err,
    new RegExp(`^meshd: 127\\.0\\.0\\.1 port ${port} is in use.* \\(log: .*\\)\n$`),
  );
  assert.is((await meshd(other, "down")).code, 1);
  other.remove();
});

test("a wrong token is refused by the agent's own line, and leaves nothing behind", async () => {
  const other = makeWorld();
  const { code, err } = await meshd(other, "join", "no-token-at-all");
  assert.is(code, 1);
  assert.match(err, /^meshd: .*token.*\n$/i);
  assert.not.ok(existsSync(join(other.stateDir, "pending-token")));
  assert.is((await meshd(other, "status")).code, 1);
  other.remove();
});

test.run();
