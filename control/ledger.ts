// What one reader holds of a bucket: the last good value of each key. Bad values are refused and
// reported, never applied; nothing disappears without a signed removal. Pure: no clock, no
// connection.

import { type Opened, open, type Trust } from "./envelope.js";
import { ControlError } from "./errors.js";
import type { RecordKind } from "./keys.js";
import type { Entry } from "./nats/index.js";
import { isPublicKey } from "./nats/index.js";
import type { MeshSnapshot, Refusal } from "./records.js";
import { defaultConfig } from "./settings.js";
import { type Held, isShown, Shown } from "./shown.js";
import type { RecordOfKind } from "./validate.js";

export type { Held } from "./shown.js";

export type Applied = "same" | "changed" | "refused";

const refused_max = 1_000;
export class Ledger {
  readonly #trust: Trust;
  readonly #held = new Map<string, Held>();
  /** Of the kinds that somebody asked for: most readers never ask for one. */
  readonly #byKind = new Map<RecordKind, Map<string, Held>>();
  readonly #shown = new Shown(this.#held);
  readonly #refused = new Map<string, Refusal>();
  /** Keys that were held as the listing began and did not come yet; null outside of one. */
  #missing: Set<string> | null = null;
  #revision = 0;

  constructor(trust: Trust) {
    this.#trust = trust;
  }

  /** Highest stream sequence seen. */
  get revision(): number {
    return this.#revision;
  }

  /** Takes one value of the store in. "changed" only when what the snapshot shows is another. */
  apply(entry: Entry): Applied {
    const { key, revision } = entry;
    this.#revision = Math.max(this.#revision, revision);
    this.#missing?.delete(key);
    const held = this.#held.get(key);
    if (held && !entry.deleted && held.raw === entry.value) {
      held.revision = revision;
      this.#refused.delete(key);
      return "same";
    }
    const opened = entry.deleted ? this.#deleted(held) : open(this.#trust, key, entry.value);
    if (opened === null) return "same";
    const reason = typeof opened === "string" ? opened : this.#replayed(held, opened);
    if (reason !== null || typeof opened === "string") {
      return this.#refuse({ key, revision, reason: reason ?? "refused" });
    }
    this.#refused.delete(key);
    this.#keep(heldOf(opened, key, revision), held);
    return isShown(opened.kind) ? "changed" : "same";
  }

