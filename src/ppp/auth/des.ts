// DES (FIPS 46-3), one block in, one block out: what MS-CHAP answers are made of. OpenSSL 3 has it
// in its legacy provider alone, so it stands here. Broken: a key is found in a day.

/** Bits are numbered from 1, the first of a byte being its highest (FIPS 46-3). */
type Table = readonly number[];

const initial: Table = [58, 60, 62, 64, 57, 59, 61, 63].flatMap((start) =>
  [0, 8, 16, 24, 32, 40, 48, 56].map((less) => start - less),
);
const final: Table = initial.map((_, bit) => initial.indexOf(bit + 1) + 1);
const permutation: Table = [
  ...[16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10],
  ...[2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25],
];
const choice1: Table = [
  ...[57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18],
  ...[10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36],
  ...[63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22],
  ...[14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4],
];
const choice2: Table = [
  ...[14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4],
  ...[26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30, 40],
  ...[51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32],
];
const shifts: Table = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];

/** S1 to S8: four rows of sixteen, a hexadecimal digit each. */
const boxes: readonly Table[] = [
  "e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d",
  "f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9",
  "a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c",
  "7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e",
  "2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453",
  "c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d",
  "4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c",
  "d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b",
].map((digits) => [...digits].map((digit) => Number.parseInt(digit, 16)));

/** Bits of bytes, one a place. */
function bitsOf(bytes: Uint8Array): Uint8Array {
  const bits = new Uint8Array(bytes.length * 8);
  for (let at = 0; at < bits.length; at++) {
    bits[at] = ((bytes[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
  }
  return bits;
}

/** 32 bits from a place on as a number, chosen by a table. */
function word(bits: Uint8Array, table: Table, from: number): number {
  let value = 0;
  for (let at = from; at < from + 32; at++)
    value = (value << 1) | (bits[(table[at] ?? 0) - 1] ?? 0);
  return value >>> 0;
}

/** What a box gives for six bits, already moved to the places of P: f is eight look-ups. */
const spread: readonly Uint32Array[] = boxes.map((box, index) =>
  Uint32Array.from({ length: 64 }, (_, six) => {
    const row = ((six >> 5) << 1) | (six & 1);
    const four = box[row * 16 + ((six >> 1) & 15)] ?? 0;
    let value = 0;
    for (let at = 0; at < 32; at++) {
      const from = (permutation[at] ?? 0) - 1;
      const bit = from >> 2 === index ? (four >> (3 - (from & 3))) & 1 : 0;
      value = (value << 1) | bit;
    }
    return value >>> 0;
  }),
);

/** A key of 7 bytes as DES wants it: 7 bits a byte, odd parity last (RFC 2433 A.6). */
export function parityKey(key: Uint8Array): Uint8Array {
  const bits = bitsOf(key);
  const whole = new Uint8Array(8);
  for (let at = 0; at < 8; at++) {
    let byte = 0;
    let ones = 0;
    for (let bit = at * 7; bit < at * 7 + 7; bit++) {
      byte = (byte << 1) | (bits[bit] ?? 0);
      ones += bits[bit] ?? 0;
    }
    whole[at] = (byte << 1) | ((ones & 1) ^ 1);
  }
  return whole;
}

/** Turns of each half of the key, all together at each round. */
const turns: Table = shifts.map((_, round) =>
  shifts.slice(0, round + 1).reduce((sum, shift) => sum + shift, 0),
);
/** Bit of the key that stands at each of a round key's 48 places. */
const roundBits: readonly Uint8Array[] = turns.map((turn) =>
  Uint8Array.from(choice2, (place) => {
    const half = place > 28 ? 28 : 0;
    return (choice1[half + ((place - 1 - half + turn) % 28)] ?? 0) - 1;
  }),
);

/** Eight times six bits of each round key, one after the other. */
function schedule(key: Uint8Array): Uint8Array {
  const bits = bitsOf(key);
  const sixes = new Uint8Array(16 * 8);
  for (const [round, places] of roundBits.entries()) {
    for (let at = 0; at < 48; at++) {
      const six = round * 8 + Math.floor(at / 6);
      sixes[six] = ((sixes[six] ?? 0) << 1) | (bits[places[at] ?? 0] ?? 0);
    }
  }
  return sixes;
}

/** The cipher function f of FIPS 46-3: E takes six bits around each four, the ends joined. */
function scramble(half: number, sixes: Uint8Array, round: number): number {
  let value = 0;
  for (let box = 0; box < 8; box++) {
    // The six bits begin one before the four; as a rotation, so that the ends join.
    const turn = (box * 4 + 5) & 31;
    const turned = (half << turn) | (half >>> (32 - turn));
    const six = (turned & 63) ^ (sixes[round * 8 + box] ?? 0);
    value ^= spread[box]?.[six] ?? 0;
  }
  return value;
}

/** Encrypts 8 bytes with a key of 8 bytes, whose parity bits count for nothing. */
export function desEncrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
  const bits = bitsOf(block);
  const sixes = schedule(key);
  let left = word(bits, initial, 0);
  let right = word(bits, initial, 32);
  for (let round = 0; round < 16; round++) {
    const next = (left ^ scramble(right, sixes, round)) >>> 0;
    left = right;
    right = next;
  }
  const halves = new Uint8Array(8);
  new DataView(halves.buffer).setUint32(0, right);
  new DataView(halves.buffer).setUint32(4, left);
  const out = bitsOf(halves);
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, word(out, final, 0));
  view.setUint32(4, word(out, final, 32));
  return new Uint8Array(view.buffer);
}
