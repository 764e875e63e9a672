// MPPE decryption (RFC 3078 sections 7 and 8): finds the key of a packet by its count, with a bound
// on the work, and leaves the state alone for packets that are old.
import { Drop } from "../shared/drop";
import {
  M_COUNT,
  M_FLAGS,
  M_SKIPPED,
  M_STATEFUL,
  MPPE_CHANGES_MAX,
  MPPE_COUNT_MASK,
  MPPE_COUNT_SIZE,
  MPPE_DISCARD,
  MPPE_ENCRYPTED,
  MPPE_FLUSHED,
  MPPE_FRESH,
  MPPE_NEEDS_RESET,
} from "../shared/mppe";
import * as keys from "./keys";
import * as rc4 from "./rc4";

/** A count that is further ahead than half of all is one behind (as Linux takes it). */
const AHEAD_MAX: u32 = 2048;
const FLAG_PACKET: u32 = 255;

/**
 * How many packets the one with that count is ahead of the last one taken. Where more than half of
 * all counts are known to be missing, the most that fits them.
 */
function distance(state: usize, count: u32): u32 {
  const near = (count - load<u32>(state, M_COUNT)) & MPPE_COUNT_MASK;
  const most = load<u32>(state, M_SKIPPED) + 1;
  return most <= AHEAD_MAX || most < near ? near : near + ((most - near) & ~MPPE_COUNT_MASK);
}

/** Whether a packet at that distance is old, or one that was there before. */
function isOld(state: usize, ahead: u32): bool {
  return ahead === 0 || (ahead > AHEAD_MAX && ahead > load<u32>(state, M_SKIPPED) + 1);
}

/** Packet `count` was taken, and nothing is missing before the next. */
function settle(state: usize, count: u32): void {
  store<u32>(state, count, M_COUNT);
  store<u32>(state, 0, M_SKIPPED);
  store<u32>(state, 0, M_FLAGS);
}

/**
 * Changes the key for each packet from the last one taken on, at most MPPE_CHANGES_MAX of them: a
 * packet further ahead is lost, but the keys it took are not tried again for the next.
 */
function decryptStateless(state: usize, word: u32, at: usize, length: u32): i32 {
  if ((word & MPPE_FLUSHED) === 0) return -Drop.BAD_FLAGS;
  const ahead = distance(state, word & MPPE_COUNT_MASK);
  if (isOld(state, ahead)) return -Drop.MPPE_BAD_COUNT;
  const changes = min<u32>(ahead, MPPE_CHANGES_MAX);
  const most = max<u32>(load<u32>(state, M_SKIPPED) + 1, ahead);
  const count = (load<u32>(state, M_COUNT) + changes) & MPPE_COUNT_MASK;
  for (let i: u32 = 0; i < changes; i++) keys.change(state);
  settle(state, count);
  if (ahead > changes) {
    store<u32>(state, most - changes, M_SKIPPED);
    return -Drop.MPPE_BAD_COUNT;
  }
  keys.begin(state);
  rc4.crypt(at, length);
  return 0;
}

/** The place is lost; what comes is dropped until a packet begins a new key stream. */
function lose(state: usize): i32 {
  store<u32>(state, load<u32>(state, M_FLAGS) | MPPE_DISCARD, M_FLAGS);
  store<u32>(state, load<u32>(state, M_SKIPPED) + 1, M_SKIPPED);
  return <i32>MPPE_NEEDS_RESET;
}

/**
 * Key changes of flag packets that were missed before one that is `ahead`; at most
 * MPPE_CHANGES_MAX, what is left of the way stays known as missing. Returns whether none is left.
 */
function follow(state: usize, ahead: u32): bool {
  const missed = (((load<u32>(state, M_COUNT) + 1) & FLAG_PACKET) + ahead - 1) >> 8;
  const changes = min<u32>(missed, MPPE_CHANGES_MAX);
  for (let i: u32 = 0; i < changes; i++) keys.change(state);
  if (missed === changes) return true;
  // The sender has changed its key for this packet, too. As many packets as there are changes for
  // are a multiple of all counts: the count stays.
  keys.change(state);
  store<u32>(state, load<u32>(state, M_SKIPPED) - MPPE_CHANGES_MAX * 256, M_SKIPPED);
  return false;
}

/**
 * Begins the key stream of a packet that says so: with a new key, as Linux does (the RFC changes
 * only that of a flag packet). Others than Linux say so of their first packet; it has the first
 * key.
 */
function begin(state: usize, count: u32): void {
  const isFirst = count === 0 && (load<u32>(state, M_FLAGS) & MPPE_FRESH) !== 0;
  if (!isFirst) keys.change(state);
  keys.begin(state);
}

function decryptStateful(state: usize, word: u32, at: usize, length: u32): i32 {
  const count = word & MPPE_COUNT_MASK;
  const isLost = (load<u32>(state, M_FLAGS) & MPPE_DISCARD) !== 0;
  const ahead = distance(state, count);
  if (!isLost && isOld(state, ahead)) return -Drop.MPPE_BAD_COUNT;
  const isNext = !isLost && ahead === 1;
  const isFlag = (count & FLAG_PACKET) === FLAG_PACKET;
  if ((word & MPPE_FLUSHED) !== 0 || (isNext && isFlag)) {
    if (!follow(state, ahead === 0 ? MPPE_COUNT_MASK + 1 : ahead)) return lose(state);
    begin(state, count);
  } else {
    if (!isNext) return lose(state);
    keys.takeUp(state);
  }
  settle(state, count);
  rc4.crypt(at, length);
  keys.keep(state);
  return 0;
}

/**
 * Decrypts in place what stands behind the count word at `at`; `length` counts both. Returns 0,
 * MPPE_NEEDS_RESET (drop it, and ask the peer to begin a new key stream) or -Drop.
 */
export function decrypt(state: usize, at: usize, length: u32): i32 {
  if (length <= MPPE_COUNT_SIZE) return -Drop.TOO_SHORT;
  const word: u32 = bswap<u16>(load<u16>(at));
  if ((word & MPPE_ENCRYPTED) === 0) return -Drop.BAD_FLAGS;
  const dataAt = at + MPPE_COUNT_SIZE;
  const bytes = length - MPPE_COUNT_SIZE;
  return load<u32>(state, M_STATEFUL) === 0
    ? decryptStateless(state, word, dataAt, bytes)
    : decryptStateful(state, word, dataAt, bytes);
}
