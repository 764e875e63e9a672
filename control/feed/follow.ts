// Follows a controller's feed: asks any controller for what is newer than what is there, page by
// page, then takes in the batches that this controller publishes. What is lost is asked for; a
// digest of all keys and revisions proves that nothing is missing. Of no use it says so, and its
// owner has the watch.
import { Refused } from "../check.js";
import { ControlError, type ControlErrorCode } from "../errors.js";
import { type Entry, type Link, type Message, Silence } from "../nats/index.js";
import type { Contents } from "./contents.js";
import { openBatch, readStretch, type Stretch } from "./text.js";

interface Page {
  stretch: Stretch;
  entries: Entry[];
}

export interface FeedPlace {
  link: Link;
  meshId: string;
  grantKey: string;
  /** Where pages are asked for. */
  asking: string;
  /** Subject of a controller's batches. */
  subjectOf: (controllerId: string) => string;
}

export interface FeedHandlers {
  /** False once it is of no interest any more. */
  isCurrent(): boolean;
  entry(entry: Entry): void;
  /** All that the store has comes from here to `listed`; not called for what is newer alone. */
  begins(): void;
  listed(): void;
  /** Of no more use. `isSilent`: nothing came. */
  lost(reason: string, isSilent: boolean): void;
}

/** A controller publishes something every 2.5 s at least: two were missed. */
const silence_max_ms = 6_000;
/** A feed that lies behind: of a store that lost something, or of a controller that is blind. */
const behind_max_ms = 3_000;
/** One that is asked because something newer is known to be there. */
const newest_max_ms = 1_500;
/** What is lost on the way is asked for by a controller that speaks: it may be busy. */
const busy_max_ms = 8_000;

/** By so much a timer comes late in a process that was held up; it asks again so often. */
const heldUp_ms = 200;
const heldUp_tries = 5;

export class Feed {
  readonly #place: FeedPlace;
  readonly #contents: Contents;
  readonly #handlers: FeedHandlers;
  #controllerId = "";
  #unsubscribe: () => void = () => undefined;
  readonly #silence = new Silence(silence_max_ms, () => this.#lose("the feed fell silent", true));
  #hasSpoken = false;
  #behindSince: number | null = null;
  #listing = true;
  #asking = false;
  #ended = false;

  private constructor(place: FeedPlace, contents: Contents, handlers: FeedHandlers) {
    this.#place = place;
    this.#contents = contents;
    this.#handlers = handlers;
  }

