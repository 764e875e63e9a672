// PPTP as its users see it: a host of another mesh dials in to a node, reaches pods behind it and
// on another node, and is reached; accounts, disconnects, restarts; members' own calls meanwhile.
//
//   gate (another mesh, one pod) --- bridge --- <lab>-n1 (pptpServer), <lab>-n2, a pod each
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, SessionView } from "../../src/agent/index.js";
import { INSECURE } from "../../src/calls/index.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { createNamespace, pings, runIn, runSync, spawnIn, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { assertPings, type Guest, MeshLab, meshdAt } from "./mesh-lab.js";

const test = suite("pptp");
const lab = new MeshLab("pp");
const SERVER = "192.168.77.1";
let gate: Guest;
let gatePod = "";

const pod = (node: string) => lab.podSpace(node, "p1");
const sessions = async () => (await lab.statusOf("n1")).pptp?.sessions ?? [];
const upSessions = async () => (await sessions()).filter(({ state }) => state === "up");
const gateStatus = () => lab.statusOf(gate.place);
const dialled = async () => (await gateStatus()).pptp?.sessions[0];
const warnings = () => lab.agent("n1").warnings.filter((line) => line.includes("pptp"));

function passwordFile(name: string, password: string): string {
  const path = join(lab.folder, name);
  writeFileSync(path, `${password}\n`, { mode: 0o600 });
  return path;
}

/** Another mesh of one node on the lab's bridge, with a pod and a pool of its own. */
function makeGate(): void {
  gate = lab.addGuest("gate");
  const run = (words: string[], input?: string) => {
    const { code, stdout, stderr } = meshdAt(gate.place, words, input);
    assert.is(code, 0, `gate: ${words.join(" ")}: ${stderr}`);
    return stdout;
  };
  run(["up", "--no-systemd", "--cluster-pool-ipv4-pod-cidr", "10.60.0.0/16"]);
  const token = run(["token", "create"]).trim();
  run(["join", "-", "--no-systemd", "--name", "gate"], token);
  gatePod = createNamespace("gatepod");
  run(["pod", "add", "p1", "--netns", gatePod]);
}

function dial(user: string, file: string): { code: number; stdout: string; stderr: string } {
  const route = ["--route", "10.244.0.0/16"];
  const words = ["pptp", "dial", SERVER, "--user", user, "--password-file", file, ...route];
  return meshdAt(gate.place, words);
}

async function untilDialled(what: string, isUp: boolean): Promise<void> {
  await until(what, async () => ((await dialled())?.state === "up") === isUp, 20_000);
}

/** Both ways, small and full, to pods on both nodes, and from a pod behind the dialling end. */
async function assertReach(): Promise<void> {
  const client = (await dialled())?.address ?? "";
  for (const node of ["n1", "n2"]) {
    const address = lab.address(node, "p1", 4);
    await until(`gate reaches ${node}`, () => pings(gate.namespace, address), 10_000);
    assert.ok(pings(pod(node), client), `${node} -> ${client}`);
    assertPings(gate.namespace, address, 1400);
    // The rule that hides pods behind the gate's address comes with its next round.
    await until(`the gate's pod reaches ${node}`, () => pings(gatePod, address), 10_000);
  }
}

if (isRoot) {
  test.before(() => {
    lab.up("--nodes", "2", "--pods", "1");
    makeGate();
    assert.is(meshdAt(lab.node("n1"), ["down", "--agent"]).code, 0);
    assert.is(meshdAt(lab.node("n1"), ["join", "--pptp-server", "--no-systemd"]).code, 0);
  });
}

rootTest(
  test,
  "a node serves users once an administrator allows it, and says why not",
  async () => {
    assert.match(warnings().join(), /no administrator allows it: meshd node pptp/);
    assert.is(lab.agent("n1").pptp, null);
    lab.admin("node", "pptp", "n1", "--allow");
    lab.admin("user", "add", "alice", "--password-file", passwordFile("alice", "open sesame"));
    await lab.untilAgent("n1", "users may dial in", ({ pptp }) => pptp?.serves === true);
    assert.equal(warnings(), []);
    assert.is(lab.agent("n1").pptp?.warning, INSECURE);
  },
);

rootTest(test, "a wrong password is refused, said to both ends, and gives no address", async () => {
  const { code, stderr } = dial("alice", passwordFile("wrong", "open barley"));
  assert.is(code, 1);
  assert.match(stderr, /goes on dialling/);
  assert.ok(stderr.includes(INSECURE));
  assert.equal(await upSessions(), []);
  lab.ask(gate.place, ["pptp", "hang-up", SERVER]);
  assert.is((await gateStatus()).pptp, null);
});

