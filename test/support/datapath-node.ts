// The test's side of datapath-host: starts one inside a namespace and talks to it.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { packetsInFlight, type WorkerCounters } from "../../src/datapath/index.js";
import type { HostCommand, HostConfig } from "./datapath-host.js";
import { inNamespace, until } from "./netns.js";

const HOST = fileURLToPath(new URL("./datapath-host.js", import.meta.url));

/** An answer that says no; carries the code of the error on the other side. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly code: string;

  constructor(refused: { name: string; code?: string; message: string }) {
    super(refused.message);
    this.code = refused.code ?? refused.name;
  }
}

export interface HostEvent {
  event: string;
  [field: string]: unknown;
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** How its process is started: options of V8, and where V8 puts files of its own. */
export interface Engine {
  flags?: readonly string[];
  folder?: string;
}

/** A datapath in a namespace. It ends with the test process, whose end closes its input. */
export class DatapathNode {
  readonly events: HostEvent[] = [];
  readonly #child: ChildProcess;
  readonly #waiting: Waiting[] = [];
  readonly #ended: Promise<number>;

  private constructor(namespace: string, { flags = [], folder = process.cwd() }: Engine) {
    const [file, ...argv] = inNamespace(namespace, [process.execPath, ...flags, HOST]);
    const stdio = ["pipe", "pipe", "inherit"] as const;
    this.#child = spawn(file as string, argv, { stdio: [...stdio], cwd: folder });
    this.#child.stdin?.on("error", () => undefined);
    this.#ended = new Promise((resolve) =>
      this.#child.once("close", (code) => resolve(code ?? 128)),
    );
    void this.#ended.then(() => this.#failAll());
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => this.#onLine(line));
  }

  /** Opens the datapath and resolves when its device is up and its tables are published. */
  static async start(
    namespace: string,
    config: HostConfig,
    engine: Engine = {},
  ): Promise<DatapathNode> {
    const node = new DatapathNode(namespace, engine);
    try {
      await node.#send(config);
    } catch (error) {
      await node.stop();
      throw error;
    }
    return node;
  }

  /** Sends a command and gives its answer. */
  ask<T = unknown>(command: HostCommand): Promise<T> {
    return this.#send(command) as Promise<T>;
  }

  counters(): Promise<WorkerCounters[]> {
    return this.ask<WorkerCounters[]>({ do: "counters" });
  }

  /** Counters once nothing is in flight: received + generated = forwarded + consumed + dropped. */
  async settledCounters(): Promise<WorkerCounters[]> {
    let counters = await this.counters();
    const atRest = () =>
      counters.every((w) => packetsInFlight(w.egress) === 0 && packetsInFlight(w.ingress) === 0);
    await until("the counters' identity holds", async () => {
      counters = await this.counters();
      return atRest();
    });
    return counters;
  }

  /** Resolves when the host has said an event of this name (`count` times). */
  async event(name: string, count = 1): Promise<HostEvent> {
    const seen = () => this.events.filter((event) => event.event === name);
    await until(`event ${name}`, () => seen().length >= count);
    return seen()[count - 1] as HostEvent;
  }

  /** Ends it as an agent that stops: a device that is not persistent goes with it. */
  async stop(): Promise<void> {
    this.#child.stdin?.end();
    await this.#ended;
  }

  /** Makes it call process.exit() with its workers running; gives the exit code once it is gone. */
  async exit(): Promise<number> {
    this.ask({ do: "exit" }).catch(() => undefined);
    return this.#ended;
  }

  /** Ends it as a crash. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  #send(value: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify(value)}\n`);
    });
  }

  #onLine(line: string): void {
    const said = JSON.parse(line) as Record<string, unknown>;
    if (typeof said.event === "string") {
      this.events.push(said as HostEvent);
      return;
    }
    const waiting = this.#waiting.shift();
    if ("reply" in said) waiting?.resolve(said.reply);
    else waiting?.reject(new RefusedError(said.refused as { name: string; message: string }));
  }

  #failAll(): void {
    for (const waiting of this.#waiting.splice(0)) {
      waiting.reject(new Error("the datapath process ended"));
    }
  }
}
