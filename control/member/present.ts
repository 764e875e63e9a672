// Gives a store back what it lost: every reader holds the controllers' signed records, and hands
// them over when the store has none or an older one. A controller takes what is newer than its own
// (controller/store.ts, adopt).

import { parseKey } from "../keys.js";
import type { Ledger } from "../ledger.js";

export interface Presented {
  key: string;
  value: string;
}

/** Controllers that remember mend a store by themselves in this time; nodes do not come at once. */
const patience_min_ms = 1_000;
const patience_max_ms = 4_000;
const retry_max_ms = 60_000;
/** Below the longest message of a NATS server (1 MB). */
const batchLength_max = 400_000;
/** Entries of one request. */
export const batchCount_max = 1_000;

export class Presenter {
  readonly #ledger: Ledger;
  readonly #send: (batch: Presented[]) => Promise<unknown>;
  readonly #keys = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #ended = false;

  /** `send` hands a batch to a controller and throws when it could not. */
  constructor(ledger: Ledger, send: (batch: Presented[]) => Promise<unknown>) {
    this.#ledger = ledger;
    this.#send = send;
  }

  /** The store's value of a key was refused: it is gone, older than ours, or spoiled. */
  notice(key: string): void {
    const place = parseKey(key);
    if (place?.writer !== null || place.kind === "heartbeat" || !this.#ledger.get(key)) return;
    this.#keys.add(key);
    this.#schedule();
  }

  close(): void {
    this.#ended = true;
    if (this.#timer) clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#ended || this.#timer) return;
    const spread_ms = patience_max_ms - patience_min_ms;
    const backoff_ms = patience_min_ms * 2 ** this.#failures;
    const wait_ms = Math.min(backoff_ms, retry_max_ms) + Math.random() * spread_ms;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#present();
    }, wait_ms);
  }

  async #present(): Promise<void> {
    try {
      for (const batch of this.#batches()) {
        await this.#send(batch);
        for (const { key } of batch) this.#keys.delete(key);
      }
      this.#failures = 0;
    } catch {
      this.#failures++;
      this.#schedule();
    }
  }

  /** What is still refused now; the rest was mended meanwhile. */
  *#batches(): Generator<Presented[]> {
    let batch: Presented[] = [];
    let length = 0;
    for (const key of [...this.#keys]) {
      const value = this.#ledger.get(key)?.raw;
      if (value === undefined || !this.#ledger.refuses(key)) {
        this.#keys.delete(key);
        continue;
      }
      if (batch.length === batchCount_max || length + value.length > batchLength_max) {
        yield batch;
        batch = [];
        length = 0;
      }
      batch.push({ key, value });
      length += value.length;
    }
    if (batch.length > 0) yield batch;
  }
}