rootTest(test, "a user dials in: pods of all nodes, both ways, and a pod behind it", async () => {
  const { code, stdout, stderr } = dial("alice", join(lab.folder, "alice"));
  assert.is(code, 0, stderr);
  assert.match(stdout, /connected to 192\.168\.77\.1 as alice: 10\.244\./);
  const [session] = lab.ask<SessionView[]>("n1", ["pptp", "list"]);
  assert.is(session?.state, "up");
  assert.equal(
    [session?.name, session?.underlay, session?.kind],
    ["alice", gate.address, "dial-in"],
  );
  assert.match(session?.encryption ?? "", /MPPE 128-bit stateless \(insecure\)/);
  // The highest address of the node's /24: pods have theirs from below.
  assert.match(session?.address ?? "", /^10\.244\.\d+\.254$/);
  const log = readFileSync(join(lab.node("n1").stateDir, "agent.log"), "utf8");
  const lines = log.split("\n").filter((line) => line.includes("pptp."));
  assert.ok(lines.some((line) => line.includes("pptp.up")));
  assert.equal(
    lines.filter((line) => !line.includes(INSECURE)),
    [],
    "each line says what it is worth",
  );
  await assertReach();
  await lab.counters("n1");
});

rootTest(test, "TCP by a call arrives whole, up and down, past the serving node", async () => {
  const address = lab.address("n2", "p1", 4);
  const client = (await dialled())?.address ?? "";
  const up = await hashedStreams({ from: gate.namespace, to: pod("n2"), address }, 1, 10 << 20);
  assert.equal(up.received, up.sent);
  const down = { from: pod("n2"), to: gate.namespace, address: client };
  const { sent, received } = await hashedStreams(down, 1, 10 << 20);
  assert.equal(received, sent);
  await lab.counters("n1");
  const bytes = (await upSessions())[0]?.statistics;
  assert.ok((bytes?.receivedBytes ?? 0) > 10 << 20, JSON.stringify(bytes));
  const metrics = await lab.metrics("n1");
  assert.match(metrics, /meshd_pptp_calls\{kind="dial-in",state="up"\} 1/);
});

rootTest(test, "calls between members come and go beside it, and packets go on", async () => {
  lab.admin("config", "set", "tunnelProtocol", "pptp");
  const isOn = ({ change, peers }: AgentStatus) =>
    change === null && peers.every(({ protocol }) => protocol === "pptp");
  for (const node of ["n1", "n2"]) await lab.untilAgent(node, "sends pptp alone", isOn, 20_000);
  assert.equal((await upSessions()).map(({ kind }) => kind).sort(), ["dial-in", "pair"]);
  await assertReach();
  lab.admin("config", "set", "tunnelProtocol", "vxlan");
  const isOff = ({ change, peers }: AgentStatus) =>
    change === null && peers.every(({ protocol }) => protocol === "vxlan");
  for (const node of ["n1", "n2"]) await lab.untilAgent(node, "sends vxlan alone", isOff, 20_000);
  await until("the pair's call is over", async () => (await upSessions()).length === 1, 10_000);
  await assertReach();
});

rootTest(test, "an administrator ends a session; a disabled user stays out", async () => {
  lab.ask("n1", ["pptp", "disconnect", "alice"]);
  await untilDialled("the session is over", false);
  await untilDialled("the client dials again", true);
  lab.admin("user", "set", "alice", "--disable");
  await untilDialled("a disabled user is out", false);
  await until("it is said", async () => /disabled/.test((await dialled())?.problem ?? ""), 10_000);
  assert.equal(await upSessions(), []);
  lab.admin("user", "set", "alice", "--enable", "--address", "none");
  await untilDialled("an enabled user is in again", true);
});

rootTest(test, "a killed agent starts again, and its user and routes are back", async () => {
  process.kill(lab.agent("n1").pid, "SIGKILL");
  assert.is(meshdAt(lab.node("n1"), ["join", "--no-systemd"]).code, 0);
  await until("the user is back", async () => (await upSessions()).length === 1, 30_000);
  await assertReach();
});

