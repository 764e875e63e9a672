// IP in IP: IPv4 (RFC 2003, protocol 4) or IPv6 (RFC 4213, protocol 41) right behind an outer IPv4
// or IPv6 header (RFC 2473). Needs raw sockets, one for each protocol; no session, no clock.
import { Drop } from "../shared/drop";
import { IPIP_OVERHEAD } from "../shared/layout";

/** Bytes before the inner IP packet, behind the outer IP header. */
export const OVERHEAD: u32 = IPIP_OVERHEAD;

/**
 * Where the inner packet stands behind the outer header: the protocol has said which version it is
 * of; -Drop where it is of another.
 */
export function decap(at: usize, length: u32, version: u32): i32 {
  if (length === 0) return -Drop.TOO_SHORT;
  return <u32>load<u8>(at) >> 4 === version ? OVERHEAD : -Drop.BAD_IP_VERSION;
}
