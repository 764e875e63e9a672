// The hash functions of the tables, the same numbers as in assembly/fib.ts and assembly/peers.ts.

const SPREAD = 0x9e3779b1;

function mix(value: number): number {
  const first = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  const second = Math.imul(first ^ (first >>> 13), 0xc2b2ae35);
  return (second ^ (second >>> 16)) >>> 0;
}

function rotate(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

/** Hash of an IPv6 prefix, four words in host order, most significant first. */
export function hash6(a: number, b: number, c: number, d: number, length: number): number {
  const high = mix(b ^ mix(a ^ Math.imul(length, SPREAD)));
  return (c | d) === 0 ? high : mix(d ^ mix(c ^ high));
}

/** Hash of a prefix of `width` words; of the control thread's own, not of the tables. */
export function mixPrefix(words: ArrayLike<number>, width: number, length: number): number {
  let value = Math.imul(length, SPREAD);
  for (let at = 0; at < width; at++) value = mix(value ^ (words[at] ?? 0));
  return value >>> 0;
}

/** Hash of an underlay address: the 16 bytes of D_PEER as four little-endian words. */
export function hashSource(words: ArrayLike<number>, family: number): number {
  let value = family;
  for (let i = 0; i < 4; i++) {
    const turned = i === 0 ? value : rotate(value, 15);
    value = Math.imul(turned ^ (words[i] ?? 0), SPREAD);
  }
  return (value ^ (value >>> 16)) >>> 0;
}
