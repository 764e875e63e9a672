// Controllers' reads and writes: always from the stream's leader, always compare-and-set, always
// signed and checked.
import { setTimeout as sleep } from "node:timers/promises";
import { nextSerial, open, seal, type Trust } from "../envelope.js";
import { ControlError } from "../errors.js";
import { keyOf, parseKey, type RecordKind } from "../keys.js";
import type { Ledger } from "../ledger.js";
import { Bucket, type Entry, type Link, type SigningKey } from "../nats/index.js";
import { subjectsOf } from "../subjects.js";
import type { RecordOfKind } from "../validate.js";
import { isNews, refuseEcho, withThisAsk } from "./asks.js";
import type { Fault } from "./losses.js";

/** A record as read, with what a compare-and-set needs. `record` null: there is none. */
export interface Stored<K extends RecordKind> {
  key: string;
  record: RecordOfKind[K] | null;
  serial: number;
  revision: number;
  /** Requests that wrote it last: see asks.ts. */
  asks: readonly string[];
  /** As it stands in the store; null where that is no good value. */
  raw: string | null;
}

const attempts_max = 50;
/** Kinds in the bucket of secrets. */
const secretKinds = new Set<RecordKind>(["tokens", "admins", "users", "addresses"]);
/** Nobody but controllers has these: what is presented as one is a replay. */
const neverPresented = new Set<RecordKind>(["tokens", "admins", "addresses", "heartbeat"]);
/** A cluster elects a stream's new leader within 4 to 9 s (measured with 2.9.10). */
const election_max_ms = 12_000;
const again_ms = 250;
/**
 * A stream without a leader answers no question, also not later: so the first is not waited for
 * long. A server that is slow gets more time with each.
 */
const answer_least_ms = 500;
const answer_most_ms = 5_000;

/**
 * Again while the stream has no leader, or the answer was lost: a write by compare-and-set is done
 * once, however often it is asked for. Done unseen it looks as if another had been faster.
 */
async function patiently<T>(bucket: Bucket, work: (answer_ms: number) => Promise<T>): Promise<T> {
  const end = performance.now() + election_max_ms;
  for (let answer_ms = answer_least_ms; ; answer_ms *= 2) {
    try {
      return await work(Math.min(answer_ms, answer_most_ms));
    } catch (error) {
      const code = error instanceof ControlError ? error.code : "";
      const passes = code === "MESHD_NO_NATS" || code === "MESHD_TIMEOUT";
      const isOver = bucket.link.ended || performance.now() > end;
      if (!passes || isOver) throw error;
      await sleep(again_ms * (0.5 + Math.random()));
    }
  }
}

/** Both buckets, to write. All controllers have the grant key, and nobody else. */
export function bucketsOf(link: Link, mesh: string, grant: SigningKey) {
  const subjects = subjectsOf(mesh);
  const made = (name: string) => new Bucket(link, name, grant.getSeed());
  return { mesh: made(subjects.bucket), secrets: made(subjects.secrets) };
}

type Decide<K extends RecordKind> = (
  record: RecordOfKind[K] | null,
) => RecordOfKind[K] | null | undefined;

export class Store {
  readonly #buckets: { mesh: Bucket; secrets: Bucket };
  readonly #signer: SigningKey;
  readonly #turns = new Map<string, Promise<void>>();
  constructor(
    readonly trust: Trust,
    signer: SigningKey,
    /** Views of both buckets; a write is taken in at once. */
    readonly ledgers: { mesh: Ledger; secrets: Ledger },
    buckets: { mesh: Bucket; secrets: Bucket },
  ) {
    this.#signer = signer;
    this.#buckets = buckets;
  }

