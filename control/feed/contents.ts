// What a reader was given of a bucket: the revision of each key, and a digest of all of them. Two
// that were given the same have the same digest, whichever way it came.

/** Spreads every bit over the whole number (the end of MurmurHash3). */
function mixed(value: number): number {
  let sum = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  sum = Math.imul(sum ^ (sum >>> 13), 0xc2b2ae35);
  return (sum ^ (sum >>> 16)) >>> 0;
}

const hex = (value: number) => (value >>> 0).toString(16).padStart(8, "0");

export class Contents {
  readonly #revisions = new Map<string, number>();
  #revision = 0;
  #high = 0;
  #low = 0;

  /** Every last value up to this revision of the store was given. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#revisions.size;
  }

  /** 16 hexadecimal digits. An accident does not repeat them; they are no proof against intent. */
  get digest(): string {
    return hex(this.#high) + hex(this.#low);
  }

  /** False when this value, or a later one of the key, was given before. */
  take(key: string, revision: number): boolean {
    const before = this.#revisions.get(key);
    if (before !== undefined && before >= revision) return false;
    if (before !== undefined) this.#toggle(key, before);
    this.#revisions.set(key, revision);
    this.#toggle(key, revision);
    return true;
  }

  /** Nothing up to this revision is missing. */
  reach(revision: number): void {
    this.#revision = Math.max(this.#revision, revision);
  }

  clear(): void {
    this.#revisions.clear();
    this.#revision = 0;
    this.#high = 0;
    this.#low = 0;
  }

  /** Adds a value to the digest, or takes it out again. */
  #toggle(key: string, revision: number): void {
    const upper = Math.floor(revision / 0x1_0000_0000);
    // FNV-1a over the key's code units, twice with other beginnings.
    let [high, low] = [0x811c9dc5, 0x2f0b4c47];
    for (let at = 0; at < key.length; at++) {
      const unit = key.charCodeAt(at);
      high = Math.imul(high ^ unit, 0x01000193);
      low = Math.imul(low ^ unit, 0x01000193);
    }
    this.#high ^= mixed(high ^ mixed(revision ^ upper));
    this.#low ^= mixed(low + mixed(revision + 0x9e3779b9 + upper));
  }
}
