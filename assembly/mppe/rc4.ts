// RC4 with its table at a constant address: elsewhere it is a third slower. Broken by today's
// standards: here because MPPE (RFC 3078) is built on it.
import { C_KEY_SCRATCH, CONTROL } from "../shared/layout";

/** The table in use, 256 bytes. */
export const TABLE: usize = CONTROL + C_KEY_SCRATCH;
/** u32 each: both indices. */
const I: usize = TABLE + 256;
const J: usize = TABLE + 260;
export const RC4_NEEDED: usize = 264;

/** The table before the key schedule: each entry its own index. */
function fillTable(): void {
  let four: u32 = 0x03020100;
  for (let at = TABLE; at < TABLE + 256; at += 4) {
    store<u32>(at, four);
    four += 0x04040404;
  }
}

/** Key schedule for the `length` bytes at `key`, a power of two; the key stream begins. */
export function schedule(key: usize, length: u32): void {
  fillTable();
  let j: u32 = 0;
  for (let i: u32 = 0; i < 256; i++) {
    const a: u32 = load<u8>(i, TABLE);
    j = (j + a + load<u8>(key + (i & (length - 1)))) & 255;
    store<u8>(i, load<u8>(j, TABLE), TABLE);
    store<u8>(j, a, TABLE);
  }
  store<u32>(I, 0);
  store<u32>(J, 0);
}

/** The next bytes of the key stream, one by one, over those at `at`. */
function cryptFew(at: usize, end: usize): void {
  let i = load<u32>(I);
  let j = load<u32>(J);
  for (; at < end; at++) {
    i = (i + 1) & 255;
    const a: u32 = load<u8>(i, TABLE);
    j = (j + a) & 255;
    const b: u32 = load<u8>(j, TABLE);
    store<u8>(i, b, TABLE);
    store<u8>(j, a, TABLE);
    store<u8>(at, load<u8>(at) ^ load<u8>((a + b) & 255, TABLE));
  }
  store<u32>(I, i);
  store<u32>(J, j);
}

/** Encrypts or decrypts `length` bytes in place with the next bytes of the key stream. */
export function crypt(at: usize, length: u32): void {
  const end = at + length;
  cryptFew(at, end);
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
