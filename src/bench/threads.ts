// Starts a traffic thread and gives what it says: the port it uses, then its answer.
import { Worker } from "node:worker_threads";
import { BenchError, bodyOf, type ErrorBody, errorOf } from "./errors.js";

interface Place {
  family: 4 | 6;
  own: string;
}

interface Target extends Place {
  peer: string;
  port: number;
}

/** What a thread does. `flag` is shared with its owner: 1 tells it to stop, or to begin. */
export type Job =
  | ({ kind: "stream-sink"; token: Uint8Array; flag: Int32Array } & Place)
  | ({ kind: "datagram-sink"; token: Uint8Array; flag: Int32Array } & Place)
  | ({
      kind: "stream-source";
      token: Uint8Array;
      flag: Int32Array;
      seconds: number;
      congestion: string;
    } & Target)
  | ({
      kind: "datagram-source";
      token: Uint8Array;
      size: number;
      rate: number;
      seconds: number;
    } & Target)
  | ({
      kind: "ping";
      peer: string;
      count: number;
      identifier: number;
      interval_ms: number;
    } & Place);

/** What a sink counted. Times are the kernel's monotonic clock; 0 when nothing came. */
export interface SinkCount {
  packets: number;
  bytes: number;
  /** Datagrams or connections without the token. */
  foreign: number;
  first_us: number;
  last_us: number;
}

/** A word that threads share. */
export function createFlag(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

export function raise(flag: Int32Array): void {
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
}

type Said = { port: number } | { done: unknown } | { error: ErrorBody };

export class TrafficThread<T> {
  private readonly said: Said[] = [];
  private isOver = false;
  private wake: () => void = () => undefined;

  constructor(job: Job) {
    const worker = new Worker(new URL("./traffic.js", import.meta.url), { workerData: job });
    worker.on("message", (message: Said) => {
      this.said.push(message);
      this.wake();
    });
    worker.on("error", (error) => this.said.push({ error: bodyOf(error) }));
    worker.on("exit", () => {
      this.isOver = true;
      this.wake();
    });
  }

  private async next(): Promise<Said> {
    while (this.said.length === 0) {
      if (this.isOver) {
        throw new BenchError("MESHD_BENCH_FAILED", "a thread of the bench ended without an answer");
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const [said] = this.said.splice(0, 1) as [Said];
    if ("error" in said) throw errorOf(said.error);
    return said;
  }

  /** The port it listens on, or that it has connected to. */
  async port(): Promise<number> {
    const said = await this.next();
    if ("port" in said) return said.port;
    throw new BenchError("MESHD_BENCH_FAILED", "a thread of the bench has no port");
  }

  /** Its answer. */
  async result(): Promise<T> {
    for (;;) {
      const said = await this.next();
      if ("done" in said) return said.done as T;
    }
  }
}