  /**
   * Brings all that the store has, or what is newer than `contents` when `isWhole`, then follows.
   * Errors of requests (link.ts); MESHD_BAD_RECORD when what was answered makes no sense.
   */
  static async start(
    place: FeedPlace,
    contents: Contents,
    handlers: FeedHandlers,
    { isWhole, limit_ms }: { isWhole: boolean; limit_ms: number },
  ): Promise<Feed> {
    const feed = new Feed(place, contents, handlers);
    try {
      if (!isWhole) feed.#forget();
      if (!(await feed.#list(limit_ms))) {
        // The store is another one, or an older one: all of it, once more.
        feed.#forget();
        if (!(await feed.#list(limit_ms))) throw new Refused("pages and digest do not agree");
      }
    } catch (error) {
      feed.#end();
      if (!(error instanceof Refused)) throw error;
      throw new ControlError("MESHD_BAD_RECORD", `a feed's page is damaged: ${error.message}`);
    }
    feed.#silence.watch();
    return feed;
  }

  /** One page of what is newer; errors as above. @throws Refused */
  static async ask({ link, asking }: FeedPlace, since: number, limit_ms: number): Promise<Page> {
    for (let tries = heldUp_tries; ; tries--) {
      const began = performance.now();
      try {
        const { bytes, error } = await link.request(asking, JSON.stringify({ since }), limit_ms);
        if (error) throw refusalOf(error.error);
        return readStretch(bytes);
      } catch (error) {
        // A process that was held up had the answer, perhaps, and did not get to read it.
        const late_ms = performance.now() - began - limit_ms;
        const isTimeout = error instanceof ControlError && error.code === "MESHD_TIMEOUT";
        if (!isTimeout || late_ms < heldUp_ms || tries === 0) throw error;
      }
    }
  }

  /** Every write up to this revision was delivered. */
  get revision(): number {
    return this.#contents.revision;
  }

  /** Whether a batch came, and not answers alone. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  async stop(): Promise<void> {
    this.#end();
  }

  #forget(): void {
    this.#refuseLate();
    this.#contents.clear();
    this.#handlers.begins();
  }

  /** Two must not write down what came: the later one alone knows what was told. */
  #refuseLate(): void {
    if (!this.#ended && this.#handlers.isCurrent()) return;
    throw new ControlError("MESHD_NO_NATS", "the feed was given up meanwhile");
  }

  #end(): void {
    this.#ended = true;
    this.#silence.end();
    this.#unsubscribe();
  }

  #lose(reason: string, isSilent = false): void {
    if (this.#ended) return;
    this.#end();
    this.#handlers.lost(reason, isSilent);
  }

  /** Pages to the end; batches come before the last is asked for. False: of another store. */
  async #list(limit_ms: number): Promise<boolean> {
    for (;;) {
      const isFollowing = this.#controllerId !== "";
      const since = this.#contents.revision;
      const page = await this.#page(limit_ms);
      if (page.to < since) return false;
      if (!isFollowing) await this.#follow(page.controllerId, limit_ms);
      // A batch that came meanwhile has moved on: the digest is of before.
      const isEnd = page.digest !== null && page.to === this.#contents.revision;
      if (!isEnd || !isFollowing) continue;
      if (page.digest !== this.#contents.digest) return false;
      this.#listing = false;
      this.#handlers.listed();
      return true;
    }
  }

  async #page(limit_ms: number): Promise<Stretch> {
    const page = await Feed.ask(this.#place, this.#contents.revision, limit_ms);
    this.#refuseLate();
    this.#take(page.stretch, page.entries);
    return page.stretch;
  }

  async #follow(controllerId: string, limit_ms: number): Promise<void> {
    const { link, subjectOf } = this.#place;
    this.#controllerId = controllerId;
    const hear = (message: Message) => this.#hear(message);
    const lost = (reason: string) => this.#lose(reason);
    const subscription = link.subscribe(subjectOf(controllerId), hear, lost);
    this.#unsubscribe = () => subscription.unsubscribe();
    // From now on nothing is missed.
    await link.answers(limit_ms);
  }

  #take({ from, to }: Stretch, entries: Entry[]): void {
    if (from > this.#contents.revision) throw new Refused("it begins too late");
    for (const entry of entries) {
      if (this.#ended) return;
      if (this.#contents.take(entry.key, entry.revision)) this.#handlers.entry(entry);
    }
    this.#contents.reach(to);
  }

  #hear({ bytes, reply }: Message): void {
    // What the server delivers here of a stream, to a member that asked for it, has a reply.
    if (this.#ended || reply !== undefined || !this.#handlers.isCurrent()) return;
    try {
      const { stretch, entries } = readStretch(openBatch(this.#place, bytes));
      if (stretch.controllerId !== this.#controllerId) return;
      this.#silence.hear();
      this.#hasSpoken = true;
      this.#receive(stretch, entries);
    } catch (error) {
      // Not a controller's: it is no sign of life, and of no harm.
      if (!(error instanceof Refused)) throw error;
    }
  }

  #receive(stretch: Stretch, entries: Entry[]): void {
    const had = this.#contents.revision;
    if (stretch.from > had) {
      if (!this.#listing) void this.#fetchMissing();
      return;
    }
    if (stretch.to < had) {
      this.#checkBehind();
      return;
    }
    this.#behindSince = null;
    this.#take(stretch, entries);
    if (this.#listing || stretch.digest === null || stretch.to !== this.#contents.revision) return;
    if (stretch.digest !== this.#contents.digest) this.#lose("it has what was not delivered");
  }

  /** Asks for what is newer, whether or not batches come. Rejects as `ask`. */
  async refresh(): Promise<void> {
    while (!this.#ended) {
      const page = await this.#page(newest_max_ms);
      if (page.digest !== null) return;
    }
  }

  #checkBehind(): void {
    this.#behindSince ??= performance.now();
    if (performance.now() - this.#behindSince > behind_max_ms) this.#lose("it went backwards");
  }

  async #fetchMissing(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (!this.#ended) {
        const since = this.#contents.revision;
        const page = await this.#page(busy_max_ms);
        if (page.to < since) this.#lose("it went backwards");
        if (page.digest !== null) break;
      }
    } catch (error) {
      this.#lose(error instanceof Error ? error.message : String(error));
    } finally {
      this.#asking = false;
    }
  }
}

function refusalOf(text: string): ControlError {
  const [code = "", ...rest] = text.split(": ");
  const isOurs = /^MESHD_[A-Z_]+$/.test(code);
  if (!isOurs) return new ControlError("MESHD_INTERNAL", text);
  return new ControlError(code as ControlErrorCode, rest.join(": "));
}
