// An agent whose pods are silent: it hardly wakes and starts no process. Counters of the kernel, no
// times: how often a thread gave up its CPU, and what children left behind.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { runSync, spawnIn, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { MeshLab } from "./mesh-lab.js";

const WINDOW_MS = 10_000;
/** A look at the host after the changes of the start falls into one of them: several are tried. */
const WINDOWS = 6;
/**
 * Of all threads in a window. Measured: 80 in the minute after the start, 35 later; 300 with timers
 * and questions each by themselves and polls of the host.
 */
const WAKES_MAX = 150;

/** Times that any thread of a process went to sleep by itself. */
function wakesOf(pid: number): number {
  const counts = readdirSync(`/proc/${pid}/task`).map((task) => {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, "utf8");
    return Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1]);
  });
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Pages that all its children together ever touched: moves with every child. Field 11 of stat. */
function childrenFaults(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[8]);
}

// For all agents of the lab: while nothing happens it must cost nothing, too.
process.env.MESHD_LOW_LATENCY = "true";
const lab = new MeshLab("idle");
test.after(() => lab.remove());

rootTest(test, "an agent without traffic hardly wakes and starts no process", async () => {
  lab.up("--nodes", "3", "--pods", "1");
  await lab.untilReachable("n1", "n2", "n3");
  const { pid } = lab.agent("n1");
  const windows: { wakes: number; faults: number }[] = [];
  const isQuiet = ({ wakes, faults }: { wakes: number; faults: number }) =>
    wakes <= WAKES_MAX && faults === 0;
  while (windows.length < WINDOWS && !windows.some(isQuiet)) {
    const [wakes, faults] = [wakesOf(pid), childrenFaults(pid)];
    await sleep(WINDOW_MS);
    windows.push({ wakes: wakesOf(pid) - wakes, faults: childrenFaults(pid) - faults });
  }
  assert.ok(windows.some(isQuiet), `woken, children's pages: ${JSON.stringify(windows)}`);
  assert.is(lab.agent("n1").peersReachable, 2, "and it knows its peers");
});

rootTest(
  test,
  "CPUs are kept awake from the first packet until a while after the last",
  async () => {
    const { reason } = lab.agent("n1").lowLatency;
    if (!existsSync("/dev/cpu_dma_latency")) {
      assert.match(reason, /^no \/dev\/cpu_dma_latency/);
      return;
    }
    assert.is(reason, "");
    const held = (wanted: boolean) => (status: AgentStatus) => status.lowLatency.held === wanted;
    await lab.untilAgent("n1", "the device is given back", held(false));
    const ping = ["ping", "-n", "-q", "-i", "0.2", lab.address("n2", "p1", 4)];
    const pinging = spawnIn(lab.podSpace("n1", "p1"), ping);
    await lab.untilAgent("n1", "the device is held", held(true));
    pinging.kill();
    await lab.untilAgent("n1", "the device is given back", held(false));
  },
);

/** Less than the time after which a node looks at its host although nothing was heard. */
const BACK_MS = 60_000;

rootTest(test, "a route that somebody takes away is heard of and put back", async () => {
  const { namespace } = lab.node("n1");
  const routes = () => runSync(namespace, ["ip", "-4", "route", "show", "dev", "mesh0"]);
  const [route = ""] = routes().split("\n");
  assert.match(route, /^10\.244\./);
  const prefix = route.split(" ")[0] ?? "";
  runSync(namespace, ["ip", "route", "delete", prefix, "dev", "mesh0"]);
  assert.not.match(routes(), prefix);
  await until("the route is back", () => routes().includes(prefix), BACK_MS);
});

test.run();
