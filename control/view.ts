// Keeps a ledger current: one watch, replaced when it is lost, falls silent, after a reconnect and
// on a timer. The store's heartbeat key tells how old the view is. Nothing is forgotten because a
// watch ended.
import { EventEmitter } from "node:events";
import type { Ledger } from "./ledger.js";
import type { Bucket, Entry, Link } from "./nats/index.js";
import { Watch } from "./nats/index.js";
import type { Refusal } from "./records.js";

export interface ViewOptions {
  ledger: Ledger;
  /** Consumer name: the only one the user's permissions name. */
  consumer: string;
  /** Milliseconds between full listings when nothing else asks for one. */
  relist_ms: number;
  /**
   * Milliseconds without a heartbeat key after which the watch is replaced; Infinity when the
   * bucket has none.
   */
  beatMissing_ms: number;
}

const retry_min_ms = 200;
const retry_max_ms = 10_000;
/** A listing that is under way gets this long before it is begun anew. */
const listing_max_ms = 15_000;
/** Between two looks at what may be due. */
const check_min_ms = 1_000;
const check_max_ms = 60_000;
/** Changes within this time are told as one. */
const gather_ms = 20;

/**
 * Events: "listed", "changed" (gathered), "entry" (Entry, Applied), "refused" (Refusal), "trouble"
 * (reason).
 */
export class View extends EventEmitter {
  readonly #options: ViewOptions;
  #bucket: Bucket | null = null;
  #watch: Watch | null = null;
  #starting: Promise<void> = Promise.resolve();
  #freshAt = Number.NEGATIVE_INFINITY;
  #listedAt = Number.NEGATIVE_INFINITY;
  #startedAt = 0;
  #retry_ms = retry_min_ms;
  #restart: NodeJS.Timeout | null = null;
  #gather: NodeJS.Timeout | null = null;
  #clock: NodeJS.Timeout | undefined;
  #round = 0;
  /** Listings since a heartbeat last came as a change (not as part of a listing). */
  #beatless = 0;
  #ended = false;

  constructor(options: ViewOptions) {
    super();
    this.#options = options;
    this.#arm();
  }

  /** Uses a connection from now on. */
  attach(link: Link, bucket: Bucket): void {
    this.#bucket = bucket;
    link.on("connected", () => this.relist());
    link.on("disconnected", () => this.#dropWatch(false));
    this.relist();
  }

  /** Milliseconds since the view was last known to be current. */
  age_ms(): number {
    return performance.now() - this.#freshAt;
  }

  /** Takes in a full listing by a new watch. */
  relist(): void {
    this.#retry_ms = retry_min_ms;
    this.#schedule(0);
  }

  async close(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#clock);
    if (this.#restart) clearTimeout(this.#restart);
    if (this.#gather) clearTimeout(this.#gather);
    // One that is being made at this moment takes itself away.
    await this.#starting;
    const watch = this.#watch;
    this.#watch = null;
    await watch?.stop(this.#bucket?.link.connected ?? false);
  }

  #schedule(wait_ms: number): void {
    if (this.#ended || !this.#bucket) return;
    if (this.#restart) clearTimeout(this.#restart);
    this.#restart = setTimeout(() => {
      this.#starting = this.#start();
    }, wait_ms);
  }

  #dropWatch(remove: boolean): void {
    const watch = this.#watch;
    this.#watch = null;
    void watch?.stop(remove);
  }

  async #start(): Promise<void> {
    const bucket = this.#bucket;
    if (this.#ended || !bucket?.link.connected) return;
    this.#restart = null;
    this.#dropWatch(false);
    this.#startedAt = performance.now();
    const round = ++this.#round;
    const current = () => round === this.#round && !this.#ended;
    this.#options.ledger.beginListing();
    try {
      const watch = await Watch.start(bucket, this.#options.consumer, {
        entry: (entry) => current() && this.#take(entry),
        listed: () => current() && this.#listed(),
        lost: (reason) => current() && this.#fail(reason),
      });
      if (current()) this.#watch = watch;
      else await watch.stop(this.#ended);
    } catch (error) {
      if (current()) this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  #fail(reason: string): void {
    this.#watch = null;
    this.emit("trouble", reason);
    this.#schedule(this.#retry_ms * (0.5 + Math.random() / 2));
    this.#retry_ms = Math.min(this.#retry_ms * 2, retry_max_ms);
  }

  #take(entry: Entry): void {
    const { ledger } = this.#options;
    const applied = ledger.apply(entry);
    if (entry.key === "heartbeat" && applied === "same") this.#heardBeat();
    if (applied === "refused") this.#emitRefused(entry);
    if (applied === "changed") this.#gatherChange();
    this.emit("entry", entry, applied);
  }

  #heardBeat(): void {
    this.#freshAt = performance.now();
    if (this.#listedAt > this.#startedAt) this.#beatless = 0;
  }

  #emitRefused(entry: Entry): void {
    const refusal = this.#options.ledger.refused.find((one) => one.key === entry.key);
    if (refusal) this.emit("refused", refusal);
  }

  #gatherChange(): void {
    if (this.#gather) return;
    this.#gather = setTimeout(() => {
      this.#gather = null;
      this.emit("changed");
    }, gather_ms);
  }

  #listed(): void {
    this.#retry_ms = retry_min_ms;
    this.#freshAt = performance.now();
    this.#listedAt = this.#freshAt;
    const gone: Refusal[] = this.#options.ledger.endListing();
    for (const refusal of gone) this.emit("refused", refusal);
    this.emit("listed");
  }

  /** Looks again when something can be due at the earliest: an idle node hardly wakes. */
  #arm(): void {
    const { relist_ms, beatMissing_ms } = this.#options;
    const listing = Math.max(this.#listedAt + relist_ms, this.#startedAt + listing_max_ms);
    const beat = beatMissing_ms === Infinity ? Infinity : this.#freshAt + beatMissing_ms;
    const wait_ms = Math.min(listing, beat) - performance.now();
    const bounded_ms = Math.min(Math.max(wait_ms, check_min_ms), check_max_ms);
    this.#clock = setTimeout(() => {
      this.#check();
      if (!this.#ended) this.#arm();
    }, bounded_ms);
    this.#clock.unref();
  }

  /** Is a full listing due, or has the heartbeat key been missing for too long? */
  #check(): void {
    if (this.#restart || !this.#bucket?.link.connected) return;
    const { relist_ms, beatMissing_ms } = this.#options;
    const now = performance.now();
    const due = now - this.#listedAt > relist_ms;
    const stale = now - this.#freshAt > beatMissing_ms;
    // It may be missing because no controller runs. Then a thousand members that list every few
    // seconds would be the next outage: each listing without a heartbeat doubles the wait.
    const patience_ms = Math.min(beatMissing_ms * 2 ** this.#beatless, relist_ms);
    const waited_ms = now - this.#startedAt;
    if ((due && waited_ms > listing_max_ms) || (stale && waited_ms > patience_ms)) {
      if (stale) this.#beatless++;
      this.#schedule(Math.random() * 500);
    }
  }
}
