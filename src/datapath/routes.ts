// Prefixes and where each leads, in columns: 65,536 objects of each family would keep the control
// thread, and its probes, waiting.
import { mixPrefix } from "./hash.js";

/** Prefixes of one family, each once. */
export class RouteList {
  /** Words of an address: 1 or 4. */
  readonly width: number;
  /** `width` words for each route, most significant first. */
  readonly words: Uint32Array;
  readonly lengths: Uint8Array;
  /** NEXT_LOCAL or NEXT_PEER + peer index. */
  readonly next: Uint32Array;
  count = 0;
  /** Open addressing: an index + 1, or 0. */
  readonly #slots: Uint32Array;

  constructor(width: 1 | 4, capacity: number) {
    this.width = width;
    this.words = new Uint32Array(width * capacity);
    this.lengths = new Uint8Array(capacity);
    this.next = new Uint32Array(capacity);
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(2 * capacity + 2)));
  }

  /** Enters a prefix; false: it leads elsewhere already. */
  add(words: ArrayLike<number>, length: number, next: number): boolean {
    const mask = this.#slots.length - 1;
    let slot = mixPrefix(words, this.width, length) & mask;
    for (let known = this.#slots[slot] ?? 0; known !== 0; known = this.#slots[slot] ?? 0) {
      if (this.#isAt(known - 1, words, length)) return this.next[known - 1] === next;
      slot = (slot + 1) & mask;
    }
    const index = this.count++;
    this.#slots[slot] = index + 1;
    for (let at = 0; at < this.width; at++) {
      this.words[index * this.width + at] = words[at] ?? 0;
    }
    this.lengths[index] = length;
    this.next[index] = next;
    return true;
  }

  #isAt(index: number, words: ArrayLike<number>, length: number): boolean {
    if (this.lengths[index] !== length) return false;
    for (let at = 0; at < this.width; at++) {
      if (this.words[index * this.width + at] !== words[at]) return false;
    }
    return true;
  }

  /** Indexes of all routes, those of shorter prefixes first. */
  byLength(): Uint32Array {
    const begins = new Uint32Array(130);
    for (let index = 0; index < this.count; index++) {
      const after = (this.lengths[index] as number) + 1;
      begins[after] = (begins[after] as number) + 1;
    }
    for (let length = 1; length < begins.length; length++) {
      begins[length] = (begins[length] as number) + (begins[length - 1] as number);
    }
    const order = new Uint32Array(this.count);
    for (let index = 0; index < this.count; index++) {
      const length = this.lengths[index] as number;
      const at = begins[length] as number;
      order[at] = index;
      begins[length] = at + 1;
    }
    return order;
  }
}
