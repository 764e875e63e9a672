// How large a super-packet the overlay device hands out: as many whole segments as one send takes.

/** Most bytes of one UDP send, and what a tunnel header of UDP takes of each segment at most. */
const SEND_MAX = 65_487;
const TUNNEL_HEADER = 22;
/** IPv4 and TCP with time stamps. IPv6's 20 bytes more never make another segment. */
const INNER_HEADERS = 52;
/** The kernel takes this for headers off `gso_max_size` before it counts segments (320, and 1). */
const RESERVED = 400;
const KERNEL_MAX = 65_536;

/**
 * `gso_max_size` for a device of this MTU. A larger super-packet would need a second send for its
 * last segments, a smaller one more sends for the same bytes: 7 segments at 8,950, 44 at 1,450.
 */
export function gsoMaxSize(mtu: number): number {
  const segments = Math.floor(SEND_MAX / (mtu + TUNNEL_HEADER));
  return Math.min(KERNEL_MAX, Math.max(1, segments) * (mtu - INNER_HEADERS) + RESERVED);
}
