// Clocks that jump: a process runs under Debian's faketime, whose file says how wrong its clock is.
// The machine's own clock, and the monotonic one, stay as they are.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Random } from "../../support/random.js";
import {
  type Fault,
  holdFor,
  type Injury,
  must,
  pickControl,
  pickNode,
  type World,
} from "../fault.js";
import { RECOVERY_LIMIT_MS } from "../limits.js";
import { heardBeat } from "../store.js";

/** Where Debian's package libfaketime has it. */
const LIBRARIES = ["x86_64", "aarch64"].map(
  (machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`,
);
/** The library looks at its file so often. */
const CACHE_S = 1;
const JUMPS = ["+90m", "+3d", "-3d", "+45d", "-400d", "+400d"];
const RIGHT = "+0";
/** In which a controller writes its heartbeat, whoever else writes it. */
const BEATS_MS = 12_000;

const libraryHere = () => LIBRARIES.find(existsSync);
const missing = () =>
  libraryHere() === undefined ? "needs libfaketime: apt-get install faketime" : undefined;

/** The clock of one place: a file that its processes look at. */
class Clock {
  readonly #file: string;

  constructor({ lab }: World, host: string) {
    this.#file = join(lab.folder, `clock-${host}`);
    this.set(RIGHT);
  }

  set(offset: string): void {
    writeFileSync(this.#file, `${offset}\n`);
  }

  environment(): Record<string, string> {
    return {
      LD_PRELOAD: libraryHere() ?? "",
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_CACHE_DURATION: `${CACHE_S}`,
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      FAKETIME_DONT_RESET: "1",
    };
  }
}

/** The time of an agent, which it writes beside a question that it refuses; ours for +0. */
async function agentTime({ lab }: World, node: string): Promise<number> {
  await lab.socket(node, "/no-such-question");
  const log = readFileSync(join(lab.node(node).stateDir, "agent.log"), "utf8");
  const line = log.split("\n").findLast((one) => one.includes("no-such-question")) ?? "";
  return Date.parse(line.split(" ")[0] ?? "");
}

const isWrong = (time: number) => Math.abs(time - Date.now()) > 3_600_000;

async function jump(
  clock: Clock,
  dice: Random,
  target: string,
  isFooled: () => Promise<boolean>,
): Promise<Injury> {
  const by = dice.pick(JUMPS);
  clock.set(by);
  return {
    target: `${target}: ${by}`,
    hold_ms: holdFor(dice, 6, 12),
    proof: async () => must(await isFooled(), "the clock is right"),
    heal: async () => clock.set(RIGHT),
  };
}

const agentClock: Fault = {
  name: "agent-clock",
  about: "the clock of a node's agent jumps by hours, days or a year, and back",
  ...{ hurts: "control", isSafe: false, unavailable: missing },
  async strike(world, dice) {
    const { lab, traffic } = world;
    const node = pickNode(world, dice);
    const clock = new Clock(world, node);
    const place = lab.node(node);
    await lab.meshd(place, ["down", "--agent"]);
    await lab.meshd(place, ["join"], { env: clock.environment() });
    const { isWell } = await traffic.recovered(Date.now(), RECOVERY_LIMIT_MS);
    if (!isWell) throw new Error(`${node} did not come back under faketime`);
    must(!isWrong(await agentTime(world, node)), "its clock was wrong before");
    traffic.mark();
    return jump(clock, dice, node, async () => isWrong(await agentTime(world, node)));
  },
};

const controllerClock: Fault = {
  name: "controller-clock",
  about: "the clock of the controller jumps by hours, days or a year, and back",
  ...{ hurts: "control", isSafe: false, unavailable: missing },
  async strike(world, dice) {
    const { lab } = world;
    const place = pickControl(world, dice);
    const clock = new Clock(world, lab.hostName(place));
    for (const pid of lab.pidsOf(place.namespace, "controller")) process.kill(pid, "SIGKILL");
    await lab.meshd(place, ["up"], { env: clock.environment() });
    // Of several only this one's can be wrong.
    const isFooled = () => heardBeat(lab, isWrong, BEATS_MS);
    return jump(clock, dice, lab.hostName(place), isFooled);
  },
};

export const clockFaults: readonly Fault[] = [agentClock, controllerClock];
