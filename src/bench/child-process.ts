// The agent's hold on the child of a session: start it, give it a task, end it.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { BenchError, errorOf } from "./errors.js";
import { START_MS } from "./limits.js";
import type { MeasureResult } from "./measures.js";
import type { FromChild, Network, Role, Task, ToChild, Way } from "./messages.js";

/** What is kept of its standard error, characters. */
const LAST_WORDS_LENGTH = 300;
const PROGRAM = fileURLToPath(new URL("./child.js", import.meta.url));

export class BenchChild {
  private readonly process: ChildProcess;
  /** Settles when the process has ended. */
  readonly ended: Promise<void>;
  private lastWords = "";
  private waiting: ((said: FromChild | undefined) => void) | undefined;

  constructor() {
    // Nothing of the agent's environment: the secret comes over the channel.
    const stdio: ("ignore" | "pipe" | "ipc")[] = ["ignore", "ignore", "pipe", "ipc"];
    this.process = fork(PROGRAM, [], { env: {}, execArgv: [], stdio });
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.lastWords = (this.lastWords + text).slice(-LAST_WORDS_LENGTH);
    });
    this.process.on("message", (message: FromChild) => this.settle(message));
    this.ended = new Promise((resolve) => {
      const over = () => {
        this.settle(undefined);
        resolve();
      };
      this.process.once("exit", over);
      // It could not be started, or be written to: then its end is all there is to say.
      this.process.on("error", over);
    });
  }

  private settle(said: FromChild | undefined): void {
    const waiting = this.waiting;
    this.waiting = undefined;
    waiting?.(said);
  }

  private async tell(message: ToChild): Promise<FromChild> {
    const said = await new Promise<FromChild | undefined>((resolve) => {
      this.waiting = resolve;
      if (!this.process.connected) this.settle(undefined);
      else this.process.send(message, (error) => error !== null && this.settle(undefined));
    });
    if (said === undefined) {
      const why = this.lastWords.trim() === "" ? "" : `: ${this.lastWords.trim()}`;
      throw new BenchError("MESHD_BENCH_FAILED", `the process of the bench has ended${why}`);
    }
    if ("error" in said) throw errorOf(said.error);
    return said;
  }

  /** Gives the ports it listens on. @throws BenchError MESHD_BENCH_FAILED */
  async start(role: Role, secret: string, ways: Way[]): Promise<Partial<Record<Network, number>>> {
    const timer = setTimeout(() => void this.end(), START_MS);
    try {
      const said = await this.tell({ start: { role, secret, ways } });
      return "ready" in said ? said.ready : {};
    } finally {
      clearTimeout(timer);
    }
  }

  async run(task: Task): Promise<MeasureResult> {
    const said = await this.tell({ run: task });
    if ("result" in said) return said.result;
    throw new BenchError("MESHD_BENCH_FAILED", "the process of the bench gave no result");
  }

  /** It has nothing to put in order: its sockets go with it. */
  async end(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.ended;
  }
}
