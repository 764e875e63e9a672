// Publishes tables by generation: its lowest bit says which of two copies is live. The spare copy
// may be rewritten only when every worker reported the live generation or is parked.
import {
  C_GENERATION,
  CONTROL,
  W_GENERATION,
  W_STATE,
  WORKER_PARKED,
} from "../../assembly/shared/layout.js";
import { Sessions } from "./sessions.js";
import { writeTables } from "./tables.js";
import type { TableContents } from "./types.js";

/** How often a publication that waits for a busy worker looks again. No timer runs otherwise. */
const RETRY_MS = 1;

export interface PublisherParts {
  bytes: Uint8Array;
  words: Uint32Array;
  /** Blocks of all workers. */
  bases: readonly number[];
  /** Told about tables that were queued and then could not be written. */
  onFailure: (error: unknown) => void;
}

/** Writes the spare copy and makes it live. Lives on the control thread. */
export class TablePublisher {
  readonly #parts: PublisherParts;
  readonly #sessions: Sessions;
  #waiting: TableContents | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    this.#sessions = new Sessions(parts.bytes);
  }

  /** Generation the workers use or will use at their next run. */
  generation(): number {
    return Atomics.load(this.#parts.words, (CONTROL + C_GENERATION) >>> 2);
  }

  /** True when nothing waits for a worker to let go of the spare copy. */
  isSettled(): boolean {
    return this.#waiting === undefined;
  }

  /**
   * Makes `contents` live now, or, when a worker still reads the spare copy, as soon as it stops
   * (then only the newest contents count). An unwritable table leaves the live one alone.
   * @throws {TableError} when the contents cannot be written; a failure after waiting goes to
   *   `onFailure` instead.
   */
  publish(contents: TableContents): void {
    this.#waiting = contents;
    if (this.#retry === undefined) this.#tryNow();
  }

  /** Forgets what waits. */
  stop(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#waiting = undefined;
  }

  #tryNow(): void {
    const contents = this.#waiting;
    if (contents === undefined) return;
    if (!this.#isSpareFree()) {
      this.#retry = setTimeout(() => this.#tryLater(), RETRY_MS).unref();
      return;
    }
    this.#waiting = undefined;
    const next = (this.generation() + 1) >>> 0;
    writeTables(this.#parts.bytes, (next & 1) as 0 | 1, contents, this.#sessions);
    Atomics.store(this.#parts.words, (CONTROL + C_GENERATION) >>> 2, next);
  }

  #tryLater(): void {
    this.#retry = undefined;
    try {
      this.#tryNow();
    } catch (error) {
      this.#parts.onFailure(error);
    }
  }

  /** A parked worker reads the generation anew when it wakes, before it looks at any table. */
  #isSpareFree(): boolean {
    const live = this.generation();
    const { words, bases } = this.#parts;
    return bases.every(
      (base) =>
        Atomics.load(words, (base + W_STATE) >>> 2) === WORKER_PARKED ||
        Atomics.load(words, (base + W_GENERATION) >>> 2) === live,
    );
  }
}
