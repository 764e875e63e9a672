// Where a view comes from: a controller's feed, which costs the servers one message for all
// members, or else a watch of its own, which goes on where the feed ended.
import { ControlError, type ControlErrorCode } from "../errors.js";
import { Contents, Feed, type FeedPlace } from "../feed/index.js";
import type { Membership } from "../membership.js";
import { type Bucket, type Entry, Watch } from "../nats/index.js";
import { subjectsOf } from "../subjects.js";

export interface Source {
  /** Every write up to this revision was delivered. */
  readonly revision: number;
  /** What it has not told yet, if it keeps anything back. */
  refresh(): Promise<void>;
  /** `remove`: what the server keeps for it is taken away, too. */
  stop(remove: boolean): Promise<void>;
}

export interface SourceHandlers {
  /** False once another source was begun: nothing is to come of this one any more. */
  isCurrent(): boolean;
  /** All that the store has comes from here to `listed`; not called for what is newer alone. */
  begins(): void;
  entry(entry: Entry): void;
  /** `byFeed`: as far as a controller knows, which may itself have heard nothing for a while. */
  listed(byFeed: boolean): void;
  lost(reason: string, isSilent: boolean): void;
}

/** Those of one source, which does not say of which kind it is. */
type Noting = Omit<SourceHandlers, "listed"> & { listed(): void };

export interface SourceOptions {
  consumer: string;
  /** How a feed is found; absent: there is the watch alone. */
  feed?: Omit<FeedPlace, "link">;
  trouble: (reason: string) => void;
}

/** Where a member finds the feeds of its mesh's controllers. */
export function feedOf({ mesh, meshId, grantKey, nodeId }: Membership): SourceOptions["feed"] & {} {
  const subjects = subjectsOf(mesh);
  return { meshId, grantKey, asking: subjects.member(nodeId, "feed"), subjectOf: subjects.feed };
}

/** An answer of a controller: soon when there is little to tell, and it may be dead. */
const newer_max_ms = 1_500;
/** To list everything by a watch costs the servers far more than to wait for a busy controller. */
const whole_max_ms = [4_000, 8_000, 8_000];
/** After a feed that was of no use the watch is kept for so long, and half as long again. */
const pause_ms = 20_000;
/** When controllers or credentials are of a version without feeds. */
const pauseOld_ms = 600_000;
const old: ReadonlySet<ControlErrorCode> = new Set(["MESHD_PERMISSION", "MESHD_BAD_REQUEST"]);
/**
 * A server that comes back has its members back before its controller. To list everything by a
 * watch costs it so much for each value: where there are many, the controller is waited for.
 */
const patience_ms = 2;
const patience_max_ms = 8_000;

export const codeOf = (error: unknown) => (error instanceof ControlError ? error.code : null);

export class Sources {
  readonly #options: SourceOptions;
  readonly #contents = new Contents();
  /** What was given is all that the store had at its revision. */
  #isWhole = false;
  /** No other connection since: the store cannot be another one unseen. */
  #isSameLink = false;
  #feedFrom = 0;
  #patientUntil = 0;
  #current: Source | null = null;

  constructor(options: SourceOptions) {
    this.#options = options;
  }

  /** Whether what comes, comes by a feed. */
  get isFeed(): boolean {
    return this.#current instanceof Feed;
  }

