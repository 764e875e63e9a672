// RC4 with its table at a constant address (elsewhere it is a third slower). Broken by today's
// standards: here because MPPE (RFC 3078) is built on it.
//
// What limits RC4 is that an entry is read right after another one was written, and the processor
// waits to know whether they are the same. So four entries are read before any of them is used;
// where a swap has met one of the next, which is rare, they are read again (ADR 0033).
import { C_KEY_SCRATCH, CONTROL } from "../shared/layout";

/** The table as the key schedule sees it: 256 entries. */
const PLAIN: usize = CONTROL + C_KEY_SCRATCH + 63;
/** The same one for the key stream, which begins with entry 1: entry 0 is the last one here. */
const TABLE: usize = PLAIN + 1;
/** u32 each: the next entry, and the sum of entries so far, both less one. */
const I: usize = TABLE + 256;
const J: usize = I + 4;
export const RC4_END: usize = J + 4;

const TURN: u32 = 8;

/** Puts `a` where the sum leads in the key schedule's table; returns what was there. */
function exchangePlain(j: u32, a: u32): u32 {
  const at = j & 255;
  const b: u32 = load<u8>(at, PLAIN);
  store<u8>(at, a, PLAIN);
  return b;
}

/** The table before the key schedule: each entry its own index. */
function fill(): void {
  let indices = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (let at = PLAIN; at < PLAIN + 256; at += 16) {
    v128.store(at, indices);
    indices = i8x16.add(indices, i8x16.splat(16));
  }
}

/** Four steps of the key schedule from entry `i` on. Returns the new sum. */
function mix(i: u32, sum: u32, key: usize): u32 {
  const a1: u32 = load<u8>(i, PLAIN);
  let a2: u32 = load<u8>(i, PLAIN + 1);
  let a3: u32 = load<u8>(i, PLAIN + 2);
  let a4: u32 = load<u8>(i, PLAIN + 3);
  let j = sum + a1 + load<u8>(key);
  store<u8>(i, exchangePlain(j, a1), PLAIN);
  if (((j - i - 1) & 255) < 3) {
    a2 = load<u8>(i, PLAIN + 1);
    a3 = load<u8>(i, PLAIN + 2);
    a4 = load<u8>(i, PLAIN + 3);
  }
  j += a2 + load<u8>(key, 1);
  store<u8>(i, exchangePlain(j, a2), PLAIN + 1);
  if (((j - i - 2) & 255) < 2) {
    a3 = load<u8>(i, PLAIN + 2);
    a4 = load<u8>(i, PLAIN + 3);
  }
  j += a3 + load<u8>(key, 2);
  store<u8>(i, exchangePlain(j, a3), PLAIN + 2);
  if (((j - i) & 255) === 3) a4 = load<u8>(i, PLAIN + 3);
  j += a4 + load<u8>(key, 3);
  store<u8>(i, exchangePlain(j, a4), PLAIN + 3);
  return j;
}

/** Key schedule for the `length` bytes at `key`, 8 or 16; the key stream begins. */
export function schedule(key: usize, length: u32): void {
  fill();
  let j: u32 = 0;
  for (let i: u32 = 0; i < 256; i += 4) j = mix(i, j, key + (i & (length - 1)));
  store<u8>(TABLE, load<u8>(PLAIN), 255);
  store<u32>(I, 0);
  store<u32>(J, -1);
}

/** Puts `a` where the sum leads; returns what was there. */
function exchange(j: u32, a: u32): u32 {
  const at = j & 255;
  const b: u32 = load<u8>(at, TABLE);
  store<u8>(at, a, TABLE);
  return b;
}

/** Where in the table the byte of the key stream is that two exchanged entries lead to. */
function streamAt(a: u32, b: u32): usize {
  return (a + b - 1) & 255;
}

/** The next bytes of the key stream, one by one, over those at `at`. */
function cryptFew(at: usize, length: u32): void {
  const end = at + length;
  let i = load<u32>(I);
  let j = load<u32>(J);
  for (; at < end; at++) {
    const a: u32 = load<u8>(i, TABLE);
    j += a;
    const b = exchange(j, a);
    store<u8>(i, b, TABLE);
    store<u8>(at, load<u8>(at) ^ load<u8>(streamAt(a, b), TABLE));
    i = (i + 1) & 255;
  }
  store<u32>(I, i);
  store<u32>(J, j);
}

