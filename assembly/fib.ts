// The FIB. IPv4: a trie of up to four steps, no loop (ADR 0022). IPv6: longest prefix first, one
// hash table whose key is (prefix, length); only the lengths that occur are tried (ADR 0010).

import { W_TABLES } from "./shared/layout";
import {
  FIB_LENGTH_UNIT,
  FIB4_CHUNK_MIN,
  FIB6_PREFIX,
  FIB6_SLOT_SIZE,
  FIB6_VALUE,
  NEXT_NONE,
  T_FIB4_AT,
  T_FIB6_AT,
  T_FIB6_COUNT,
  T_FIB6_LENGTHS,
  T_FIB6_MASK,
} from "./shared/tables";
import { worker } from "./worker";

const NEXT_MASK: u32 = FIB_LENGTH_UNIT - 1;
// Odd multipliers with evenly spread bits; src/datapath/hash.ts has the same functions.
const SPREAD: u32 = 0x9e3779b1;
const MIX_A: u32 = 0x85ebca6b;
const MIX_B: u32 = 0xc2b2ae35;

/**
 * Root of the IPv4 trie in the copy of the tables that this run works with. A global of the
 * instance, not a word of the worker's state: that is one load less for each lookup.
 */
let liveRoot4: usize = 0;

/** From here on lookups of IPv4 go by the copy of the tables at `tables`. */
export function use(tables: usize): void {
  liveRoot4 = load<u32>(tables, T_FIB4_AT);
}

function mix(value: u32): u32 {
  value = (value ^ (value >> 16)) * MIX_A;
  value = (value ^ (value >> 13)) * MIX_B;
  return value ^ (value >> 16);
}

/**
 * Goes down the trie by the bytes of an address, the last one where it stands. An entry that is no
 * next hop is the address of a chunk, and the root has chunks only. Single bytes are loaded, not
 * cut out of a word, and an index is scaled by itself: V8 joins that with the sum.
 */
function walk(root: usize, first: usize, second: usize, third: usize, lastAt: usize): u32 {
  let entry = load<u32>(root + (first << 10) + (second << 2));
  entry = load<u32>(<usize>entry + (third << 2));
  if (entry < FIB4_CHUNK_MIN) return entry;
  const last: usize = load<u8>(lastAt);
  entry = load<u32>(<usize>entry + ((last >> 2) & 0x3c));
  if (entry < FIB4_CHUNK_MIN) return entry;
  return load<u32>(<usize>entry + ((last << 2) & 0x3c));
}

/** Where lookups of IPv4 begin: read once for both addresses of a packet. */
export function root4(): usize {
  return liveRoot4;
}

/**
 * Next hop of the IPv4 address that stands at `addressAt` in network order: NEXT_NONE, NEXT_LOCAL
 * or NEXT_PEER + peer index. `root` is `root4`'s.
 */
export function lookup4(root: usize, addressAt: usize): u32 {
  const first = load<u8>(addressAt);
  const second = load<u8>(addressAt, 1);
  const third = load<u8>(addressAt, 2);
  return walk(root, first, second, third, addressAt + 3);
}

/** As `lookup4`, of the address behind the one at `addressAt`: its own place costs no sum. */
export function lookupNext4(root: usize, addressAt: usize): u32 {
  const first = load<u8>(addressAt, 4);
  const second = load<u8>(addressAt, 5);
  const third = load<u8>(addressAt, 6);
  return walk(root, first, second, third, addressAt + 7);
}

function hash6(high: u64, low: u64, length: u32): u32 {
  let hash = mix(<u32>(high >> 32) ^ (length * SPREAD));
  hash = mix(<u32>high ^ hash);
  // Node prefixes seldom differ below bit 64: one word more is mixed only where it can.
  return low === 0 ? hash : mix(<u32>low ^ mix(<u32>(low >> 32) ^ hash));
}

function probe6(slots: usize, mask: u32, high: u64, low: u64, length: u32): u32 {
  let index = hash6(high, low, length) & mask;
  for (let i: u32 = 0; i <= mask; i++) {
    const at = slots + <usize>index * FIB6_SLOT_SIZE;
    const value = load<u32>(at, FIB6_VALUE);
    if (value === 0) return NEXT_NONE;
    const same = load<u64>(at, FIB6_PREFIX) === high && load<u64>(at, FIB6_PREFIX + 8) === low;
    if (same && value / FIB_LENGTH_UNIT === length) return value & NEXT_MASK;
    index = (index + 1) & mask;
  }
  return NEXT_NONE;
}

/** Ones in the first `length` of 64 bits, 0 to 64. */
function mask64(length: u32): u64 {
  return length === 0 ? 0 : u64.MAX_VALUE << (64 - length);
}

/** Next hop of the IPv6 address that stands at `addressAt` in network order; as `lookup4`. */
export function lookup6(addressAt: usize): u32 {
  const tables: usize = load<u32>(worker, W_TABLES);
  const count = load<u32>(tables, T_FIB6_COUNT);
  const slots: usize = load<u32>(tables, T_FIB6_AT);
  const mask = load<u32>(tables, T_FIB6_MASK);
  const high = bswap<u64>(load<u64>(addressAt));
  const low = bswap<u64>(load<u64>(addressAt, 8));
  for (let i: u32 = 0; i < count; i++) {
    const length: u32 = load<u8>(tables + i, T_FIB6_LENGTHS);
    const first = high & mask64(min<u32>(length, 64));
    const second = length > 64 ? low & mask64(length - 64) : 0;
    const next = probe6(slots, mask, first, second, length);
    if (next !== NEXT_NONE) return next;
  }
  return NEXT_NONE;
}