  /** Another connection, or the same one again. `held`: how much a listing would bring. */
  linked(held: number): void {
    this.#isSameLink = false;
    this.#feedFrom = 0;
    const wait_ms = Math.min(Math.max(held, this.#contents.size) * patience_ms, patience_max_ms);
    this.#patientUntil = performance.now() + wait_ms;
  }

  /** The feed did not bring what the store has: the watch, for a while. */
  distrustFeed(): void {
    this.#pauseFeed(pause_ms);
  }

  /** When a feed is to be tried instead of the watch; Infinity when there is one, or never. */
  get feedDue(): number {
    const isWanted = this.#options.feed !== undefined && this.#current instanceof Watch;
    return isWanted ? this.#feedFrom : Number.POSITIVE_INFINITY;
  }

  /**
   * Whether a controller answers that has all that is here, at least; asked before a working watch
   * is given up. One that has less is blind, and would be given up again.
   */
  async hasFeed(bucket: Bucket): Promise<boolean> {
    const { feed } = this.#options;
    if (feed === undefined) return false;
    try {
      const since = this.#contents.revision;
      const { stretch } = await Feed.ask({ ...feed, link: bucket.link }, since, newer_max_ms);
      if (stretch.to < since) this.#pauseFeed(pause_ms);
      else this.#feedFrom = 0;
      return stretch.to >= since;
    } catch (error) {
      this.#pauseAfter(error);
      return false;
    }
  }

  /**
   * Begins one, by feed where that is possible. `isWhole`: a watch is to list everything. Throws
   * what the watch throws, or the feed while it is worth waiting for.
   */
  async start(
    bucket: Bucket,
    handlers: SourceHandlers,
    limits: { timeout_ms: number; isWhole: boolean },
  ): Promise<Source> {
    this.#current = null;
    const isFeedDue = performance.now() >= this.#feedFrom;
    const feed = isFeedDue ? await this.#feed(bucket, this.#noting(handlers, true)) : null;
    const source = feed ?? (await this.#watch(bucket, this.#noting(handlers, false), limits));
    if (handlers.isCurrent()) this.#current = source;
    return source;
  }

  async #feed(bucket: Bucket, handlers: Noting): Promise<Feed | null> {
    const { feed, trouble } = this.#options;
    if (feed === undefined) return null;
    const place = { ...feed, link: bucket.link };
    let waits = this.#isWhole ? [newer_max_ms] : [...whole_max_ms];
    for (;;) {
      const wasWhole = this.#isWhole;
      const limits = { isWhole: wasWhole, limit_ms: waits.shift() ?? newer_max_ms };
      try {
        return await Feed.start(place, this.#contents, handlers, limits);
      } catch (error) {
        if (!handlers.isCurrent()) throw error;
        // It was another store, and everything is listed: that takes longer.
        if (wasWhole && !this.#isWhole) waits = [...whole_max_ms];
        if (waits.length > 0 && codeOf(error) === "MESHD_TIMEOUT") {
          // A controller may be busy for long; a connection over which nothing comes is not.
          if (await bucket.link.answers(newer_max_ms)) continue;
          throw new ControlError("MESHD_NO_NATS", "the server does not answer");
        }
        const isAway = codeOf(error) === "MESHD_NO_CONTROLLER";
        if (isAway && performance.now() < this.#patientUntil) throw error;
        this.#pauseAfter(error);
        trouble(`no feed: ${error instanceof Error ? error.message : String(error)}`);
        return null;
      }
    }
  }

  async #watch(
    bucket: Bucket,
    handlers: Noting,
    { timeout_ms, isWhole }: { timeout_ms: number; isWhole: boolean },
  ): Promise<Watch> {
    const isNewer = this.#isWhole && this.#isSameLink && !isWhole && this.#options.feed;
    const since = isNewer ? this.#contents.revision : 0;
    if (since === 0 && handlers.isCurrent()) {
      this.#contents.clear();
      handlers.begins();
    }
    const entry = (one: Entry) => {
      if (!handlers.isCurrent()) return;
      this.#contents.take(one.key, one.revision);
      this.#contents.reach(one.revision);
      handlers.entry(one);
    };
    const noting = { ...handlers, entry };
    return Watch.start(bucket, this.#options.consumer, noting, { timeout_ms, since });
  }

  /** `byFeed`: what comes, comes by a feed. */
  #noting(handlers: SourceHandlers, byFeed: boolean): Noting {
    return {
      ...handlers,
      begins: () => {
        this.#isWhole = false;
        handlers.begins();
      },
      listed: () => {
        if (!handlers.isCurrent()) return;
        this.#isWhole = true;
        this.#isSameLink = true;
        handlers.listed(byFeed);
      },
      lost: (reason, isSilent) => {
        // Answers come and batches do not: another try would end in the same way.
        const isMute = this.#current instanceof Feed && !this.#current.hasSpoken;
        if (isSilent && isMute) this.distrustFeed();
        handlers.lost(reason, isSilent);
      },
    };
  }

  #pauseAfter(error: unknown): void {
    const code = codeOf(error);
    this.#pauseFeed(code !== null && old.has(code) ? pauseOld_ms : pause_ms);
  }

  /** Not all members come back at the same moment. */
  #pauseFeed(least_ms: number): void {
    this.#feedFrom = performance.now() + least_ms * (1 + Math.random());
  }
}
