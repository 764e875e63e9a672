// Faults of the control plane alone: whatever happens there, not one packet of a pod may be lost.
import type { Random } from "../../support/random.js";
import { type Fault, holdFor, must, pickControl, type World } from "../fault.js";
import type { Place } from "../lab.js";
import { hasEnded, isStopped } from "../procs.js";
import { wireFault } from "./path.js";

type Kind = "nats-server" | "controller";

function pidOf({ lab }: World, { namespace }: Place, kind: Kind): number {
  const [pid] = lab.pidsOf(namespace, kind);
  if (pid === undefined) throw new Error(`no ${kind} runs in ${namespace}`);
  return pid;
}

/** Stops the whole control plane in order. */
async function downAll({ lab }: World): Promise<void> {
  await Promise.all(lab.controls.map((place) => lab.meshd(place, ["down"])));
}

function killed(kind: Kind, about: string): Fault {
  return {
    ...{ name: `${kind === "controller" ? kind : "nats"}-kill`, about },
    ...{ hurts: "control", isSafe: true },
    async strike(world, dice) {
      const place = pickControl(world, dice);
      const pid = pidOf(world, place, kind);
      process.kill(pid, "SIGKILL");
      return {
        target: `${world.lab.hostName(place)}: ${kind} (SIGKILL)`,
        hold_ms: holdFor(dice, 1, 4),
        proof: async () => must(await hasEnded(pid), `${kind} ${pid} lives`),
        heal: async () => {
          await world.lab.lab("up");
        },
      };
    },
  };
}

function paused(kind: Kind, about: string): Fault {
  return {
    ...{ name: `${kind === "controller" ? kind : "nats"}-pause`, about },
    ...{ hurts: "control", isSafe: true },
    async strike(world, dice) {
      const place = pickControl(world, dice);
      const pid = pidOf(world, place, kind);
      world.lab.stop(pid);
      return {
        target: `${world.lab.hostName(place)}: ${kind} (SIGSTOP)`,
        hold_ms: holdFor(dice, 3, 9),
        proof: async () => must(isStopped(pid), `${kind} ${pid} is not stopped`),
        heal: async () => world.lab.goOn(pid),
      };
    },
  };
}

const outage: Fault = {
  name: "control-outage",
  about: "nats-server and controller are stopped in order, and start again",
  ...{ hurts: "control", isSafe: true },
  async strike(world, dice) {
    const { lab } = world;
    await downAll(world);
    return {
      target: "every nats-server and controller (meshd down)",
      hold_ms: holdFor(dice, 3, 8),
      proof: async () => {
        const states = await Promise.all(lab.nodeNames.map((name) => lab.status(name)));
        must(
          states.every(({ nats }) => !nats.connected),
          "an agent is still connected",
        );
      },
      heal: async () => {
        await lab.lab("up");
      },
    };
  },
};

const restartDuringOutage: Fault = {
  name: "agent-restart-without-nats",
  about: "an agent is killed and starts again from its last good state while NATS is down",
  ...{ hurts: "data", isSafe: true },
  async strike(world, dice) {
    const { lab } = world;
    const node = dice.pick(lab.nodeNames);
    const before = await lab.status(node);
    await downAll(world);
    process.kill(before.pid, "SIGKILL");
    await lab.meshd(lab.node(node), ["join"]);
    return {
      target: node,
      hold_ms: holdFor(dice, 2, 5),
      proof: async () => {
        const after = await lab.status(node);
        must(after.pid !== before.pid && !after.nats.connected, `${node} is not on its own`);
        const lease = JSON.stringify(after.lease);
        if (lease !== JSON.stringify(before.lease)) throw new Error(`${node} has lease ${lease}`);
      },
      heal: async () => {
        await lab.lab("up");
      },
    };
  },
};

const controlName = (world: World, dice: Random) => world.lab.hostName(pickControl(world, dice));

export const controlFaults: readonly Fault[] = [
  killed("nats-server", "nats-server is killed; its controller starts it again"),
  killed("controller", "the controller is killed; `meshd up` starts another"),
  paused("nats-server", "nats-server hangs, with its connections open"),
  paused("controller", "the controller hangs"),
  outage,
  restartDuringOutage,
  wireFault({
    name: "control-partition",
    about: "nobody reaches the control host, or it reaches nobody",
    hurts: "control",
    at: controlName,
    ways: ["both", "to", "from"],
    faults: () => ({ cut: true }),
    hold_s: [4, 9],
  }),
  wireFault({
    name: "control-bad-path",
    about: "loss, delay and disorder on the way to NATS",
    hurts: "control",
    at: controlName,
    ways: ["both"],
    faults: (dice) => ({
      ...{ loss_ppm: dice.between(5, 20) * 10_000, reorder_ppm: 100_000 },
      ...{ delay_us: dice.between(20, 200) * 1000, duplicate_ppm: 20_000 },
    }),
    hold_s: [4, 8],
  }),
];
