// Prefixes as plan compares, orders and searches them. Their numbers and texts are the host room's;
// here a record's prefix must be written exactly: with its length, and no host bits.
import {
  bitsOf,
  canonicalAddress as canonicalOrThrow,
  containsPrefix,
  formatAddress,
  type Prefix,
  parseAddress,
  parsePrefix as parseLoosely,
} from "../host/index.js";

export {
  bitsOf,
  containsPrefix as contains,
  formatAddress,
  formatPrefix,
  type Prefix,
  parseAddress,
} from "../host/index.js";

/** "10.244.1.0/24" as a Prefix. Null when it is malformed, has no length or has host bits set. */
export function parsePrefix(text: string): Prefix | null {
  const prefix = text.includes("/") ? parseLoosely(text) : undefined;
  const written = parseAddress(text.split("/", 1)[0] ?? "");
  return prefix !== undefined && written?.value === prefix.value ? prefix : null;
}

/** The network of an interface's address: "192.168.77.2/24" gives 192.168.77.0/24. */
export function parseNetwork(text: string): Prefix | null {
  return text.includes("/") ? (parseLoosely(text) ?? null) : null;
}

/** "192.168.77.2/24" without its length, in one spelling. */
export function addressPart(text: string): string {
  return canonicalAddress(text.split("/", 1)[0] ?? "");
}

/** What is left of a prefix without the part that lies in `hole`: at most one piece a bit. */
export function withoutPrefix(prefix: Prefix, hole: Prefix): Prefix[] {
  if (containsPrefix(hole, prefix)) return [];
  if (!containsPrefix(prefix, hole)) return [prefix];
  const length = prefix.length + 1;
  const bit = 1n << BigInt(bitsOf(prefix.family) - length);
  const halves = [prefix.value, prefix.value | bit].map((value) => ({ ...prefix, value, length }));
  return halves.flatMap((half) => withoutPrefix(half, hole));
}

/** Same address, other spelling: "FD00::0" and "fd00::". The text itself when it is no address. */
export function canonicalAddress(text: string): string {
  return parseAddress(text) === undefined ? text : canonicalOrThrow(text);
}

/** The node address of a PodCIDR: its first address (flannel's VTEP address is the same one). */
export function firstAddress(prefix: Prefix): string {
  return formatAddress(prefix);
}

/** An address as the prefix that holds it alone, or null when the text is no address. */
export function hostPrefix(text: string): Prefix | null {
  const address = parseAddress(text);
  return address === undefined ? null : { ...address, length: bitsOf(address.family) };
}

export function containsAddress(outer: Prefix, text: string): boolean {
  const host = hostPrefix(text);
  return host !== null && containsPrefix(outer, host);
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
  return found !== undefined && containsPrefix(outer, found) ? found : undefined;
}
