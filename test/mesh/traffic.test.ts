// Much traffic at once through two workers a node, over a routed underlay: every pod of two nodes
// sends and receives at the same time.
//
//   <lab>-n1 --- br0 --- router --- br1 --- <lab>-n2      (meshd --workers 2)
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { WorkerCounters } from "../../src/datapath/index.js";
import type { CheckReport } from "../../src/lab/index.js";
import { runIn, runSync, spawnIn, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { MeshLab, unexpectedDrops } from "./mesh-lab.js";

const test = suite("traffic");
const lab = new MeshLab("tr");
const NODES = ["n1", "n2"];
const PODS = ["p1", "p2"];
const PORTS = { there: "5201", back: "5202" };

interface Report {
  error?: string;
  end: { sum_received: { bytes: number } };
}

/** One transfer of 2 s from a pod to another; the bytes that arrived. */
async function send(from: string, to: string, address: string, port: string): Promise<number> {
  const serving = spawnIn(to, ["iperf3", "-s", "-1", "-p", port]);
  const ended = new Promise((resolve) => serving.once("close", resolve));
  await until("iperf3 listens", () => runSync(to, ["ss", "-ltnH"]).includes(`:${port} `));
  const { stdout } = await runIn(from, ["iperf3", "-c", address, "-p", port, "-J", "-t", "2"]);
  const report = JSON.parse(stdout) as Report;
  if (report.error !== undefined) serving.kill();
  await ended;
  assert.is(report.error, undefined);
  return report.end.sum_received.bytes;
}

const sum = (workers: WorkerCounters[], key: "forwarded" | "super") =>
  workers.reduce((total, { egress, ingress }) => total + egress[key] + ingress[key], 0);

if (isRoot) {
  test.before(() => {
    // Its own workers would take the calm flows away from the two.
    process.env.MESHD_STEERING = "off";
    lab.up("--nodes", "2", "--pods", "2", "--subnets", "2", "--workers", "2");
  });
}

rootTest(test, "hosts on routed subnets with two workers reach each other", () => {
  const report = JSON.parse(lab.lab("check", "--json").stdout) as CheckReport;
  assert.equal(report.failures, []);
  assert.equal([report.pairs, report.pairsReachable], [12, 12]);
  for (const name of NODES) assert.is(lab.agent(name).workers.length, 2);
});

rootTest(test, "all pods exchange TCP in both directions at once and nothing breaks", async () => {
  const before = NODES.map((name) => lab.agent(name));
  for (const family of [4, 6] as const) {
    const transfers = PODS.flatMap((one) =>
      [NODES, [...NODES].reverse()].map(([from = "", to = ""]) => {
        const target = lab.address(to, one, family);
        const port = from === "n1" ? PORTS.there : PORTS.back;
        return send(lab.podSpace(from, one), lab.podSpace(to, one), target, port);
      }),
    );
    const bytes = await Promise.all(transfers);
    assert.ok(
      bytes.every((one) => one > 5_000_000),
      `${bytes}`,
    );
  }
  for (const [index, name] of NODES.entries()) {
    const after = lab.agent(name);
    assert.is(after.pid, before[index]?.pid, "no agent crashed");
    assert.ok(after.workers.every(({ restarts }) => restarts === 0));
    assert.equal(after.warnings, []);
  }
});

rootTest(test, "the counters add up, and nothing was dropped but multicast", async () => {
  for (const name of NODES) {
    const workers = await lab.counters(name);
    assert.is(workers.length, 2);
    assert.ok(sum(workers, "forwarded") > 20_000);
    assert.ok(sum(workers, "super") > 0, "offloads were at work");
    assert.equal(unexpectedDrops(lab.drops(name)), []);
  }
});

rootTest(test, "traffic is shared out: no worker of a node stays idle", async () => {
  const workers = await lab.counters("n1");
  assert.ok(workers.every(({ egress, ingress }) => egress.received + ingress.received > 100));
});

const GARBAGE = 2000;

/** Sends datagrams of random bytes to the tunnel's port of n1, one after another. */
async function sendGarbage(from: string): Promise<void> {
  const script = `
    import { randomBytes } from "node:crypto";
    import { createSocket } from "node:dgram";
    const socket = createSocket("udp4");
    const send = (bytes) => new Promise((done) => socket.send(bytes, 8472, "192.168.77.1", done));
    for (let n = 0; n < ${GARBAGE}; n++) await send(randomBytes((n * 7) % 1400));
    socket.close();`;
  const argv = [process.execPath, "--input-type=module", "-e", script];
  const { code, stderr } = await runIn(from, argv);
  assert.is(code, 0, stderr);
}

/** Drops of n1 on the way in, by reason. */
function ingressDrops(): Map<string, number> {
  const rows = lab.drops("n1").filter(({ direction }) => direction === "ingress");
  return new Map(rows.map(({ reason, packets }) => [reason, packets]));
}

rootTest(
  test,
  "garbage from a stranger and from a member is counted to the last packet",
  async () => {
    const before = ingressDrops();
    const stranger = lab.addGuest("stranger");
    await sendGarbage(stranger.namespace);
    const foreign = () =>
      (ingressDrops().get("UNKNOWN_PEER") ?? 0) - (before.get("UNKNOWN_PEER") ?? 0);
    await until("all of it is counted", () => foreign() === GARBAGE);
    await sendGarbage(lab.node("n2").namespace);
    const reasons = ["TOO_SHORT", "BAD_FLAGS", "WRONG_VNI"];
    const damaged = () => reasons.reduce((total, one) => total + (ingressDrops().get(one) ?? 0), 0);
    await until("all of that is counted", () => damaged() === GARBAGE);
    await lab.counters("n1");
    await lab.untilReachable("n1", "n2");
  },
);

/** Datagrams of 1400 bytes from a namespace, as fast as they go. */
async function flood(from: string, to: string, port: number, count: number): Promise<void> {
  const script = `
    import { createSocket } from "node:dgram";
    const socket = createSocket("udp4");
    const bytes = Buffer.alloc(1400);
    const send = () => new Promise((done) => socket.send(bytes, ${port}, "${to}", done));
    for (let n = 0; n < ${count}; n++) await send();
    socket.close();`;
  const argv = [process.execPath, "--input-type=module", "-e", script];
  const { code, stderr } = await runIn(from, argv);
  assert.is(code, 0, stderr);
}

rootTest(test, "what an agent does not read in time is lost with a name and a count", async () => {
  const { namespace } = lab.node("n1");
  const { pid } = lab.agent("n1");
  const lost = (reason: string) =>
    lab.drops("n1").find((row) => row.reason === reason)?.packets ?? 0;
  const before = [lost("DEVICE_QUEUE_FULL"), lost("SOCKET_QUEUE_FULL")];
  process.kill(pid, "SIGSTOP");
  try {
    await flood(namespace, lab.address("n2", "p1", 4), 9, 15_000);
    await flood(lab.node("n2").namespace, "192.168.77.1", 8472, 20_000);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  const [device = 0, socket = 0] = [lost("DEVICE_QUEUE_FULL"), lost("SOCKET_QUEUE_FULL")];
  assert.ok(device - (before[0] ?? 0) > 500, `${device} at the device`);
  assert.ok(socket - (before[1] ?? 0) > 500, `${socket} at the sockets`);
  const metrics = await lab.metrics("n1");
  const sample = `reason="SOCKET_QUEUE_FULL",direction="ingress"} ${socket}`;
  assert.ok(metrics.includes(sample), sample);
  assert.ok(lab.agent("n1").drops >= device + socket);
  await lab.untilReachable("n1", "n2");
});

test.run();