/**
 * The same for whole turns of eight bytes up to `end`, from an entry on that begins a turn. One
 * loop: as a function of its own a turn would cost a call.
 */
function cryptTurns(at: usize, end: usize): void {
  let i = load<u32>(I);
  let j = load<u32>(J);
  for (; at < end; at += TURN) {
    const a1: u32 = load<u8>(i, TABLE);
    let a2: u32 = load<u8>(i, TABLE + 1);
    let a3: u32 = load<u8>(i, TABLE + 2);
    let a4: u32 = load<u8>(i, TABLE + 3);
    j += a1;
    const b1 = exchange(j, a1);
    store<u8>(i, b1, TABLE);
    if (((j - i - 1) & 255) < 3) {
      a2 = load<u8>(i, TABLE + 1);
      a3 = load<u8>(i, TABLE + 2);
      a4 = load<u8>(i, TABLE + 3);
    }
    let k = v128.load_splat<u8>(streamAt(a1, b1), TABLE);
    j += a2;
    const b2 = exchange(j, a2);
    store<u8>(i, b2, TABLE + 1);
    if (((j - i - 2) & 255) < 2) {
      a3 = load<u8>(i, TABLE + 2);
      a4 = load<u8>(i, TABLE + 3);
    }
    k = v128.load_lane<u8>(streamAt(a2, b2), k, 1, TABLE);
    j += a3;
    const b3 = exchange(j, a3);
    store<u8>(i, b3, TABLE + 2);
    if (((j - i) & 255) === 3) a4 = load<u8>(i, TABLE + 3);
    k = v128.load_lane<u8>(streamAt(a3, b3), k, 2, TABLE);
    j += a4;
    const b4 = exchange(j, a4);
    store<u8>(i, b4, TABLE + 3);
    k = v128.load_lane<u8>(streamAt(a4, b4), k, 3, TABLE);
    const a5: u32 = load<u8>(i, TABLE + 4);
    let a6: u32 = load<u8>(i, TABLE + 5);
    let a7: u32 = load<u8>(i, TABLE + 6);
    let a8: u32 = load<u8>(i, TABLE + 7);
    j += a5;
    const b5 = exchange(j, a5);
    store<u8>(i, b5, TABLE + 4);
    if (((j - i - 5) & 255) < 3) {
      a6 = load<u8>(i, TABLE + 5);
      a7 = load<u8>(i, TABLE + 6);
      a8 = load<u8>(i, TABLE + 7);
    }
    k = v128.load_lane<u8>(streamAt(a5, b5), k, 4, TABLE);
    j += a6;
    const b6 = exchange(j, a6);
    store<u8>(i, b6, TABLE + 5);
    if (((j - i - 6) & 255) < 2) {
      a7 = load<u8>(i, TABLE + 6);
      a8 = load<u8>(i, TABLE + 7);
    }
    k = v128.load_lane<u8>(streamAt(a6, b6), k, 5, TABLE);
    j += a7;
    const b7 = exchange(j, a7);
    store<u8>(i, b7, TABLE + 6);
    if (((j - i) & 255) === 7) a8 = load<u8>(i, TABLE + 7);
    k = v128.load_lane<u8>(streamAt(a7, b7), k, 6, TABLE);
    j += a8;
    const b8 = exchange(j, a8);
    store<u8>(i, b8, TABLE + 7);
    k = v128.load_lane<u8>(streamAt(a8, b8), k, 7, TABLE);
    store<u64>(at, load<u64>(at) ^ i64x2.extract_lane(k, 0));
    i = (i + TURN) & 255;
  }
  store<u32>(I, i);
  store<u32>(J, j);
}

/** Encrypts or decrypts `length` bytes in place with the next bytes of the key stream. */
export function crypt(at: usize, length: u32): void {
  const before = min<u32>((TURN - load<u32>(I)) & (TURN - 1), length);
  if (before !== 0) cryptFew(at, before);
  const behind = (length - before) & (TURN - 1);
  cryptTurns(at + before, at + length - behind);
  if (behind !== 0) cryptFew(at + length - behind, behind);
}

/** Puts the stream's table and place where they outlast other streams. */
export function keep(to: usize): void {
  memory.copy(to, I, 8);
  memory.copy(to + 8, TABLE, 256);
}

/** Takes up a stream that was kept. */
export function takeUp(from: usize): void {
  memory.copy(I, from, 8);
  memory.copy(TABLE, from + 8, 256);
}