  #deleted(held: Held | undefined): string | null {
    if (!held || held.record === null) return null;
    return "it was deleted without a signed removal; the last value stays in force";
  }

  #replayed(held: Held | undefined, opened: Opened): string | null {
    if (!held || opened.serial > held.serial) return null;
    return `its serial ${opened.serial} is not above ${held.serial}: an older value played again`;
  }

  #refuse(refusal: Refusal): Applied {
    const before = this.#refused.get(refusal.key);
    if (before?.reason === refusal.reason && before.revision === refusal.revision) return "same";
    // Keys that nobody ever wrote well may be without number; those that are held are not.
    const isBounded = before !== undefined || this.#held.has(refusal.key);
    if (!isBounded && this.#refused.size >= refused_max) return "refused";
    this.#refused.set(refusal.key, refusal);
    return "refused";
  }

  #keep(held: Held, before: Held | undefined): void {
    this.#held.set(held.key, held);
    this.#byKind.get(held.kind)?.set(held.key, held);
    this.#shown.note(held, before);
  }

  /** From here to endListing, every key's last value comes. */
  beginListing(): void {
    this.#missing = new Set(this.#held.keys());
  }

  /**
   * Keys that are held but no longer in the store are reported; they stay in force. Returns them;
   * none where no listing was begun.
   */
  endListing(): Refusal[] {
    const missing = this.#missing ?? [];
    this.#missing = null;
    const gone: Refusal[] = [];
    for (const key of missing) {
      const held = this.#held.get(key);
      if (!held || held.record === null) continue;
      const reason = "it is gone from the store without a signed removal; the last value stays";
      const refusal = { key, revision: held.revision, reason };
      if (this.#refuse(refusal) === "refused") gone.push(refusal);
    }
    return gone;
  }

  get<K extends RecordKind>(key: string): Held<K> | undefined {
    return this.#held.get(key) as Held<K> | undefined;
  }

  /** Everything held, removals included. */
  all(): Iterable<Held> {
    return this.#held.values();
  }

  /** Held values of a kind, removals included. */
  ofKind<K extends RecordKind>(kind: K): Iterable<Held<K>> {
    return this.#kind(kind).values() as Iterable<Held<K>>;
  }

  /** How many values of a kind are held, removals included. */
  count(kind: RecordKind): number {
    return this.#kind(kind).size;
  }

  #kind(kind: RecordKind): ReadonlyMap<string, Held> {
    const known = this.#byKind.get(kind);
    if (known) return known;
    const found = new Map<string, Held>();
    for (const held of this.#held.values()) if (held.kind === kind) found.set(held.key, held);
    this.#byKind.set(kind, found);
    return found;
  }

  /** Records of a kind, without removals. */
  *records<K extends RecordKind>(kind: K): Generator<RecordOfKind[K]> {
    for (const held of this.ofKind(kind)) if (held.record !== null) yield held.record;
  }

  /** True once settings are known: before, there is no whole view. */
  get complete(): boolean {
    return this.#held.has("config");
  }

  /** How many values are held, removals included. */
  get size(): number {
    return this.#held.size;
  }

  /** Whether the store's value of a key is refused now. */
  refuses(key: string): boolean {
    return this.#refused.has(key);
  }

  get refused(): Refusal[] {
    return [...this.#refused.values()];
  }

  /** The view as of now. Maps of kinds that did not change are the same objects as before. */
  snapshot(): MeshSnapshot {
    const snapshot: MeshSnapshot = {
      meshId: this.#trust.meshId,
      revision: this.#revision,
      config: this.get<"config">("config")?.record ?? { ...defaultConfig },
      ...this.#shown.maps(),
      refused: [...this.#refused.values(), ...this.#shown.refused()],
    };
    sources.set(snapshot, this);
    return snapshot;
  }

  /** Everything held, as text for a file; load() checks it all again. */
  serialize(): string {
    const { meshId, grantKey } = this.#trust;
    const entries = [...this.#held.values()].map(({ key, revision, raw }) => [key, revision, raw]);
    return JSON.stringify({ version: 1, meshId, grantKey, entries });
  }

  /**
   * Takes in what serialize wrote; false when the text is damaged or of another mesh. Bad entries
   * are refused one by one.
   */
  load(text: string): boolean {
    try {
      const saved: unknown = JSON.parse(text);
      const { meshId, entries } = saved as { meshId?: unknown; entries?: unknown };
      if (meshId !== this.#trust.meshId || !Array.isArray(entries)) return false;
      for (const entry of entries) {
        const [key, revision, value] = Array.isArray(entry) ? entry : [];
        if (typeof key !== "string" || typeof value !== "string") continue;
        if (!Number.isSafeInteger(revision)) continue;
        this.apply({ key, revision, value, deleted: false });
      }
      return true;
    } catch {
      return false;
    }
  }
}

/** Field by field: there are thousands, and a spread object takes half as much again. */
function heldOf({ kind, record, serial, signature, raw }: Opened, key: string, revision: number) {
  return { kind, record, serial, signature, raw, key, revision };
}

/** Highest serial of a kind, removals included; 0 without any. */
export function latestSerial(ledger: Ledger, kind: RecordKind): number {
  let latest = 0;
  for (const { serial } of ledger.ofKind(kind)) latest = Math.max(latest, serial);
  return latest;
}

/** Which ledger a snapshot came from: its signed values are what is kept on disk. */
const sources = new WeakMap<MeshSnapshot, Ledger>();

/**
 * Text for a file that parseSnapshot and a session's `saved` take again. Secret: no; signed: every
 * record.
 */
export function serializeSnapshot(snapshot: MeshSnapshot): string {
  const source = sources.get(snapshot);
  if (!source) throw new ControlError("MESHD_BAD_RECORD", "only a session's snapshot can be kept");
  return source.serialize();
}

/** A kept snapshot, its records checked as on every read. MESHD_BAD_RECORD when it is damaged. */
export function parseSnapshot(text: string): MeshSnapshot {
  const damaged = new ControlError("MESHD_BAD_RECORD", "the kept snapshot is damaged; remove it");
  let saved: { meshId?: unknown; grantKey?: unknown } | null;
  try {
    saved = JSON.parse(text);
  } catch {
    throw damaged;
  }
  const { meshId, grantKey } = saved ?? {};
  if (typeof meshId !== "string" || !isPublicKey(grantKey, "A")) throw damaged;
  const ledger = new Ledger({ meshId, grantKey });
  if (!ledger.load(text) || !ledger.complete) throw damaged;
  return ledger.snapshot();
}
