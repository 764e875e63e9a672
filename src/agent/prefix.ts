// Addresses and prefixes as numbers, so that plan can compare, order and overlap them.
import { isIP } from "node:net";

export interface Prefix {
  family: 4 | 6;
  /** Network address as an unsigned number, host bits zero. */
  value: bigint;
  length: number;
}

const WIDTH = { 4: 32, 6: 128 } as const;

function value4(text: string): bigint {
  return text.split(".").reduce((sum, part) => sum * 256n + BigInt(Number(part)), 0n);
}

/** Turns a dotted tail ("::ffff:1.2.3.4") into two hexadecimal groups. */
function hexTail(text: string): string {
  const cut = text.lastIndexOf(":") + 1;
  const tail = text.slice(cut);
  if (!tail.includes(".")) {
    return text;
  }
  const value = Number(value4(tail));
  return `${text.slice(0, cut)}${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

function groups(text: string): bigint[] {
  return text === "" ? [] : text.split(":").map((group) => BigInt(`0x${group}`));
}

function value6(text: string): bigint {
  const [left = "", right] = hexTail(text).split("::");
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const zeros = new Array<bigint>(8 - head.length - tail.length).fill(0n);
  return [...head, ...zeros, ...tail].reduce((sum, group) => (sum << 16n) | group, 0n);
}

/** An address of either family as a number, or null when the text is none (zones are refused). */
export function parseAddress(text: string): { family: 4 | 6; value: bigint } | null {
  const family = isIP(text);
  if (family === 4) {
    return { family, value: value4(text) };
  }
  return family === 6 && !text.includes("%") ? { family, value: value6(text) } : null;
}

/** "10.244.1.0/24" as a Prefix. Null when it is malformed or has host bits set. */
export function parsePrefix(text: string): Prefix | null {
  const match = /^([0-9a-fA-F:.]+)\/(\d{1,3})$/.exec(text);
  const address = match?.[1] === undefined ? null : parseAddress(match[1]);
  if (address === null) {
    return null;
  }
  const length = Number(match?.[2]);
  const width = WIDTH[address.family];
  if (length > width || address.value & ((1n << BigInt(width - length)) - 1n)) {
    return null;
  }
  return { family: address.family, value: address.value, length };
}

function longestZeroRun(hex: string[]): { at: number; count: number } {
  let best = { at: -1, count: 1 };
  for (let at = 0; at < hex.length; at++) {
    let count = 0;
    while (hex[at + count] === "0") {
      count++;
    }
    if (count > best.count) {
      best = { at, count };
    }
  }
  return best;
}

/** The text of an address; IPv6 in the form of RFC 5952 section 4. */
export function formatAddress(family: 4 | 6, value: bigint): string {
  if (family === 4) {
    return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");
  }
  const hex = Array.from({ length: 8 }, (_, i) =>
    ((value >> BigInt(16 * (7 - i))) & 0xffffn).toString(16),
  );
  const { at, count } = longestZeroRun(hex);
  if (at < 0) {
    return hex.join(":");
  }
  return `${hex.slice(0, at).join(":")}::${hex.slice(at + count).join(":")}`;
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.family, prefix.value)}/${prefix.length}`;
}

/** Same address, other spelling: "FD00::0" and "fd00::". The text itself when it is no address. */
export function canonicalAddress(text: string): string {
  const address = parseAddress(text);
  return address === null ? text : formatAddress(address.family, address.value);
}

/** The node address of a PodCIDR: its first address (flannel's VTEP address is the same one). */
export function firstAddress(prefix: Prefix): string {
  return formatAddress(prefix.family, prefix.value);
}

/** True when every address of `inner` is in `outer` (a prefix contains itself). */
export function contains(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) {
    return false;
  }
  const shift = BigInt(WIDTH[outer.family] - outer.length);
  return outer.value >> shift === inner.value >> shift;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a);
}

/** An address as the prefix that holds it alone, or null when the text is no address. */
export function hostPrefix(text: string): Prefix | null {
  const address = parseAddress(text);
  return address === null ? null : { ...address, length: WIDTH[address.family] };
}

export function containsAddress(outer: Prefix, text: string): boolean {
  const host = hostPrefix(text);
  return host !== null && contains(outer, host);
}

/** The first of `hosts` (sorted by comparePrefixes) that lies in `outer`; found by bisection. */
export function firstInside(hosts: readonly Prefix[], outer: Prefix): Prefix | undefined {
  let low = 0;
  let high = hosts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (comparePrefixes(hosts[middle] as Prefix, outer) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const found = hosts[low];
  return found !== undefined && contains(outer, found) ? found : undefined;
}

/** Orders by family, then address, then length: the same order on every node. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) {
    return a.family - b.family;
  }
  if (a.value !== b.value) {
    return a.value < b.value ? -1 : 1;
  }
  return a.length - b.length;
}
