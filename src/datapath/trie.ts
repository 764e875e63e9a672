// Writes the FIB of IPv4: a trie by 16, 8, 4 and 4 bits of the address (ADR 0022). Every entry has
// the next hop of the longest prefix that covers it, so a lookup never goes back.
import {
  FIB4_CHUNK_MIN,
  FIB4_CHUNK4_SIZE,
  FIB4_CHUNK8_SIZE,
  FIB4_ROOT_SIZE,
  T_FIB4_AT,
  T_FIB4_CHUNKS,
  T_FIB4_USED,
} from "../../assembly/shared/tables.js";
import type { RouteList } from "./routes.js";

/** A level: the last bit of the address it looks at, how many it looks at, bytes of a chunk. */
interface Level {
  end: number;
  bits: number;
  size: number;
}

const LEVELS: readonly Level[] = [
  { end: 16, bits: 16, size: FIB4_ROOT_SIZE },
  { end: 24, bits: 8, size: FIB4_CHUNK8_SIZE },
  { end: 28, bits: 4, size: FIB4_CHUNK4_SIZE },
  { end: 32, bits: 4, size: FIB4_CHUNK4_SIZE },
];

/** A trie in the making; addresses are bytes, entries words. */
class Trie {
  readonly #words: Uint32Array;
  readonly #root: number;
  /** Where the next chunk goes. */
  next: number;

  constructor(words: Uint32Array, root: number, chunks: number) {
    this.#words = words;
    this.#root = root;
    this.next = chunks;
  }

  /** The chunk an entry leads to; where it is a next hop, a new one full of that. */
  #below(entry: number, { size }: Level): number {
    const value = this.#words[entry] as number;
    if (value >= FIB4_CHUNK_MIN) return value;
    const chunk = this.next;
    this.next += size;
    this.#words.fill(value, chunk / 4, (chunk + size) / 4);
    this.#words[entry] = chunk;
    return chunk;
  }

  /** Enters a prefix. Shorter ones that cover it were entered before, longer ones come after. */
  add(prefix: number, length: number, next: number): void {
    let chunk = this.#root;
    for (let index = 0; index < LEVELS.length; index++) {
      const { end, bits } = LEVELS[index] as Level;
      const entry = chunk / 4 + ((prefix >>> (32 - end)) & (2 ** bits - 1));
      if (length <= end) {
        this.#words.fill(next, entry, entry + 2 ** (end - length));
        return;
      }
      chunk = this.#below(entry, LEVELS[index + 1] as Level);
    }
  }

  /** Makes chunks of the root's next hops, one for each: the hot path need not tell them apart. */
  finish(): void {
    const made = new Map<number, number>();
    const end = this.#root / 4 + FIB4_ROOT_SIZE / 4;
    for (let entry = this.#root / 4; entry < end; entry++) {
      const value = this.#words[entry] as number;
      const chunk = made.get(value) ?? this.#below(entry, LEVELS[1] as Level);
      if (value < FIB4_CHUNK_MIN) made.set(value, chunk);
      this.#words[entry] = chunk;
    }
  }
}

/** Replaces the trie in the copy of the tables at `at`, which has room for that many routes. */
export function writeTrie(memory: Uint8Array, at: number, routes: RouteList): void {
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4);
  const word = (offset: number) => words[(at + offset) / 4] as number;
  const root = word(T_FIB4_AT);
  const chunks = word(T_FIB4_CHUNKS);
  words.fill(0, root / 4, (root + FIB4_ROOT_SIZE) / 4);
  words.fill(0, chunks / 4, (chunks + word(T_FIB4_USED)) / 4);
  const trie = new Trie(words, root, chunks);
  for (const index of routes.byLength()) {
    const [prefix, length] = [routes.words[index] as number, routes.lengths[index] as number];
    trie.add(prefix, length, routes.next[index] as number);
  }
  trie.finish();
  words[(at + T_FIB4_USED) / 4] = trie.next - chunks;
}
