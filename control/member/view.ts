// Keeps a ledger current: one source, a feed or a watch, replaced when it is lost, falls silent,
// after a reconnect, on a timer, and when the store has what it did not bring. The store's
// heartbeat key tells how old the view is. Nothing is forgotten because a source ended.
import { EventEmitter } from "node:events";
import { keyOf } from "../keys.js";
import type { Ledger } from "../ledger.js";
import type { Bucket, Entry, Link } from "../nats/index.js";
import type { Refusal } from "../records.js";
import { Pace } from "./pace.js";
import { codeOf, type Source, type SourceHandlers, type SourceOptions, Sources } from "./source.js";

export interface ViewOptions {
  ledger: Ledger;
  /** Consumer name: the only one the user's permissions name. */
  consumer: string;
  /** Where a controller's feed is found; absent: a watch alone. */
  feed?: SourceOptions["feed"];
  /** Milliseconds between full listings when nothing else asks for one. */
  relist_ms: number;
  /**
   * Milliseconds without a sign that the view is current, after which the store is asked what it
   * has that is newer.
   */
  beatMissing_ms: number;
  /** That sign is the heartbeat key; a bucket without one is asked each time. Default true. */
  hasBeat?: boolean;
  /** A controller's: few, and everybody waits for them. Default false. */
  isHasty?: boolean;
}

const retry_min_ms = 200;
const retry_quick_ms = 1_000;
const retry_max_ms = 10_000;
/** A listing that is under way gets this long before it is begun anew. */
const listing_max_ms = 15_000;
/** Between two looks at what may be due. */
const check_min_ms = 1_000;
const check_max_ms = 60_000;
/** A question to the store, to the server, and a new watch after one that fell silent. */
const answer_max_ms = 1_500;
const watch_hasty_ms = 600;
const watch_min_ms = 1_500;
const watch_max_ms = 5_000;
/** So many of one that others wait for are given up sooner still. */
const hasty_max = 4;
/** So many in a row are given up soon: by then a cluster has elected, and knows who is gone. */
const quick_max = 12;
/** Between two connections that are given up because JetStream does not answer over them. */
const reconnect_min_ms = 30_000;
const reconnect_max_ms = 300_000;
/** A timer that comes so late tells of a process that was held up. */
const heldUp_ms = 200;
/** Members do not ask all at the same moment. */
const spread_ms = 500;
/** Changes within this time are told as one. */
const gather_least_ms = 20;
/** While changes go on coming, as when a thousand nodes join, readers are told so often. */
const gather_most_ms = 1_000;

/**
 * Events: "listing" (all that the store has comes), "listed", "changed" (gathered), "entry" (Entry,
 * Applied), "refused" (Refusal), "trouble" (reason).
 */
export class View extends EventEmitter {
  readonly #options: ViewOptions;
  readonly #sources: Sources;
  #bucket: Bucket | null = null;
  #source: Source | null = null;
  #isWhole = false;
  #starting: Promise<void> = Promise.resolve();
  #freshAt = Number.NEGATIVE_INFINITY;
  #listedAt = Number.NEGATIVE_INFINITY;
  #startedAt = 0;
  #retry_ms = retry_min_ms;
  #failures = 0;
  #restart: NodeJS.Timeout | null = null;
  #gather: NodeJS.Timeout | null = null;
  readonly #pace = new Pace({ least_ms: gather_least_ms, most_ms: gather_most_ms });
  #clock: NodeJS.Timeout | undefined;
  #round = 0;
  /** Revision of the last heartbeat that came. */
  #beat = 0;
  /** Questions to the store since a heartbeat last came as a change (not in a listing). */
  #beatless = 0;
  #comparedAt = Number.NEGATIVE_INFINITY;
  #comparing = false;
  #wasSilent = false;
  #reconnectAt = 0;
  #reconnect_ms = reconnect_min_ms;
  #ended = false;

  constructor(options: ViewOptions) {
    super();
    this.#options = options;
    const { consumer, feed } = options;
    const trouble = (reason: string) => void this.emit("trouble", reason);
    this.#sources = new Sources({ consumer, trouble, ...(feed ? { feed } : {}) });
    this.#arm();
  }

