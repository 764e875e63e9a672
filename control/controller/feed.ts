// A controller's side of the feed: what its own watch brings of the members' bucket, gathered and
// published once for all members, and pages of it for those who begin or lost something.
import * as check from "../check.js";
import { fieldsOf } from "../check.js";
import { ControlError, type ControlLog } from "../errors.js";
import { Contents, cutRows, type Row, rowOf, sealBatch, stretchText } from "../feed/index.js";
import { keyOf } from "../keys.js";
import { Pace, type View } from "../member/index.js";
import type { Entry, Link, SigningKey } from "../nats/index.js";
import { subjectsOf } from "../subjects.js";
import { Allowance, members_max } from "./allowance.js";
import { Sparing } from "./sparing.js";

/**
 * Changes within this time go out together: the longer the more goes on, and the more members there
 * are, each of which plans anew.
 */
const gather_least_ms = 20;
const gather_most_ms = 3_000;
const gatherEach_ms = 0.5;
const pages_max = 64;
/** Pages that one member gets at once: all of a mesh of thousands, twice. Then so many a second. */
const asked_max = 512;
const asked_s = 8;
const said_ms = 10_000;
const BEAT = keyOf.heartbeat();
/** Whoever writes it how often: nothing waits for a heartbeat. */
const beat_least_ms = 1_000;
/** Members give a feed up after 6 s of silence. */
const idle_ms = 2_500;

export interface FeedOptions {
  controllerId: string;
  mesh: { name: string; meshId: string };
  signer: SigningKey;
  link: Link;
  log: ControlLog;
}

/** What the store has: rows in the order of their revisions. */
class Table {
  readonly rows = new Map<string, Row>();
  readonly contents = new Contents();

  take(entry: Entry): Row | null {
    if (!this.contents.take(entry.key, entry.revision)) return null;
    this.contents.reach(entry.revision);
    const row = rowOf(entry);
    this.rows.delete(entry.key);
    this.rows.set(entry.key, row);
    return row;
  }

  *after(revision: number): Generator<Row> {
    if (revision >= this.contents.revision) return;
    for (const row of this.rows.values()) if (row.revision > revision) yield row;
  }
}

/** Pages as they were made, until a value in them is another: many who begin ask for the same. */
class Pages {
  readonly #made = new Map<number, { to: number; page: Buffer }>();

  at(since: number): Buffer | undefined {
    return this.#made.get(since)?.page;
  }

  keep(since: number, to: number, page: Buffer): void {
    if (this.#made.size >= pages_max) this.#made.clear();
    this.#made.set(since, { to, page });
  }

  /** What stood at this revision stands there no more. */
  drop(revision: number): void {
    for (const [since, { to }] of this.#made) {
      if (since < revision && revision <= to) this.#made.delete(since);
    }
  }

  clear(): void {
    this.#made.clear();
  }
}

/** Who is no member any more is to be heard by nobody, however much else goes on. */
function isUrgent({ key, value }: Entry): boolean {
  return key.startsWith("members.") && value.includes('"state":"removed"');
}

export class FeedServer {
  readonly #options: FeedOptions;
  readonly #pace = new Pace({ least_ms: gather_least_ms, most_ms: gather_most_ms });
  #table = new Table();
  readonly #pages = new Pages();
  /** While the watch lists anew: what it brought until now. */
  #next: Table | null = null;
  /** Keys that changed since the last batch. */
  readonly #fresh = new Map<string, Row>();
  #published = 0;
  #timer: NodeJS.Timeout | null = null;
  #due = 0;
  /** The timer is there for a heartbeat alone. */
  #isForBeat = false;
  #publishedAt = Number.NEGATIVE_INFINITY;
  #idle: NodeJS.Timeout | null = null;
  /** Nothing is told of a store that may be another one by now. */
  #isReady = false;
  #ended = false;
  readonly #allowance: Allowance;
  readonly #said = new Sparing(said_ms, members_max);

  constructor(options: FeedOptions, allowance = new Allowance(asked_max, asked_s)) {
    this.#options = options;
    this.#allowance = allowance;
    options.link.on("disconnected", () => {
      this.#isReady = false;
    });
  }

