// SHA-1 (RFC 3174) of the one message that MPPE's key change has (RFC 3079 section 3.4): start key,
// 40 zeros, session key, 40 times F2. Two blocks, whose words are at hand as vectors: nothing is
// copied together. The words of a block are expanded four at a time.
import { C_KEY_SCRATCH, CONTROL } from "../shared/layout";

/** The 80 words of a block, with their rounds' constants. */
const WORDS: usize = CONTROL + C_KEY_SCRATCH + 1024;
export const SHA1_BEGIN: usize = WORDS;
/** Five words. */
const DIGEST: usize = WORDS + 320;
export const SHA1_END: usize = DIGEST + 20;

// Constants of the rounds: RFC 3174 section 5.
const K0: i32 = 0x5a827999;
const K1: i32 = 0x6ed9eba1;
const K2: i32 = 0x8f1bbcdc;
const K3: i32 = 0xca62c1d6;

/** Words of a message from its bytes, or back. */
function swap(bytes: v128): v128 {
  return v128.shuffle<u8>(bytes, bytes, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
}

function rotate(words: v128, bits: i32): v128 {
  return v128.or(i32x4.shl(words, bits), i32x4.shr_u(words, 32 - bits));
}

/**
 * The four words after w3: each is made of the words 3, 8, 14 and 16 before it, so the last one
 * needs the first one.
 */
function next(w0: v128, w1: v128, w2: v128, w3: v128): v128 {
  const zeros = i32x4.splat(0);
  const three = v128.shuffle<i32>(w3, zeros, 1, 2, 3, 4);
  const fourteen = v128.shuffle<i32>(w0, w1, 2, 3, 4, 5);
  const words = rotate(v128.xor(v128.xor(three, w2), v128.xor(fourteen, w0)), 1);
  return v128.xor(words, rotate(v128.shuffle<i32>(zeros, words, 0, 0, 0, 4), 1));
}

/**
 * From the 32nd word on the same rule, applied twice, has no such need: words 32, 28, 16 and 6
 * before (the latter out of w8 and w4, which begin 8 and 4 before).
 */
function later(w32: v128, w28: v128, w16: v128, w8: v128, w4: v128): v128 {
  const six = v128.shuffle<i32>(w8, w4, 2, 3, 4, 5);
  return rotate(v128.xor(v128.xor(w32, w28), v128.xor(w16, six)), 2);
}

function put(index: usize, words: v128, constant: i32): void {
  v128.store(WORDS + 16 * index, i32x4.add(words, i32x4.splat(constant)));
}

/** All words of the block that begins with these sixteen. */
function expand(w0: v128, w1: v128, w2: v128, w3: v128): void {
  const w4 = next(w0, w1, w2, w3);
  const w5 = next(w1, w2, w3, w4);
  const w6 = next(w2, w3, w4, w5);
  const w7 = next(w3, w4, w5, w6);
  const w8 = later(w0, w1, w4, w6, w7);
  const w9 = later(w1, w2, w5, w7, w8);
  const w10 = later(w2, w3, w6, w8, w9);
  const w11 = later(w3, w4, w7, w9, w10);
  const w12 = later(w4, w5, w8, w10, w11);
  const w13 = later(w5, w6, w9, w11, w12);
  const w14 = later(w6, w7, w10, w12, w13);
  const w15 = later(w7, w8, w11, w13, w14);
  const w16 = later(w8, w9, w12, w14, w15);
  const w17 = later(w9, w10, w13, w15, w16);
  const w18 = later(w10, w11, w14, w16, w17);
  put(0, w0, K0);
  put(1, w1, K0);
  put(2, w2, K0);
  put(3, w3, K0);
  put(4, w4, K0);
  put(5, w5, K1);
  put(6, w6, K1);
  put(7, w7, K1);
  put(8, w8, K1);
  put(9, w9, K1);
  put(10, w10, K2);
  put(11, w11, K2);
  put(12, w12, K2);
  put(13, w13, K2);
  put(14, w14, K2);
  put(15, w15, K3);
  put(16, w16, K3);
  put(17, w17, K3);
  put(18, w18, K3);
  put(19, later(w11, w12, w15, w17, w18), K3);
}

function choose(b: u32, c: u32, d: u32): u32 {
  return d ^ (b & (c ^ d));
}

function parity(b: u32, c: u32, d: u32): u32 {
  return b ^ c ^ d;
}

function majority(b: u32, c: u32, d: u32): u32 {
  return (b & c) | (d & (b | c));
}

function addTo(at: usize, value: u32): void {
  store<u32>(at, load<u32>(at) + value);
}

/** The rounds of the expanded block, into DIGEST. Five a turn: then each word is back in place. */
function compress(): void {
  let a = load<u32>(DIGEST);
  let b = load<u32>(DIGEST, 4);
  let c = load<u32>(DIGEST, 8);
  let d = load<u32>(DIGEST, 12);
  let e = load<u32>(DIGEST, 16);
  for (let at = WORDS; at < WORDS + 80; at += 20) {
    e = e + load<u32>(at) + choose(b, c, d) + rotl<u32>(a, 5);
    b = rotl<u32>(b, 30);
    d = d + load<u32>(at, 4) + choose(a, b, c) + rotl<u32>(e, 5);
    a = rotl<u32>(a, 30);
    c = c + load<u32>(at, 8) + choose(e, a, b) + rotl<u32>(d, 5);
    e = rotl<u32>(e, 30);
    b = b + load<u32>(at, 12) + choose(d, e, a) + rotl<u32>(c, 5);
    d = rotl<u32>(d, 30);
    a = a + load<u32>(at, 16) + choose(c, d, e) + rotl<u32>(b, 5);
    c = rotl<u32>(c, 30);
  }
  for (let at = WORDS + 80; at < WORDS + 160; at += 20) {
    e = e + load<u32>(at) + parity(b, c, d) + rotl<u32>(a, 5);
    b = rotl<u32>(b, 30);
    d = d + load<u32>(at, 4) + parity(a, b, c) + rotl<u32>(e, 5);
    a = rotl<u32>(a, 30);
    c = c + load<u32>(at, 8) + parity(e, a, b) + rotl<u32>(d, 5);
    e = rotl<u32>(e, 30);
    b = b + load<u32>(at, 12) + parity(d, e, a) + rotl<u32>(c, 5);
    d = rotl<u32>(d, 30);
    a = a + load<u32>(at, 16) + parity(c, d, e) + rotl<u32>(b, 5);
    c = rotl<u32>(c, 30);
  }
  for (let at = WORDS + 160; at < WORDS + 240; at += 20) {
    e = e + load<u32>(at) + majority(b, c, d) + rotl<u32>(a, 5);
    b = rotl<u32>(b, 30);
    d = d + load<u32>(at, 4) + majority(a, b, c) + rotl<u32>(e, 5);
    a = rotl<u32>(a, 30);
    c = c + load<u32>(at, 8) + majority(e, a, b) + rotl<u32>(d, 5);
    e = rotl<u32>(e, 30);
    b = b + load<u32>(at, 12) + majority(d, e, a) + rotl<u32>(c, 5);
    d = rotl<u32>(d, 30);
    a = a + load<u32>(at, 16) + majority(c, d, e) + rotl<u32>(b, 5);
    c = rotl<u32>(c, 30);
  }
  for (let at = WORDS + 240; at < WORDS + 320; at += 20) {
    e = e + load<u32>(at) + parity(b, c, d) + rotl<u32>(a, 5);
    b = rotl<u32>(b, 30);
    d = d + load<u32>(at, 4) + parity(a, b, c) + rotl<u32>(e, 5);
    a = rotl<u32>(a, 30);
    c = c + load<u32>(at, 8) + parity(e, a, b) + rotl<u32>(d, 5);
    e = rotl<u32>(e, 30);
    b = b + load<u32>(at, 12) + parity(d, e, a) + rotl<u32>(c, 5);
    d = rotl<u32>(d, 30);
    a = a + load<u32>(at, 16) + parity(c, d, e) + rotl<u32>(b, 5);
    c = rotl<u32>(c, 30);
  }
  addTo(DIGEST, a);
  addTo(DIGEST + 4, b);
  addTo(DIGEST + 8, c);
  addTo(DIGEST + 12, d);
  addTo(DIGEST + 16, e);
}

function hash(w0: v128, w1: v128, w2: v128, w3: v128): void {
  expand(w0, w1, w2, w3);
  compress();
}

/**
 * The key that follows from both, 16 bytes (of which shorter keys use the first 8), to `to`. All
 * three have room for 16 bytes.
 */
export function derive(start: usize, session: usize, length: u32, to: usize): void {
  const s = swap(v128.load(start));
  const k = swap(v128.load(session));
  const zeros = i32x4.splat(0);
  const pad = i8x16.splat(<i8>0xf2);
  v128.store(DIGEST, i32x4(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476));
  store<u32>(DIGEST, 0xc3d2e1f0, 16);
  if (length === 16) {
    hash(s, zeros, zeros, v128.shuffle<i32>(zeros, k, 0, 1, 4, 5));
    hash(v128.shuffle<i32>(k, pad, 2, 3, 4, 5), pad, pad, i32x4(0x80000000, 0, 0, 112 * 8));
  } else {
    const first = v128.shuffle<i32>(s, zeros, 0, 1, 4, 5);
    hash(first, zeros, zeros, v128.shuffle<i32>(k, pad, 0, 1, 4, 5));
    hash(pad, pad, i32x4(0x80000000, 0, 0, 0), i32x4(0, 0, 0, 96 * 8));
  }
  v128.store(to, swap(v128.load(DIGEST)));
}