  /** Uses a connection from now on. */
  attach(link: Link, bucket: Bucket): void {
    this.#bucket = bucket;
    link.on("connected", () => this.relist());
    link.on("disconnected", () => this.#dropSource(false));
    this.relist();
  }

  /** Whether it comes by a controller's feed; else by a watch of its own. */
  get isFeed(): boolean {
    return this.#sources.isFeed;
  }

  /** Milliseconds since the view was last known to be current. */
  age_ms(): number {
    return performance.now() - this.#freshAt;
  }

  /** Whether the values that come now are those of a listing. */
  get isListing(): boolean {
    return this.#listedAt < this.#startedAt;
  }

  /** Keys whose value in the store is refused now. */
  refusedKeys(): string[] {
    return this.#options.ledger.refused.map(({ key }) => key);
  }

  /**
   * Every write up to this revision came by the source that is there; 0 without one. What this
   * process wrote itself says nothing of what others wrote before.
   */
  get delivered(): number {
    return this.#source?.revision ?? 0;
  }

  /** The source is known not to bring what the store has: a new one, unless it is on its way. */
  replaceStale(): void {
    if (this.#source) this.#replace("the store has what was not delivered");
  }

  /** Over another connection, maybe to another store. */
  relist(): void {
    this.#sources.linked(this.#options.ledger.size);
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
    const source = this.#source;
    this.#source = null;
    await source?.stop(this.#bucket?.link.connected ?? false);
  }

  #schedule(wait_ms: number): void {
    if (this.#ended || !this.#bucket) return;
    if (this.#restart) clearTimeout(this.#restart);
    this.#restart = setTimeout(() => {
      this.#starting = this.#start();
    }, wait_ms);
  }

  #dropSource(remove: boolean): void {
    const source = this.#source;
    this.#source = null;
    void source?.stop(remove);
  }

  async #start(): Promise<void> {
    const bucket = this.#bucket;
    if (this.#ended || !bucket?.link.connected) return;
    this.#restart = null;
    this.#dropSource(false);
    this.#startedAt = performance.now();
    const round = ++this.#round;
    const isCurrent = () => round === this.#round && !this.#ended;
    const handlers: SourceHandlers = {
      isCurrent,
      begins: () => isCurrent() && this.#begins(),
      entry: (entry) => isCurrent() && this.#take(entry),
      listed: (byFeed) => isCurrent() && this.#listed(byFeed),
      lost: (reason, isSilent) => isCurrent() && this.#lost(reason, isSilent),
    };
    const timeout_ms = this.#watchLimit();
    try {
      const isWhole = this.#isWhole;
      const source = await this.#sources.start(bucket, handlers, { timeout_ms, isWhole });
      if (isCurrent()) this.#source = source;
      else await source.stop(this.#ended);
    } catch (error) {
      if (!isCurrent()) return;
      this.#failures++;
      this.#fail(error instanceof Error ? error.message : String(error));
      const code = codeOf(error);
      if (code === "MESHD_NO_NATS" && bucket.link.connected) void this.#reconnect(bucket.link);
      else if (this.#wasSilent && code === "MESHD_TIMEOUT") this.#reconnectSparingly(bucket.link);
    }
  }

  /** A watch that fell silent may be one of a server that is gone without a word. */
  #lost(reason: string, isSilent: boolean): void {
    this.#wasSilent = isSilent;
    this.#fail(reason);
    const link = this.#bucket?.link;
    if (!link) return;
    if (this.isListing) this.#reconnectSparingly(link);
    if (!isSilent) return;
    void link.answers(answer_max_ms).then((answered) => {
      if (!answered && !this.#ended && link.connected) void this.#reconnect(link);
    });
  }

  async #reconnect(link: Link): Promise<void> {
    this.emit("trouble", "the server does not answer; connecting anew");
    await link.reconnect().catch(() => undefined);
  }

  /** The server lives, but nothing of JetStream comes: another connection or server may do. */
  #reconnectSparingly(link: Link): void {
    const now = performance.now();
    if (now < this.#reconnectAt || !link.connected) return;
    this.#reconnectAt = now + this.#reconnect_ms;
    this.#reconnect_ms = Math.min(this.#reconnect_ms * 2, reconnect_max_ms);
    void this.#reconnect(link);
  }

  #fail(reason: string): void {
    this.#dropSource(false);
    this.emit("trouble", reason);
    this.#schedule(this.#retry_ms * (0.5 + Math.random() / 2));
    const most_ms = this.#failures < quick_max ? retry_quick_ms : retry_max_ms;
    this.#retry_ms = Math.min(this.#retry_ms * 2, most_ms);
  }

  /**
   * As long as one of three servers is gone, the cluster puts one of three watches on it (2.9.10
   * does not look): the next try may be on another. A server that is slow gets more time at last.
   */
  #watchLimit(): number {
    if (this.#options.isHasty && this.#failures < hasty_max) return watch_hasty_ms;
    return this.#failures < quick_max ? watch_min_ms : watch_max_ms;
  }

  #begins(): void {
    this.#options.ledger.beginListing();
    this.emit("listing");
  }

