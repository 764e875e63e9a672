// Drives the processes of the end-to-end test: a controller that takes questions, agents with a
// socket.
import { type ChildProcess, spawn } from "node:child_process";
import { request } from "node:http";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { AgentOptions, AgentStatus } from "../../src/agent/index.js";
import { inNamespace, spawnIn, until } from "../support/netns.js";

const script = (name: string) => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

/** Lines of a child's output, one at a time; "" after its end. */
class Lines {
  private readonly waiting: ((line: string) => void)[] = [];
  private readonly ready: string[] = [];
  private readonly reader: Interface;
  private ended = false;

  constructor(child: ChildProcess) {
    this.reader = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    this.reader.on("line", (line) => {
      const taker = this.waiting.shift();
      if (taker === undefined) this.ready.push(line);
      else taker(line);
    });
    this.reader.on("close", () => {
      this.ended = true;
      for (const taker of this.waiting.splice(0)) taker("");
    });
  }

  next(): Promise<string> {
    const line = this.ready.shift();
    if (line !== undefined) return Promise.resolve(line);
    return this.ended ? Promise.resolve("") : new Promise((resolve) => this.waiting.push(resolve));
  }
}

/** Keeps the last lines of standard error, to be shown when something fails. */
function keepErrors(child: ChildProcess): string[] {
  const kept: string[] = [];
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => {
    kept.push(line);
    if (kept.length > 200) kept.shift();
  });
  return kept;
}

export class DrivenController {
  private readonly child: ChildProcess;
  private readonly lines: Lines;
  readonly errors: string[];

  constructor(namespace: string, directory: string, host: string, port: number, config: object) {
    const own = [process.execPath, script("controller-driver"), directory, host, `${port}`];
    const [file = "", ...argv] = inNamespace(namespace, [...own, JSON.stringify(config)]);
    // Its input is its life: when this process ends, it ends too and stops its nats-server.
    this.child = spawn(file, argv, { stdio: "pipe" });
    this.lines = new Lines(this.child);
    this.errors = keepErrors(this.child);
  }

  async started(): Promise<void> {
    const line = await this.lines.next();
    if (line !== '{"ready":true}') throw new Error(`controller: ${line} ${this.errors.join("\n")}`);
  }

  async ask(question: object): Promise<unknown> {
    this.child.stdin?.write(`${JSON.stringify(question)}\n`);
    const answer = JSON.parse(await this.lines.next()) as { error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  async token(): Promise<string> {
    return ((await this.ask({ do: "token" })) as { token: string }).token;
  }

  /** Ends it as a person would; its nats-server goes with it. */
  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.stdin?.end();
    await gone;
  }
}

export class DrivenAgent {
  child: ChildProcess;
  errors: string[];
  private lines: Lines;

  /** `under` is a program that runs it, with its arguments. */
  constructor(
    readonly namespace: string,
    readonly options: AgentOptions,
    under: readonly string[] = [],
  ) {
    const argv = [process.execPath, script("agent-driver"), JSON.stringify(options)];
    this.child = spawnIn(namespace, [...under, ...argv]);
    this.lines = new Lines(this.child);
    this.errors = keepErrors(this.child);
  }

  /** Its first line: "ready", or "refused CODE message". */
  first(): Promise<string> {
    return this.lines.next();
  }

  async started(): Promise<AgentStatus> {
    const line = await this.first();
    if (line !== "ready") throw new Error(`agent: ${line}\n${this.errors.join("\n")}`);
    return this.status();
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
    const gone = new Promise<number | null>((resolve) => this.child.once("exit", resolve));
    this.child.kill(signal);
    return gone;
  }

  ask(method: string, path: string, body?: object): Promise<{ status: number; json: unknown }> {
    const socketPath = `${this.options.runDir}/agent.sock`;
    return new Promise((resolve, fail) => {
      const asked = request({ socketPath, method, path }, (response) => {
        let text = "";
        response.on("data", (piece: Buffer) => {
          text += piece.toString();
        });
        response.on("end", () => {
          const isJson = response.headers["content-type"] === "application/json";
          const json: unknown = isJson ? JSON.parse(text) : text;
          resolve({ status: response.statusCode ?? 0, json });
        });
      });
      asked.on("error", fail);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async status(): Promise<AgentStatus> {
    return (await this.ask("GET", "/status")).json as AgentStatus;
  }

  /** Polls the status until the condition holds; the last one is in the error. */
  async statusThat(what: string, holds: (status: AgentStatus) => boolean): Promise<AgentStatus> {
    let last: AgentStatus | undefined;
    const check = async () => {
      last = await this.status();
      return holds(last);
    };
    await until(what, check, 20_000).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}\n${this.errors.join("\n")}`);
    });
    return last as AgentStatus;
  }
}