  /** Before the view is attached. */
  follow(view: View): void {
    view.on("listing", () => {
      this.#next = new Table();
    });
    view.on("entry", (entry: Entry) => this.#take(entry));
    view.on("listed", () => this.#listed());
  }

  close(): void {
    this.#ended = true;
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#idle) clearTimeout(this.#idle);
    this.#isReady = false;
  }

  /**
   * What was written after the revision that a member has, as far as it fits: a page.
   * MESHD_BAD_REQUEST; MESHD_NO_CONTROLLER while this one does not know; MESHD_TOO_MANY: a page is
   * a thousand times what asks for it, and nobody who asks has to take it.
   */
  page(nodeId: string, request: unknown): Buffer {
    const since = check.whole(
      fieldsOf(request, "the request"),
      "since",
      0,
      Number.MAX_SAFE_INTEGER,
    );
    if (!this.#isReady) {
      const what = "this controller has not read the store yet; ask again in a moment";
      throw new ControlError("MESHD_NO_CONTROLLER", what);
    }
    if (!this.#allowance.take(nodeId, 1)) this.#refuse(nodeId);
    return this.#pages.at(since) ?? this.#newPage(since);
  }

  #refuse(nodeId: string): never {
    if (this.#said.isDue(nodeId)) this.#options.log("feed-refused", { nodeId });
    const what =
      `this node asked for ${asked_max} pages and more in a short time, and gets only ${asked_s} ` +
      "a second; it follows the store by a watch meanwhile";
    throw new ControlError("MESHD_TOO_MANY", what);
  }

  #newPage(since: number): Buffer {
    const { contents } = this.#table;
    const { controllerId, link } = this.#options;
    const [part = []] = cutRows(this.#table.after(since), link.payload_max);
    const last = part.at(-1)?.revision ?? 0;
    const isEnd = part.length === 0 || last === contents.revision;
    const to = isEnd ? contents.revision : last;
    const from = Math.min(since, contents.revision);
    const digest = isEnd ? contents.digest : null;
    const page = Buffer.from(stretchText({ controllerId, from, to, digest }, part));
    if (!isEnd) this.#pages.keep(since, to, page);
    return page;
  }

  #take(entry: Entry): void {
    if (this.#next) {
      this.#next.take(entry);
      return;
    }
    const before = this.#table.rows.get(entry.key);
    const row = this.#table.take(entry);
    if (row === null) return;
    if (before) this.#pages.drop(before.revision);
    this.#fresh.delete(entry.key);
    this.#fresh.set(entry.key, row);
    if (entry.key === BEAT) this.#publishBeat();
    else this.#publishSoon(isUrgent(entry));
  }

  /** What it has from now on is what this listing brought, and no more. */
  #listed(): void {
    if (this.#next) this.#table = this.#next;
    this.#next = null;
    this.#pages.clear();
    this.#isReady = true;
    this.#fresh.clear();
    for (const [key, row] of this.#table.rows) {
      if (row.revision > this.#published) this.#fresh.set(key, row);
    }
    // Who is there asks for all that it lacks; nobody needs what was before the first listing.
    if (this.#published === 0) this.#fresh.clear();
    if (this.#published === 0) this.#published = this.#table.contents.revision;
    this.#publish();
  }

  #publishSoon(isUrgentNow: boolean): void {
    const now = performance.now();
    const isSoonEnough = !isUrgentNow || this.#due <= now + gather_least_ms;
    if (this.#timer && !this.#isForBeat && isSoonEnough) return;
    const most_ms = Math.max(gather_least_ms, this.#table.rows.size * gatherEach_ms);
    const paced_ms = Math.min(this.#pace.wait_ms(now), most_ms);
    if (this.#timer) clearTimeout(this.#timer);
    this.#isForBeat = false;
    this.#publishIn(isUrgentNow ? gather_least_ms : paced_ms);
  }

  /** With what will be told anyway, or alone. */
  #publishBeat(): void {
    if (this.#timer) return;
    this.#isForBeat = true;
    const next_ms = this.#publishedAt + beat_least_ms - performance.now();
    this.#publishIn(Math.max(gather_least_ms, next_ms));
  }

  #publishIn(wait_ms: number): void {
    if (this.#ended) return;
    this.#due = performance.now() + wait_ms;
    this.#timer = setTimeout(() => this.#publish(), wait_ms);
  }

  #publish(): void {
    if (this.#ended) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#idle) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#publish(), idle_ms);
    if (!this.#isReady || !this.#options.link.connected) return;
    // A heartbeat makes no member plan anew: what comes after it need not wait for that.
    if (this.#fresh.size > (this.#fresh.has(BEAT) ? 1 : 0)) this.#pace.told(performance.now());
    const { contents } = this.#table;
    // A store that came back older: members hear of it by an end that lies behind theirs.
    let from = Math.min(this.#published, contents.revision);
    const parts = [...cutRows(this.#fresh.values(), this.#options.link.payload_max)];
    this.#fresh.clear();
    parts.forEach((part, index) => {
      const isLast = index === parts.length - 1;
      const to = isLast ? contents.revision : (part.at(-1)?.revision ?? from);
      this.#send({ from, to, digest: isLast ? contents.digest : null }, part);
      from = to;
    });
    this.#published = contents.revision;
    this.#publishedAt = performance.now();
  }

  #send(stretch: { from: number; to: number; digest: string | null }, rows: Row[]): void {
    const { controllerId, mesh, signer, link, log } = this.#options;
    const text = sealBatch(mesh.meshId, stretchText({ controllerId, ...stretch }, rows), signer);
    try {
      link.publish(subjectsOf(mesh.name).feed(controllerId), text);
    } catch (error) {
      // One value that is as long as the server takes: members miss it and have the watch.
      log("feed-not-sent", { bytes: text.length, error: String(error) });
    }
  }
}