  #place(key: string): "mesh" | "secrets" {
    const kind = parseKey(key)?.kind;
    return kind !== undefined && secretKinds.has(kind) ? "secrets" : "mesh";
  }

  /**
   * What the store has now. A value that somebody spoiled is answered with the last good one we
   * saw, under the spoiled one's revision, so that the next write mends it; MESHD_BAD_RECORD when
   * we never saw a good one.
   */
  async read<K extends RecordKind>(key: string): Promise<Stored<K>> {
    const place = this.#place(key);
    const bucket = this.#buckets[place];
    const entry = await patiently(bucket, (answer_ms) => bucket.get(key, answer_ms));
    const held = this.ledgers[place].get<K>(key);
    const revision = entry?.revision ?? 0;
    const asks = entry?.asks ?? [];
    const last = { record: held?.record ?? null, serial: held?.serial ?? 0, raw: null };
    const good = { key, ...last, revision, asks };
    if (!entry || entry.deleted) return good;
    const opened = open(this.trust, key, entry.value);
    if (typeof opened === "string") {
      if (held) return good;
      const what = `the record ${key} is damaged (${opened}); restore it from a backup`;
      throw new ControlError("MESHD_BAD_RECORD", what);
    }
    if (held && opened.serial < held.serial) return good;
    this.ledgers[place].apply(entry);
    return {
      key,
      record: opened.record as RecordOfKind[K] | null,
      serial: opened.serial,
      revision,
      asks,
      raw: entry.value,
    };
  }

  /**
   * Writes over what was read; false when another was faster. `record` null is a signed removal.
   */
  async write<K extends RecordKind>(
    before: Stored<K>,
    record: RecordOfKind[K] | null,
  ): Promise<boolean> {
    const { key, serial, revision, asks } = before;
    const place = this.#place(key);
    const value = seal(this.trust.meshId, key, record, nextSerial(serial), this.#signer);
    const written = await patiently(this.#buckets[place], () =>
      this.#buckets[place].put(key, value, revision, withThisAsk(asks)),
    );
    if (written === null) return false;
    this.ledgers[place].apply({ key, revision: written, value, deleted: false });
    return true;
  }

  /**
   * Reads, lets `decide` say what to write, writes; again when another was faster. `decide` may
   * throw to refuse, or return undefined to leave the record as it is. Returns what the store has
   * then.
   */
  change<K extends RecordKind>(key: string, decide: Decide<K>): Promise<RecordOfKind[K] | null> {
    return this.#change(key, decide, false);
  }

  /** As `change`, but for the echo of a request, late: it undoes nothing. MESHD_CONFLICT. */
  changeOnce<K extends RecordKind>(
    key: string,
    decide: Decide<K>,
  ): Promise<RecordOfKind[K] | null> {
    return this.#change(key, decide, true);
  }

  #change<K extends RecordKind>(
    key: string,
    decide: Decide<K>,
    once: boolean,
  ): Promise<RecordOfKind[K] | null> {
    // Changes of one key take turns in this controller: only other controllers are left to race
    // with.
    const turn = this.#turns.get(key) ?? Promise.resolve();
    const work = turn.then(() => this.#changeInTurn(key, decide, once));
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    this.#turns.set(key, settled);
    void settled.then(() => {
      if (this.#turns.get(key) === settled) this.#turns.delete(key);
    });
    return work;
  }

  async #changeInTurn<K extends RecordKind>(
    key: string,
    decide: Decide<K>,
    once: boolean,
  ): Promise<RecordOfKind[K] | null> {
    for (let attempt = 0; attempt < attempts_max; attempt++) {
      const before = await this.read<K>(key);
      if (once) refuseEcho(key, before.asks);
      const record = decide(before.record);
      if (record !== undefined) {
        if (await this.write(before, record)) return record;
      } else if (!once || (await this.#note(before))) return before.record;
      await sleep(Math.random() * Math.min(attempt * 5, 100));
    }
    throw new ControlError("MESHD_CONFLICT", `${key} changes all the time; try again`);
  }

  /**
   * The request left the record as it is, which its echo must know, too: the same value once more,
   * with its id. False when another was faster.
   */
  async #note<K extends RecordKind>({ key, raw, revision, asks }: Stored<K>): Promise<boolean> {
    if (raw === null || !isNews(asks)) return true;
    const place = this.#place(key);
    const written = await patiently(this.#buckets[place], () =>
      this.#buckets[place].put(key, raw, revision, withThisAsk(asks)),
    );
    if (written === null) return false;
    this.ledgers[place].apply({ key, revision: written, value: raw, deleted: false });
    return true;
  }

  /** The heartbeat: when another controller was faster, its own does as well. */
  async beat(record: RecordOfKind["heartbeat"]): Promise<void> {
    await this.write(await this.read<"heartbeat">(keyOf.heartbeat()), record);
  }

  /**
   * Puts the last good value of a key back where the store has none, an older or a spoiled one;
   * says which. null: the store has what we have or better, or we have nothing.
   */
  async mend(key: string): Promise<Fault | null> {
    const place = this.#place(key);
    const held = this.ledgers[place].get(key);
    if (!held || parseKey(key)?.writer !== null) return null;
    const entry = await this.#buckets[place].get(key);
    const fault = this.#faultOf(entry, held.serial);
    if (fault === null) return null;
    const written = await this.#buckets[place].put(key, held.raw, entry?.revision ?? 0);
    // Another controller mended it, or wrote something newer.
    if (written === null) return null;
    this.ledgers[place].apply({ key, revision: written, value: held.raw, deleted: false });
    return fault;
  }

  /** What is wrong with a key by the word of the store's leader; null: nothing. */
  async fault(key: string): Promise<Fault | null> {
    const place = this.#place(key);
    const held = this.ledgers[place].get(key);
    if (!held) return null;
    const bucket = this.#buckets[place];
    return this.#faultOf(
      await patiently(bucket, (answer_ms) => bucket.get(key, answer_ms)),
      held.serial,
    );
  }

  #faultOf(entry: Entry | null, serial: number): Fault | null {
    if (entry === null) return "missing";
    const opened = entry.deleted ? "deleted" : open(this.trust, entry.key, entry.value);
    if (typeof opened === "string") return "spoiled";
    return opened.serial < serial ? "older" : null;
  }

  /**
   * Takes a signed record that a member held when the store lost it, or has an older one; says
   * which. null when nothing was written.
   */
  async adopt(key: string, value: string): Promise<Fault | null> {
    const place = parseKey(key);
    const opened = open(this.trust, key, value);
    if (typeof opened === "string" || place?.writer !== null) return null;
    if (neverPresented.has(opened.kind)) return null;
    const bucket = this.#place(key);
    // What we have seen as new, and in the store, needs no look there: old records may come by the
    // thousand from one who wants to load the stream's leader.
    const ledger = this.ledgers[bucket];
    if (opened.serial <= (ledger.get(key)?.serial ?? 0) && !ledger.refuses(key)) return null;
    const before = await this.read(key);
    if (opened.serial <= before.serial) return null;
    const revision = await this.#buckets[bucket].put(key, value, before.revision);
    if (revision === null) return null;
    this.ledgers[bucket].apply({ key, revision, value, deleted: false });
    return before.serial === 0 ? "missing" : "older";
  }

  /** A record's signed text as stored, for a node to keep. */
  grant(key: string): { key: string; value: string } | null {
    const held = this.ledgers.mesh.get(key);
    return held?.record ? { key, value: held.raw } : null;
  }
}
