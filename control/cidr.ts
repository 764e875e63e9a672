// IPv4 and IPv6 addresses and prefixes as numbers: parse, write canonically (RFC 5952), compare,
// cut a pool into PodCIDRs.

export interface Prefix {
  family: 4 | 6;
  /** First address, as a number. */
  first: bigint;
  length: number;
}

export const widthOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);

/** Address as a number, or null when it is none. No zone, no leading zeros in IPv4. */
export function parseAddress(text: string): { family: 4 | 6; value: bigint } | null {
  if (text.includes(":")) {
    const value = parse6(text);
    return value === null ? null : { family: 6, value };
  }
  const value = parse4(text);
  return value === null ? null : { family: 4, value };
}

function parse4(text: string): bigint | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return null;
  let value = 0n;
  for (const part of match.slice(1)) {
    if (Number(part) > 255 || String(Number(part)) !== part) return null;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

function parse6(text: string): bigint | null {
  if (text.length > 45) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = groups6(halves[0] ?? "");
  const tail = halves.length === 2 ? groups6(halves[1] ?? "") : [];
  if (!head || !tail) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return all.reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

function groups6(text: string): number[] | null {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (part.includes(".") && index === parts.length - 1) {
      const low = parse4(part);
      if (low === null) return null;
      groups.push(Number(low >> 16n), Number(low & 0xffffn));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return null;
    }
  }
  return groups;
}

/** Canonical text of an address. */
export function addressText(family: 4 | 6, value: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) {
    groups.push(((value >> shift) & 0xffffn).toString(16));
  }
  const runs = groups.join(":").match(/\b0(:0)+\b/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), "");
  if (longest === "") return groups.join(":");
  const text = groups.join(":").replace(new RegExp(`(^|:)${longest}(:|$)`), "::");
  return text;
}

/** The address's canonical text, or null. */
export function canonicalAddress(text: string): string | null {
  const address = parseAddress(text);
  return address && addressText(address.family, address.value);
}

/** Prefix in CIDR notation, host bits zero; null when it is none. */
export function parsePrefix(text: string): Prefix | null {
  const slash = text.indexOf("/");
  if (slash < 0) return null;
  const address = parseAddress(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (!address || !/^(0|[1-9]\d{0,2})$/.test(digits)) return null;
  const { family, value } = address;
  const length = Number(digits);
  if (length > widthOf(family)) return null;
  const size = 1n << BigInt(widthOf(family) - length);
  return value % size === 0n ? { family, first: value, length } : null;
}

export function prefixText(prefix: Prefix): string {
  return `${addressText(prefix.family, prefix.first)}/${prefix.length}`;
}

/** The prefix's canonical text, or null. */
export function canonicalPrefix(text: string): string | null {
  const prefix = parsePrefix(text);
  return prefix && prefixText(prefix);
}

/** True when `inner` lies wholly inside `outer`. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  const shift = BigInt(widthOf(outer.family) - outer.length);
  return outer.first >> shift === inner.first >> shift;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a);
}

/** True when an address lies in a prefix. */
export function prefixHolds(prefix: Prefix, address: string): boolean {
  const parsed = parseAddress(address);
  if (!parsed) return false;
  const { family, value } = parsed;
  return contains(prefix, { family, first: value, length: widthOf(family) });
}

/**
 * How many prefixes of `maskSize` a pool holds; pools are limited to 2^24 of them (settings.ts).
 */
export function pieceCount(pool: Prefix, maskSize: number): number {
  return 2 ** (maskSize - pool.length);
}

export function pieceAt(pool: Prefix, maskSize: number, index: number): Prefix {
  const size = BigInt(widthOf(pool.family) - maskSize);
  return { family: pool.family, first: pool.first + (BigInt(index) << size), length: maskSize };
}
