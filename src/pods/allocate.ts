// Which address a new pod gets. The first address of a PodCIDR is the node's own; an IPv4 PodCIDR's
// last one stays free, as software takes it for a broadcast address.
import { bitsOf, formatAddress, needPrefix, type Prefix, parseAddress } from "../host/index.js";
import { PodError } from "./errors.js";

/** How many addresses a PodCIDR has for pods: offsets 1 to this one. */
function highestOffset({ family, length }: Prefix): bigint {
  const size = 1n << BigInt(bitsOf(family) - length);
  return family === 4 && length <= 30 ? size - 2n : size - 1n;
}

/**
 * The highest free address of a PodCIDR, for a dial-in client: pods are given theirs from below.
 * Throws MESHD_POD_ADDRESSES_EXHAUSTED.
 */
export function allocateFromTop(podCidr: string, taken: ReadonlySet<string>): string {
  const prefix = needPrefix(podCidr);
  const { family, value: base } = prefix;
  for (let offset = highestOffset(prefix); offset > 0n; offset--) {
    const address = formatAddress({ family, value: base + offset });
    if (!taken.has(address)) return address;
  }
  const what = `no free address in PodCIDR ${podCidr} for a client; remove a pod`;
  throw new PodError("MESHD_POD_ADDRESSES_EXHAUSTED", what);
}

/**
 * The next free address of a PodCIDR after `last` (the address given before), round the end: an
 * address that was just released rests as long as others are free.
 * Throws MESHD_POD_ADDRESSES_EXHAUSTED.
 */
export function allocateAddress(
  podCidr: string,
  taken: ReadonlySet<string>,
  last: string | undefined,
): string {
  const prefix = needPrefix(podCidr);
  const { family, value: base } = prefix;
  const highest = highestOffset(prefix);
  const before = last === undefined ? undefined : parseAddress(last);
  let offset = before?.family === family ? before.value - base : 0n;
  // Among count + 1 different addresses one is free.
  for (let tried = 0; tried <= taken.size && BigInt(tried) < highest; tried++) {
    offset = offset < 0n || offset >= highest ? 1n : offset + 1n;
    const address = formatAddress({ family, value: base + offset });
    if (!taken.has(address)) return address;
  }
  const what = `no free address in PodCIDR ${podCidr} (${taken.size} taken); remove a pod`;
  throw new PodError("MESHD_POD_ADDRESSES_EXHAUSTED", what);
}