rootTest(test, "hanging up takes addresses, routes and rules away at both ends", async () => {
  lab.ask(gate.place, ["pptp", "hang-up", SERVER]);
  await until("nobody is there", async () => (await sessions()).length === 0, 10_000);
  const left = () =>
    runSync(gate.namespace, ["ip", "route"]) + runSync(gate.namespace, ["ip", "address"]);
  await until("the gate is as before", () => !left().includes("10.244."), 10_000);
  const tables = () => runSync(gate.namespace, ["nft", "list", "tables"]);
  await until("its rules are gone", () => !tables().includes("calls"), 10_000);
  const routes = () => runSync(lab.node("n1").namespace, ["ip", "route"]);
  await until("the server, too", () => !routes().includes(".254 dev mesh0"), 10_000);
});

rootTest(test, "plain PPP on a line reaches pods through an access server", async () => {
  lab.admin("config", "set", "pptpEncryption", "optional");
  lab.admin("user", "add", "modem", "--password-file", passwordFile("modem", "atdt 5551234"));
  const { namespace } = lab.addGuest("nas");
  const target = lab.address("n2", "p1", 4);
  const client = (place: string) => {
    const program = fileURLToPath(new URL("../support/ppp-line.js", import.meta.url));
    return [process.execPath, program, place, "modem", "atdt 5551234", target, "noise"];
  };
  // Lines of TCP: two at once, each with a call of its own.
  const words = ["pptp", "nas", SERVER, "--line", "127.0.0.1:4000", "--number", "mesh"];
  const nas = spawnIn(namespace, [process.execPath, "bin/meshd", ...words]);
  let log = "";
  nas.stderr?.on("data", (bytes: Buffer) => {
    log += bytes;
  });
  await until("the access server listens", () => log.includes("nas.ready"), 10_000);
  assert.ok(log.includes(INSECURE));
  const both = [1, 2].map(() => runIn(namespace, client("127.0.0.1:4000")));
  for (const { code, stderr } of await Promise.all(both)) assert.is(code, 0, `${stderr}\n${log}`);
  await until("both calls are over", async () => (await upSessions()).length === 0, 10_000);
  assert.match(log, /nas\.ended .*crc 1/, "the noise was no frame");
  // One that a client has as its own, by standard input and output.
  const [first = "", ...rest] = client("-");
  const piping = `${first} ${rest.map((word) => `'${word}'`).join(" ")}`;
  const own = `node bin/meshd pptp nas ${SERVER}`;
  const whole = `mkfifo "$0/back" && ${piping} <"$0/back" | ${own} >"$0/back"`;
  const piped = await runIn(namespace, ["bash", "-o", "pipefail", "-c", whole, lab.folder]);
  assert.is(piped.code, 0, piped.stderr);
  assert.match(piped.stderr, /"replies":3/);
  const dead = await runIn(namespace, ["node", "bin/meshd", "pptp", "nas", "127.0.0.1"]);
  assert.is(dead.code, 1);
  assert.match(dead.stderr, /^meshd: no call to 127\.0\.0\.1: no TCP connection [^\n]+\n$/m);
  nas.kill("SIGTERM");
  await until("the access server ends", () => nas.exitCode === 0, 10_000);
  lab.admin("config", "set", "pptpEncryption", "required-128");
});

rootTest(
  test,
  "an interface that takes PPTP and the mesh alone serves users all the same",
  async () => {
    const { interface: device } = lab.agent("n1").underlay;
    const start = (...words: string[]) =>
      meshdAt(lab.node("n1"), ["join", "--pptp-filter", device, "--no-systemd", ...words]);
    assert.is(meshdAt(lab.node("n1"), ["down", "--agent"]).code, 0);
    const cut = start();
    assert.is(cut.code, 1);
    assert.match(cut.stderr, /carries the mesh's underlay; .*--with-mesh/);
    assert.is(start("--with-mesh").code, 0);
    const { code, stderr } = dial("alice", join(lab.folder, "alice"));
    assert.is(code, 0, stderr);
    await assertReach();
    const stranger = lab.addGuest("stranger");
    assert.not(pings(stranger.namespace, SERVER, 56, 1));
    const status = lab.agent("n1").pptpFilter;
    assert.equal(status?.callers, [gate.address]);
    assert.ok((status?.refused?.icmp.packets ?? 0) > 0);
    assert.ok(lab.drops("n1").some(({ reason }) => reason === "NFT_PPTP_FILTER"));
    lab.ask(gate.place, ["pptp", "hang-up", SERVER]);
    await lab.untilAgent("n1", "no caller", ({ pptpFilter }) => pptpFilter?.callers.length === 0);
    const tables = () => runSync(lab.node("n1").namespace, ["nft", "list", "tables"]);
    assert.match(tables(), /meshd_mesh0_pptp/);
    lab.ask("n1", ["leave", "--force"]);
    assert.not.match(tables(), /meshd/);
  },
);

test.run();
