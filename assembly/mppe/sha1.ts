// SHA-1 (RFC 3174) of the one message that MPPE's key change has (RFC 3079 section 3.4): start key,
// 40 zeros, session key, 40 times F2. For 16-byte keys two blocks, for 8-byte keys also two.
import { C_KEY_SCRATCH, CONTROL } from "../shared/layout";

/** The message with its padding, then the 80 words of a block, then the digest. */
const MESSAGE: usize = CONTROL + C_KEY_SCRATCH + 1024;
const WORDS: usize = MESSAGE + 128;
export const DIGEST: usize = WORDS + 320;
export const SHA1_END: usize = DIGEST + 20;

const BLOCK: usize = 64;
const PAD: u32 = 40;

/** Round functions of RFC 3174 section 5. */
function f(t: u32, b: u32, c: u32, d: u32): u32 {
  if (t < 20) return ((b & c) | (~b & d)) + 0x5a827999;
  if (t < 40) return (b ^ c ^ d) + 0x6ed9eba1;
  if (t < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
  return (b ^ c ^ d) + 0xca62c1d6;
}

function expand(block: usize): void {
  for (let t: usize = 0; t < 64; t += 4) store<u32>(WORDS + t, bswap<u32>(load<u32>(block + t)));
  for (let at = WORDS + 64; at < WORDS + 320; at += 4) {
    const word = load<u32>(at - 12) ^ load<u32>(at - 32) ^ load<u32>(at - 56) ^ load<u32>(at - 64);
    store<u32>(at, rotl<u32>(word, 1));
  }
}

function addTo(at: usize, value: u32): void {
  store<u32>(at, load<u32>(at) + value);
}

/** One block into the state at DIGEST, five words in host order. */
function compress(block: usize): void {
  expand(block);
  let a = load<u32>(DIGEST);
  let b = load<u32>(DIGEST, 4);
  let c = load<u32>(DIGEST, 8);
  let d = load<u32>(DIGEST, 12);
  let e = load<u32>(DIGEST, 16);
  for (let t: u32 = 0; t < 80; t++) {
    const next = rotl<u32>(a, 5) + f(t, b, c, d) + e + load<u32>(WORDS + (t << 2));
    e = d;
    d = c;
    c = rotl<u32>(b, 30);
    b = a;
    a = next;
  }
  addTo(DIGEST, a);
  addTo(DIGEST + 4, b);
  addTo(DIGEST + 8, c);
  addTo(DIGEST + 12, d);
  addTo(DIGEST + 16, e);
}

/** The key that follows from both, 16 bytes (of which shorter keys use the first 8), to `to`. */
export function derive(start: usize, session: usize, length: u32, to: usize): void {
  const bytes = 2 * length + 2 * PAD;
  memory.copy(MESSAGE, start, length);
  memory.fill(MESSAGE + length, 0, PAD);
  memory.copy(MESSAGE + length + PAD, session, length);
  memory.fill(MESSAGE + 2 * length + PAD, 0xf2, PAD);
  memory.fill(MESSAGE + bytes, 0, 128 - bytes);
  store<u8>(MESSAGE + bytes, 0x80);
  store<u32>(MESSAGE + 124, bswap<u32>(8 * bytes));
  store<u32>(DIGEST, 0x67452301);
  store<u32>(DIGEST, 0xefcdab89, 4);
  store<u32>(DIGEST, 0x98badcfe, 8);
  store<u32>(DIGEST, 0x10325476, 12);
  store<u32>(DIGEST, 0xc3d2e1f0, 16);
  compress(MESSAGE);
  compress(MESSAGE + BLOCK);
  for (let i: usize = 0; i < 16; i += 4) {
    store<u32>(to + i, bswap<u32>(load<u32>(DIGEST + i)));
  }
}
