// Processes of a simulation as their parent holds them: forked, asked, ended.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Answer, CrowdReport, Order } from "./messages.js";

/** A heap that holds some hundred agents that know some thousand nodes. */
const HEAP_MB = 6144;

function start(name: string, argv: string[]): ChildProcess {
  const path = fileURLToPath(new URL(`${name}.js`, import.meta.url));
  const execArgv = [
    "--expose-gc",
    // Collecting threads of all processes get in each other's way: one each, besides the main one.
    "--v8-pool-size=1",
    "--min-semi-space-size=32",
    "--max-semi-space-size=32",
    `--max-old-space-size=${HEAP_MB}`,
    ...profiling(name),
  ];
  return fork(path, argv, { execArgv, serialization: "advanced" });
}

/** MESHD_PROFILE=DIR: V8's profile of each process goes there. */
function profiling(name: string): string[] {
  const dir = process.env.MESHD_PROFILE;
  return dir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${dir}/${name}`];
}

/** By itself or by a signal. */
function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

type Kind = Answer["answer"];

export class Crowd {
  joined = 0;
  readonly failures: string[] = [];
  private readonly process = start("crowd", []);
  private readonly waiting = new Map<Kind, (answer: Answer) => void>();

  constructor() {
    this.process.on("message", (answer: Answer) => {
      if (answer.answer === "joined") this.joined++;
      if (answer.answer === "failed") this.failures.push(answer.what);
      this.waiting.get(answer.answer)?.(answer);
    });
  }

  send(order: Order): void {
    this.process.send(order);
  }

  async ask<K extends Kind>(order: Order, kind: K): Promise<Extract<Answer, { answer: K }>> {
    const answered = new Promise<Answer>((resolve) => this.waiting.set(kind, resolve));
    this.send(order);
    return (await answered) as Extract<Answer, { answer: K }>;
  }

  async report(): Promise<CrowdReport> {
    return (await this.ask({ order: "report" }, "report")).report;
  }

  async end(): Promise<void> {
    if (hasEnded(this.process)) return;
    const gone = once(this.process, "exit");
    this.send({ order: "end" });
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 20_000);
    await gone;
    clearTimeout(timer);
  }
}

export interface ProcessUse {
  cpu_s: number;
  resident: number;
}

export class ControllerProcess {
  private constructor(private readonly process: ChildProcess) {}

  static async start(meshDir: string): Promise<ControllerProcess> {
    const process = start("controller", [meshDir]);
    const ended = once(process, "exit").then(() => {
      throw new Error("the controller ended");
    });
    await Promise.race([once(process, "message"), ended]);
    ended.catch(() => undefined);
    return new ControllerProcess(process);
  }

  async use(): Promise<ProcessUse> {
    const answered = once(this.process, "message");
    this.process.send("use");
    const [use] = await answered;
    return use as ProcessUse;
  }

  async end(): Promise<void> {
    if (hasEnded(this.process)) return;
    const gone = once(this.process, "exit");
    this.process.disconnect();
    await gone;
  }
}
