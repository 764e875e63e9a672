// Addresses and prefixes as numbers: the text that the kernel's tools print, compared and
// overlapped.
import { isIP } from "node:net";
import { kinds } from "../config/index.js";
import { quote } from "./command.js";
import { HostError } from "./errors.js";

export type Family = 4 | 6;

export interface Address {
  family: Family;
  value: bigint;
}

/** `value` is the network address: host bits are zero. */
export interface Prefix extends Address {
  length: number;
}

export function bitsOf(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** An address of either family without a zone, or undefined. */
export function parseAddress(text: string): Address | undefined {
  const family = text.includes("%") ? 0 : isIP(text);
  return family === 4 || family === 6 ? { family, value: kinds.addressBits(text) } : undefined;
}

/** "10.1.0.0/16", or an address alone as its /32 or /128. Host bits are cleared. */
export function parsePrefix(text: string): Prefix | undefined {
  const [host = "", digits, more] = text.split("/");
  const address = parseAddress(host);
  if (address === undefined || more !== undefined) return undefined;
  const bits = bitsOf(address.family);
  const length = digits === undefined ? bits : /^\d{1,3}$/.test(digits) ? Number(digits) : 999;
  if (length > bits) return undefined;
  const hostBits = BigInt(bits - length);
  return { family: address.family, value: (address.value >> hostBits) << hostBits, length };
}

/** `parsePrefix` for values that must be right: throws MESHD_HOST_BAD_VALUE. */
export function needPrefix(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return prefix;
  throw new HostError("MESHD_HOST_BAD_VALUE", `${quote(text)} is no prefix such as 10.244.1.0/24`);
}

/** `parseAddress` for values that must be right: throws MESHD_HOST_BAD_VALUE. */
export function needAddress(text: string): Address {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  throw new HostError("MESHD_HOST_BAD_VALUE", `${quote(text)} is no IPv4 or IPv6 address`);
}

/** Text of an address; IPv6 in its one canonical form (RFC 5952 section 4). */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) {
    const bits = Number(value);
    return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
  }
  const hex = value.toString(16).padStart(32, "0");
  const groups = hex.match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`;
}

/** One spelling for one prefix: "fd00::0" and "FD00::/128" become "fd00::/128". */
export function canonicalPrefix(text: string): string {
  return formatPrefix(needPrefix(text));
}

export function canonicalAddress(text: string): string {
  return formatAddress(needAddress(text));
}

/** True when every address of `inner` lies in `outer`; a prefix contains itself. */
export function containsPrefix(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  const shift = BigInt(bitsOf(outer.family) - outer.length);
  return outer.value >> shift === inner.value >> shift;
}

export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return containsPrefix(a, b) || containsPrefix(b, a);
}

/** The first of the prefixes that holds the address. Bad text holds nothing. */
export function prefixHolding(address: string, prefixes: readonly string[]): string | undefined {
  const inner = parsePrefix(address);
  if (inner === undefined) return undefined;
  return prefixes.find((text) => {
    const outer = parsePrefix(text);
    return outer !== undefined && containsPrefix(outer, inner);
  });
}