  #take(entry: Entry): void {
    const { ledger } = this.#options;
    const applied = ledger.apply(entry);
    if (entry.key === "heartbeat" && applied === "same") this.#heardBeat(entry.revision);
    if (applied === "refused") this.#emitRefused(entry);
    if (applied === "changed") this.#gatherChange();
    this.emit("entry", entry, applied);
  }

  /** The same one, of another listing, is no sign that anything is current. */
  #heardBeat(revision: number): void {
    if (revision === this.#beat) return;
    this.#beat = revision;
    this.#freshAt = performance.now();
    if (this.#listedAt > this.#startedAt) this.#beatless = 0;
  }

  #emitRefused(entry: Entry): void {
    const refusal = this.#options.ledger.refused.find((one) => one.key === entry.key);
    if (refusal) this.emit("refused", refusal);
  }

  #gatherChange(): void {
    if (this.#gather) return;
    // A feed has gathered them already.
    const paced_ms = this.#pace.wait_ms(performance.now());
    const wait_ms = this.isFeed && !this.isListing ? gather_least_ms : paced_ms;
    this.#gather = setTimeout(() => {
      this.#gather = null;
      this.#pace.told(performance.now());
      this.emit("changed");
    }, wait_ms);
  }

  /** A controller's page is as old as its own view: then the next heartbeat tells. */
  #listed(byFeed: boolean): void {
    this.#failures = 0;
    this.#retry_ms = retry_min_ms;
    this.#reconnect_ms = reconnect_min_ms;
    // What came over this connection proves it: one that dies after that need not wait.
    this.#reconnectAt = 0;
    this.#wasSilent = false;
    this.#isWhole = false;
    const gone: Refusal[] = this.#options.ledger.endListing();
    for (const refusal of gone) this.emit("refused", refusal);
    this.#listedAt = performance.now();
    if (!byFeed || !Number.isFinite(this.#freshAt)) this.#freshAt = this.#listedAt;
    this.emit("listed");
  }

  /** Looks again when something can be due at the earliest: an idle node hardly wakes. */
  #arm(): void {
    const due = Math.min(this.#listingDue(), this.#compareDue(), this.#sources.feedDue);
    const wait_ms = due - performance.now();
    const bounded_ms = Math.min(Math.max(wait_ms, check_min_ms), check_max_ms);
    this.#clock = setTimeout(() => {
      this.#check();
      if (!this.#ended) this.#arm();
    }, bounded_ms);
    this.#clock.unref();
  }

  #listingDue(): number {
    return Math.max(this.#listedAt + this.#options.relist_ms, this.#startedAt + listing_max_ms);
  }

  /**
   * The heartbeat key may be missing because no controller runs: then each question without a
   * newer answer doubles the wait, for a thousand members ask.
   */
  #compareDue(): number {
    const { beatMissing_ms } = this.#options;
    const pause_ms = Math.min(beatMissing_ms * 2 ** this.#beatless, check_max_ms);
    const since = Math.max(this.#comparedAt, this.#startedAt);
    return Math.max(this.#freshAt + beatMissing_ms, since + pause_ms);
  }

  /** Is a full listing due, or a question to the store? */
  #check(): void {
    if (this.#restart || !this.#bucket?.link.connected) return;
    const now = performance.now();
    if (now >= this.#listingDue()) {
      this.#isWhole = true;
      this.#schedule(Math.random() * spread_ms);
    } else if (now >= this.#compareDue() && !this.#comparing) {
      this.#comparing = true;
      setTimeout(() => void this.#compare(), Math.random() * spread_ms).unref();
    } else if (now >= this.#sources.feedDue) void this.#tryFeed(this.#bucket, this.#round);
  }

  /** A watch goes on until a controller answers that has a feed. */
  async #tryFeed(bucket: Bucket, round: number): Promise<void> {
    if (!(await this.#sources.hasFeed(bucket))) return;
    if (round === this.#round && !this.#restart) this.#schedule(0);
  }

  /** Has the store what this source did not bring? Then it is dead, whatever it says. */
  async #compare(): Promise<void> {
    const [source, bucket, round] = [this.#source, this.#bucket, this.#round];
    const isAsked = () => round === this.#round && !this.#ended && source === this.#source;
    this.#comparedAt = performance.now();
    const isHeldUp = () => performance.now() - this.#comparedAt > answer_max_ms + heldUp_ms;
    try {
      const newest = bucket && source ? await this.#newest(bucket) : 0;
      if (!isAsked() || !source) return;
      // A feed tells with a delay: asked, its controller says at once what it has.
      if (newest > source.revision) await source.refresh().catch(() => undefined);
      if (!isAsked()) return;
      if (newest > source.revision) {
        if (this.isFeed) this.#sources.distrustFeed();
        this.#replace("the store has what was not delivered");
      } else if (this.#options.hasBeat === false) this.#freshAt = this.#comparedAt;
      else this.#beatless++;
    } catch (error) {
      if (!isAsked()) return;
      this.#beatless++;
      // A process that was held up did not get to read the answer: it proves nothing.
      if (codeOf(error) === "MESHD_TIMEOUT" && !isHeldUp())
        this.#replace("the store does not answer");
      // Credentials of an earlier version may not ask: a listing tells it, too.
      else if (codeOf(error) === "MESHD_PERMISSION") {
        this.#isWhole = true;
        this.#schedule(0);
      }
    } finally {
      this.#comparing = false;
    }
  }

  /** The heartbeat key alone: as small as an answer can be. */
  async #newest(bucket: Bucket): Promise<number> {
    if (this.#options.hasBeat === false) return bucket.newest(answer_max_ms);
    return (await bucket.get(keyOf.heartbeat(), answer_max_ms))?.revision ?? 0;
  }

  /** Without the wait that a failure brings: this one is sure. */
  #replace(reason: string): void {
    this.#wasSilent = true;
    this.#dropSource(false);
    this.emit("trouble", reason);
    this.#schedule(0);
  }
}
