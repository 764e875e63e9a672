// One run: fault after fault, each healed, each followed by all checks.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { keepEvidence } from "./evidence.js";
import type { Fault, Injury, World } from "./fault.js";
import { checkChurn, checkControl, checkCounters, checkLeases, checkPairs } from "./invariants.js";
import { RECOVERY_LIMIT_MS } from "./limits.js";
import { grown, type Ledger, ledgerText, readLedger, readWires, together } from "./losses.js";
import { type Step, stepsOf } from "./plan.js";
import type { StepResult } from "./report.js";
import { Upkeep } from "./upkeep.js";

const CONTROL_LIMIT_MS = 60_000;
/** So long traffic runs before the first fault, and after a failure before the next. */
const WARM_UP_MS = 3000;
/** So much longer we look for the real figure of a recovery that came too late. */
const PATIENCE_MS = 60_000;

export interface ChaosOptions {
  seed: number;
  /** No step begins later than this after the first. */
  limit_ms: number;
  /** Not more steps than this. */
  steps: number;
  faults: readonly Fault[];
  /** Where evidence of a failure goes. */
  folder: string;
  /** The first failure ends the run. */
  stopAtFailure: boolean;
  say: (line: string) => void;
  onResult: (result: StepResult) => void;
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
const clock = () => new Date().toISOString().slice(11, 19);

export class Chaos {
  readonly results: StepResult[] = [];
  readonly upkeep: Upkeep;
  readonly #began = Date.now();
  #healing = 0;
  /** Before the step, and what the wires did until its healing. */
  #ledger: Ledger = new Map();
  #wires: Ledger = new Map();

  constructor(
    readonly world: World,
    readonly options: ChaosOptions,
  ) {
    this.upkeep = new Upkeep(world.lab);
  }

  /** Runs until the time or the steps are over. @returns whether every step was good. */
  async run(): Promise<boolean> {
    const { seed, faults, limit_ms, steps, stopAtFailure } = this.options;
    await this.#begin();
    const names = faults.map(({ name }) => name);
    for (const step of stepsOf(seed, names)) {
      if (step.number > steps || Date.now() - this.#began > limit_ms) break;
      const fault = faults.find(({ name }) => name === step.fault) as Fault;
      const result = await this.#step(step, fault);
      this.results.push(result);
      this.options.onResult(result);
      if (result.wrong.length === 0) continue;
      this.#keep(result);
      if (stopAtFailure) break;
      await sleep(WARM_UP_MS);
    }
    return this.results.every(({ wrong }) => wrong.length === 0);
  }

  /** Traffic on, and all well before anything is broken. */
  async #begin(): Promise<void> {
    const { lab, traffic } = this.world;
    traffic.retarget();
    await sleep(WARM_UP_MS);
    const began = Date.now();
    traffic.mark();
    const recovery = await traffic.recovered(began, RECOVERY_LIMIT_MS);
    if (!recovery.isWell) throw new Error(`no traffic to begin with: ${traffic.lossText()}`);
    const wrong = [...(await checkPairs(lab)), ...(await checkLeases(lab))];
    if (wrong.length > 0) throw new Error(`the lab is not well to begin with: ${wrong.join("; ")}`);
    this.upkeep.begin();
  }

  async #step({ number, fault: name, dice }: Step, fault: Fault): Promise<StepResult> {
    const { lab, traffic } = this.world;
    const result: StepResult = {
      ...{
        number,
        fault: name,
        target: "",
        at: clock(),
        hurts: fault.hurts,
        lost: 0,
        resumed: 0,
        late: 0,
      },
      ...{ recovery_ms: null, streams_ms: null, control_ms: null, seconds: 0, wrong: [] },
    };
    const began = Date.now();
    this.#ledger = await readLedger(lab);
    traffic.mark();
    try {
      const injury = await fault.strike(this.world, dice);
      result.target = injury.target;
      await this.#heal(injury, result);
      await this.#check(fault, result);
    } catch (error) {
      result.wrong.push(messageOf(error));
      await lab.lab("up").catch((failed: unknown) => result.wrong.push(messageOf(failed)));
    }
    result.seconds = (Date.now() - began) / 1000;
    return result;
  }

  async #heal(injury: Injury, result: StepResult): Promise<void> {
    const { lab, traffic } = this.world;
    await sleep(injury.hold_ms);
    const proven = await Promise.resolve(injury.proof?.()).catch((error: unknown) => error);
    this.#wires = grown(this.#ledger, await readWires(lab));
    const healing = Date.now();
    await injury.heal();
    if (proven !== undefined) result.wrong.push(messageOf(proven));
    const { isWell, ...took } = await traffic.recovered(healing, PATIENCE_MS);
    this.#healing = healing;
    result.recovery_ms = isWell ? took.probes_ms : null;
    result.streams_ms = isWell ? took.streams_ms : null;
    if (!isWell) result.wrong.push(`no recovery: ${traffic.lossText()}`, await this.#where());
    for (const [what, ms] of [
      ["pods reached each other", took.probes_ms],
      ["streams went on", took.streams_ms],
    ] as const) {
      if (isWell && ms > RECOVERY_LIMIT_MS) {
        result.wrong.push(`${what} only ${ms} ms after the healing`);
      }
    }
  }

  async #check(fault: Fault, result: StepResult): Promise<void> {
    const { lab, traffic } = this.world;
    const { wrong } = result;
    wrong.push(...(await checkControl(lab, CONTROL_LIMIT_MS)));
    result.control_ms = Date.now() - this.#healing;
    wrong.push(...(await checkPairs(lab)));
    wrong.push(...(await checkLeases(lab)));
    wrong.push(...(await checkChurn(lab)));
    await (fault.hurts === "control" ? traffic.settleAll() : traffic.settle());
    const { lost, late, resumed, bad } = traffic.counts();
    Object.assign(result, { lost: lost.length, late, resumed });
    if (bad > 0) wrong.push(`${bad} pieces of a stream were not what was sent`);
    if (fault.hurts === "control" && lost.length > 0) {
      wrong.push(`the control plane alone was hurt, and packets were lost: ${traffic.lossText()}`);
      wrong.push(await this.#where());
    }
    if (fault.hurts === "control" && resumed > 0) wrong.push(`${resumed} streams broke`);
    wrong.push(...(await checkCounters(lab)));
    wrong.push(...(await this.upkeep.checkProcesses()));
    wrong.push(...this.upkeep.checkHoldings());
    wrong.push(...this.upkeep.checkLogs(fault.explains ?? []));
  }

  /** What can have eaten packets since the step began, by everybody's own counts. */
  async #where(): Promise<string> {
    const { lab, traffic } = this.world;
    const sinceHealing = grown(together(this.#ledger, this.#wires), await readLedger(lab));
    const all = together(this.#wires, sinceHealing);
    const trouble = traffic.troubleText();
    return `counted meanwhile: ${ledgerText(all)}${trouble === "" ? "" : `; ${trouble}`}`;
  }

  #keep(result: StepResult): void {
    const folder = join(this.options.folder, `step-${result.number}-${result.fault}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "step.json"), `${JSON.stringify(result, null, 2)}\n`);
    keepEvidence(this.world.lab, folder);
    this.options.say(`     evidence: ${folder}`);
  }
}
