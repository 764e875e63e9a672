// Keeps the host's idle CPUs out of deep sleep while packets flow, so that a wake-up takes less
// time, by the kernel's /dev/cpu_dma_latency. It costs power of the whole host: only where asked.
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { codeOf, messageOf } from "./errors.js";
import type { AgentLog, LowLatencyStatus } from "./types.js";

const DEVICE = "/dev/cpu_dma_latency";
/** Microseconds that a CPU may take to wake up, as 32 bits: none. Holds while the file is open. */
const NO_LATENCY = new Uint8Array(4);
/** Without a packet for so long, the CPUs may sleep again. */
const PAUSE_MS = 2000;

export interface LowLatencyOptions {
  wanted: boolean;
  /** A count that moves with every packet of the pods, and by nothing else. */
  traffic: () => number;
  /** Asks to be looked at again as soon as a worker does anything. */
  listen: () => void;
  log: AgentLog;
  /** Monotonic milliseconds. */
  now?: () => number;
  path?: string;
}

export class LowLatency {
  private readonly path: string;
  private readonly now: () => number;
  private file: number | undefined;
  private reason = "";
  private traffic: number;
  private movedAt_ms = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: LowLatencyOptions) {
    this.path = options.path ?? DEVICE;
    this.now = options.now ?? (() => performance.now());
    this.traffic = options.traffic();
    // Tried once at the start: who asked for it in vain should not learn it from the first packet.
    if (options.wanted && this.hold()) this.release();
  }

  status(): LowLatencyStatus {
    const { wanted } = this.options;
    return { wanted, held: this.file !== undefined, reason: this.reason };
  }

  /** Takes or gives back by what the count did since the last look; cheap, once a second or so. */
  look(): void {
    if (!this.options.wanted || this.reason !== "") return;
    const traffic = this.options.traffic();
    const now = this.now();
    if (traffic !== this.traffic) {
      this.traffic = traffic;
      this.movedAt_ms = now;
      this.hold();
    } else if (now - this.movedAt_ms >= PAUSE_MS) {
      this.release();
    }
    if (this.file === undefined) this.options.listen();
  }

  /** The CPUs may sleep. */
  release(): void {
    if (this.file === undefined) return;
    closeSync(this.file);
    this.file = undefined;
  }

  private hold(): boolean {
    if (this.file !== undefined) return true;
    try {
      // Neither made nor truncated: where there is no such device there shall be no file either.
      const file = openSync(this.path, constants.O_WRONLY);
      this.file = file;
      writeSync(file, NO_LATENCY);
      return true;
    } catch (error) {
      this.release();
      this.reason = reasonOf(this.path, error);
      this.options.log("agent.low-latency.failed", { reason: this.reason });
      return false;
    }
  }
}

function reasonOf(path: string, error: unknown): string {
  const code = codeOf(error);
  if (code === "ENOENT") return `no ${path}: the kernel or the container has none`;
  if (code === "EACCES" || code === "EPERM") return `no permission to write ${path}`;
  return messageOf(error);
}
