// Workers pinned one per CPU with the packets of that CPU: who gets what, what is refused, order,
// and what it costs when nothing moves.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { allowedCpus } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { SteeringStatus } from "../../src/datapath/index.js";
import { DatapathNode } from "../support/datapath-node.js";
import { iperf } from "../support/iperf.js";
import { runIn, runSync, spawnIn, trySync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, type Host, makeHostPair, type PairOptions } from "../support/two-hosts.js";
import type { Sequence } from "../support/udp-sequence.js";

const HOST = fileURLToPath(new URL("../support/datapath-host.js", import.meta.url));
const SEQUENCE = fileURLToPath(new URL("../support/udp-sequence.js", import.meta.url));
const PORT = "9000";
const IDLE_MS = 3000;
/** Beside packets of ours, the kernel's own multicast may wake a worker now and then. */
const IDLE_WAKES_MAX = 5;

const cpus = allowedCpus();
const isSteerable = cpus.length > 1;

interface Mesh {
  a: Host;
  b: Host;
  nodes: [DatapathNode, DatapathNode];
}

async function withMesh(options: PairOptions, body: (mesh: Mesh) => Promise<void>): Promise<void> {
  const { a, b } = makeHostPair();
  const left = await DatapathNode.start(a.namespace, configOf(a, b, options));
  const right = await DatapathNode.start(b.namespace, configOf(b, a, options));
  try {
    await body({ a, b, nodes: [left, right] });
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
}

const steeringOf = (node: DatapathNode) => node.ask<SteeringStatus>({ do: "steering" });

/** Pings from one CPU, further apart than a flow needs to change its worker. */
function pingOn(cpu: number, from: Host, to: Host, count: number): void {
  const ping = ["ping", "-n", "-q", "-i", "0.05", "-c", `${count}`, to.overlay[4]];
  runSync(from.namespace, ["taskset", "-c", `${cpu}`, ...ping]);
}

/** Checks that the worker took 8 of 10 pings on both nodes: from the device, and from the wire. */
async function assertTaken(mesh: Mesh, worker: number, ping: () => void): Promise<void> {
  const taken = async () => {
    const [left, right] = await Promise.all(mesh.nodes.map((node) => node.settledCounters()));
    return [left?.[worker]?.egress.received ?? 0, right?.[worker]?.ingress.received ?? 0];
  };
  const before = await taken();
  ping();
  const after = await taken();
  for (const [side, count] of after.entries()) {
    const got = count - (before[side] ?? 0);
    assert.ok(
      got >= 8,
      `${side === 0 ? "device" : "wire"}: worker ${worker} got ${got} of 10 pings`,
    );
  }
}

for (const protocol of ["vxlan", "geneve", "udp"] as const) {
  const name = `in ${protocol}, a calm flow goes to the worker of the CPU it is on, on both sides`;
  rootTest(test, name, async () => {
    if (!isSteerable) return assert.is(cpus.length, 1);
    await withMesh({ steering: "on", protocol }, async (mesh) => {
      const { a, b, nodes } = mesh;
      assert.equal(await steeringOf(nodes[0]), { active: true, cpus, reason: "" });
      assert.is((await nodes[0].counters()).length, cpus.length + 1);
      pingOn(cpus[0] ?? 0, a, b, 10);
      for (const [index, cpu] of cpus.entries()) {
        await assertTaken(mesh, index, () => pingOn(cpu, a, b, 10));
      }
    });
  });
}

const egressOf = async (node: DatapathNode) =>
  (await node.settledCounters()).map((worker) => worker.egress.received);

rootTest(test, "a device taken up again without steering is not steered any more", async () => {
  const { a, b } = makeHostPair();
  const config = configOf(a, b, { steering: "auto", workers: 2 });
  config.datapath.persist = true;
  await (await DatapathNode.start(a.namespace, config)).stop();
  config.datapath.steering = "off";
  const left = await DatapathNode.start(a.namespace, config);
  const right = await DatapathNode.start(b.namespace, configOf(b, a));
  try {
    pingOn(cpus[0] ?? 0, a, b, 5);
    const before = await egressOf(left);
    for (const cpu of cpus) pingOn(cpu, a, b, 5);
    const after = await egressOf(left);
    const got = after.map((count, index) => count - (before[index] ?? 0));
    assert.ok(Math.max(...got) >= 5 * cpus.length, `one worker has the flow of all CPUs: ${got}`);
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
});

/** Starts a datapath by hand, so that a command can stand before it; gives its answers. */
function answersOf(before: string[], steering: "auto" | "on"): Record<string, unknown>[] {
  const { a, b } = makeHostPair();
  const config = configOf(a, b, { steering });
  const input = `${JSON.stringify(config)}\n{"do":"steering"}\n{"do":"workers"}\n`;
  const done = trySync(a.namespace, [...before, process.execPath, HOST], { input });
  const lines = done.stdout.trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

function assertFellBack(answers: Record<string, unknown>[], reason: RegExp): void {
  const [ready, steering, workers] = answers;
  assert.is(ready?.reply, "ready");
  const status = steering?.reply as SteeringStatus;
  assert.is(status.active, false);
  assert.match(status.reason, reason);
  assert.is((workers?.reply as unknown[] | undefined)?.length, 1);
}

rootTest(test, "with one CPU there is nothing to steer: auto is one worker, on is refused", () => {
  const one = ["taskset", "-c", `${cpus[0]}`];
  assertFellBack(answersOf(one, "auto"), /one CPU/);
  const refused = answersOf(one, "on")[0]?.refused as { code: string };
  assert.is(refused.code, "MESHD_NO_STEERING");
});

rootTest(test, "without the right to load a program auto is one worker, on is refused", () => {
  const isFree = readFileSync("/proc/sys/kernel/unprivileged_bpf_disabled", "utf8").trim() === "0";
  const isRefused = !isFree || !isSteerable;
  const weak = ["setpriv", "--bounding-set=-bpf,-sys_admin"];
  if (!isRefused) {
    const status = answersOf(weak, "auto")[1]?.reply as SteeringStatus;
    return assert.is(status.active, true, "this kernel asks for no right");
  }
  assertFellBack(answersOf(weak, "auto"), /bpf.*EPERM|EPERM.*bpf|one CPU/);
  const refused = answersOf(weak, "on")[0]?.refused as { code: string; message: string };
  assert.is(refused.code, "MESHD_NO_STEERING");
  assert.match(refused.message, /CAP_BPF/);
});

/** Sends one flow from a to b, from the CPUs given in turn; gives what arrived. */
async function runFlow({ a, b }: Mesh, count: number, on: number[]): Promise<Sequence> {
  const address = b.overlay[4];
  const sink = spawnIn(b.namespace, [process.execPath, SEQUENCE, "receive", address, PORT]);
  let said = "";
  sink.stdout?.on("data", (piece: Buffer) => {
    said += piece;
  });
  const last = (): Sequence => {
    const line = said.trimEnd().split("\n").at(-1) ?? "";
    return line.startsWith("{")
      ? (JSON.parse(line) as Sequence)
      : { packets: 0, twice: 0, late: 0 };
  };
  await until("the receiver is ready", () => said.startsWith("ready\n"));
  const argv = [process.execPath, SEQUENCE, "send", address, PORT, `${count}`, ...on.map(String)];
  const sent = await runIn(a.namespace, argv);
  assert.is(sent.code, 0, sent.stderr);
  await until("every packet has arrived", () => said.endsWith("\n") && last().packets >= count);
  sink.kill();
  return last();
}

rootTest(test, "a steered flow is in order, and no packet is lost or doubled", async () => {
  await withMesh({ steering: "auto" }, async (mesh) => {
    assert.equal(await runFlow(mesh, 4000, cpus.slice(0, 1)), { packets: 4000, twice: 0, late: 0 });
  });
});

rootTest(test, "a flow whose sender moves from CPU to CPU loses and doubles nothing", async () => {
  await withMesh({ steering: "auto" }, async (mesh) => {
    const { packets, twice } = await runFlow(mesh, 4000, cpus);
    assert.equal({ packets, twice }, { packets: 4000, twice: 0 });
  });
});

rootTest(
  test,
  "with two workers and no steering a TCP flow has one of them, both ways",
  async () => {
    await withMesh({ steering: "off", workers: 2 }, async ({ a, b, nodes }) => {
      const ends = { server: b.namespace, client: a.namespace, address: b.overlay[4] };
      const { retransmits } = await iperf({ ...ends, argv: ["-t", "1"] });
      assert.ok(retransmits < 200, `${retransmits} retransmits`);
      for (const node of nodes) {
        const counters = await node.settledCounters();
        for (const side of ["egress", "ingress"] as const) {
          const got = counters.map((worker) => worker[side].received).sort((x, y) => x - y);
          const [less = 0, more = 0] = got;
          // The rest is iperf3's control connection, the other flow.
          assert.ok(less < 100 && more > 1000, `${side} of the workers: ${got}`);
        }
      }
    });
  },
);

/** Voluntary context switches so far of every thread that is bound to one CPU. */
function wakesOf(pid: number): Map<string, number> {
  const wakes = new Map<string, number>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, "utf8");
    if (!/^Cpus_allowed_list:\s+\d+$/m.test(status)) continue;
    wakes.set(task, Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1]));
  }
  return wakes;
}

rootTest(test, "idle steered workers are not woken", async () => {
  if (!isSteerable) return assert.is(cpus.length, 1);
  await withMesh({ steering: "on" }, async ({ nodes }) => {
    const pid = await nodes[0].ask<number>({ do: "pid" });
    const before = wakesOf(pid);
    assert.is(before.size, cpus.length);
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    for (const [task, count] of wakesOf(pid)) {
      const woken = count - (before.get(task) ?? 0);
      assert.ok(woken <= IDLE_WAKES_MAX, `thread ${task} was woken ${woken} times while idle`);
    }
  });
});

test.run();
