// The hot path's count of what goes to each peer. Its workers alone write it.
import { W_PEER_PACKETS } from "../../assembly/shared/layout.js";

/**
 * Packets from TUN to each of the first `peers` peers, by index, of all workers; super-packets
 * count as one. Wraps at 2^32: a difference says whether packets went there, roughly how many.
 */
export function packetsTo(
  words: Uint32Array,
  bases: readonly number[],
  peers: number,
): Uint32Array {
  const sums = new Uint32Array(peers);
  for (const base of bases) {
    const first = (base + W_PEER_PACKETS) >>> 2;
    for (let index = 0; index < peers; index++) {
      sums[index] = (sums[index] ?? 0) + (words[first + index] ?? 0);
    }
  }
  return sums;
}
