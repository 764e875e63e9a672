// Faults of a node's own processes and devices.
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Fault, holdFor, must, pickNode, type World } from "../fault.js";
import { holdThread, isHeld, unstoppable, workerThreads } from "../pause-thread.js";
import { hasEnded, isStopped } from "../procs.js";

const KILL_WORKER = fileURLToPath(new URL("../kill-worker.js", import.meta.url));
const RESTART_LIMIT_MS = 10_000;

const agentKill: Fault = {
  name: "agent-kill",
  about: "an agent is killed and started again",
  ...{ hurts: "data", isSafe: true },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const before = await lab.status(node);
    process.kill(before.pid, "SIGKILL");
    return {
      target: node,
      hold_ms: holdFor(dice, 0, 5),
      proof: async () => must(await hasEnded(before.pid), `agent ${before.pid} lives`),
      heal: async () => {
        await lab.meshd(lab.node(node), ["join"]);
        const after = await lab.status(node);
        const [was, is] = [before, after].map(({ lease }) => JSON.stringify(lease));
        if (was !== is) throw new Error(`${node} had lease ${was}, has ${is}`);
      },
    };
  },
};

const agentPause: Fault = {
  name: "agent-pause",
  about: "an agent hangs, with device and sockets open",
  ...{ hurts: "data", isSafe: true },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const { pid } = await lab.status(node);
    lab.stop(pid);
    return {
      target: node,
      hold_ms: holdFor(dice, 2, 12),
      proof: async () => must(isStopped(pid), `agent ${pid} is not stopped`),
      heal: async () => lab.goOn(pid),
    };
  },
};

const restartsOf = async ({ lab }: World, node: string) => {
  const { workers } = await lab.status(node);
  return workers.reduce((sum, { restarts }) => sum + restarts, 0);
};

/** Waits until an agent says that it started a worker anew. */
async function restarted(world: World, node: string, before: number): Promise<void> {
  const deadline = Date.now() + RESTART_LIMIT_MS;
  while ((await restartsOf(world, node)) === before) {
    must(Date.now() < deadline, `${node} started no worker anew`);
    await sleep(50);
  }
}

const workerKill: Fault = {
  name: "worker-kill",
  about: "a worker thread of an agent dies; the agent replaces it",
  ...{ hurts: "data", isSafe: true },
  explains: [/worker|Debugger/],
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const { pid } = await lab.status(node);
    const before = await restartsOf(world, node);
    const argv = [process.execPath, "--experimental-websocket", KILL_WORKER, `${pid}`];
    await lab.must(lab.node(node).namespace, argv);
    return {
      target: node,
      hold_ms: 0,
      proof: () => restarted(world, node, before),
      heal: async () => undefined,
    };
  },
};

const workerPause: Fault = {
  name: "worker-pause",
  about: "a worker thread of an agent hangs, while the agent goes on",
  ...{ hurts: "data", isSafe: true, unavailable: unstoppable },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const { pid, workers } = await lab.status(node);
    const threads = await workerThreads(pid);
    const choice = dice.bits() % Math.max(threads.length, 1);
    const thread = threads[choice];
    if (thread === undefined) throw new Error(`no thread of ${node} moves packets`);
    const tracer = await holdThread(thread);
    lab.endWithUs(tracer);
    return {
      target: `${node}: worker ${choice + 1} of ${workers.length}`,
      hold_ms: holdFor(dice, 2, 8),
      proof: async () => must(isHeld(pid, thread), `thread ${thread} of ${node} runs`),
      heal: async () => {
        const ended = once(tracer, "exit");
        tracer.kill("SIGKILL");
        await ended;
      },
    };
  },
};

const deviceDelete: Fault = {
  name: "device-delete",
  about: "somebody deletes the overlay device under a running agent",
  ...{ hurts: "data", isSafe: true },
  explains: [/worker|device/],
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const before = await restartsOf(world, node);
    const { device } = await lab.status(node);
    await lab.must(lab.node(node).namespace, ["ip", "link", "delete", "dev", device]);
    return {
      target: node,
      hold_ms: 0,
      proof: () => restarted(world, node, before),
      heal: async () => undefined,
    };
  },
};

/** All that a reboot takes of a host: processes, device, routes, nftables; its pods begin anew. */
const nodeRestart: Fault = {
  name: "node-restart",
  about: "a whole node goes down and comes up: processes, device, routes and nftables are gone",
  ...{ hurts: "data", isSafe: false },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const { namespace } = lab.node(node);
    const { pid, device } = await lab.status(node);
    for (const one of lab.pidsOf(namespace, "agent")) process.kill(one, "SIGKILL");
    for (const family of ["-4", "-6"]) {
      for (const protocol of ["157", "158"]) {
        await lab.run(namespace, ["ip", family, "route", "flush", "proto", protocol]);
      }
    }
    await lab.run(namespace, ["ip", "link", "delete", "dev", device]);
    await lab.run(namespace, ["nft", "flush", "ruleset"]);
    return {
      target: node,
      hold_ms: holdFor(dice, 1, 6),
      proof: async () => must(await hasEnded(pid), `agent ${pid} lives`),
      heal: async () => {
        await lab.lab("up");
      },
    };
  },
};

export const nodeFaults: readonly Fault[] = [
  agentKill,
  agentPause,
  workerKill,
  workerPause,
  deviceDelete,
  nodeRestart,
];
