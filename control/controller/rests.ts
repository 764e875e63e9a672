// Whether a lease in quarantine has rested: by clocks that may be set by days. Two must agree that
// the time has come, this host's (as it ran since this controller began) and the store's; or this
// controller has itself seen it rest for so long.
import type { LeaseRecord } from "../records.js";

/** Beats are told so often at least; the store's time is that of the last thing it took. */
const beat_ms = 10_000;

export class Rests {
  /** The wall clock when this controller began, less the monotonic one. */
  readonly #began_ms = Date.now() - performance.now();
  readonly #seen = new Map<string, { since: string; at: number }>();
  #store: { revision: number; time_ms: number } | null = null;

  /** Something was stored at that time, by the server's clock. */
  heard({ revision, time_ms }: { revision: number; time_ms?: number }): void {
    if (time_ms === undefined || revision < (this.#store?.revision ?? 0)) return;
    this.#store = { revision, time_ms };
  }

  /** Whether another node may have it. */
  isOver({ cidr, since, until }: LeaseRecord): boolean {
    const now = performance.now();
    const known = this.#seen.get(cidr);
    const seen = known?.since === since ? known : { since, at: now };
    this.#seen.set(cidr, seen);
    if (until === null) return true;
    const end = Date.parse(until);
    const own_ms = this.#began_ms + now;
    const store_ms = this.#store === null ? own_ms : this.#store.time_ms + beat_ms;
    return (own_ms >= end && store_ms >= end) || now - seen.at >= end - Date.parse(since);
  }
}
