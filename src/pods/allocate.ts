// Which address a new pod gets. The first address of a PodCIDR is the node's own; an IPv4 PodCIDR's
// last one stays free, as software takes it for a broadcast address.
import { bitsOf, formatAddress, needPrefix, parseAddress } from "../host/index.js";
import { PodError } from "./errors.js";

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
  const { family, value: base, length } = prefix;
  const size = 1n << BigInt(bitsOf(family) - length);
  const highest = family === 4 && length <= 30 ? size - 2n : size - 1n;
  const before = last === undefined ? undefined : parseAddress(last);
  let offset = before?.family === family ? before.value - base : 0n;
  // Among count + 1 different addresses one is free.
  for (let tried = 0; tried <= taken.size && BigInt(tried) < highest; tried++) {
    offset = offset < 0n || offset >= highest ? 1n : offset + 1n;
    const address = formatAddress({ family, value: base + offset });
    if (!taken.has(address)) return address;
  }
  const what = `no free address in PodCIDR ${podCidr} (${taken.size} pods); remove a pod`;
  throw new PodError("MESHD_POD_ADDRESSES_EXHAUSTED", what);
}
