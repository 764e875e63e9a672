// The inner IP packet as a UDP datagram's payload, as flannel's `udp` backend sends it: no header,
// so no network number either. Needs a UDP socket; no session, no clock.
import { UDP_OVERHEAD } from "../shared/layout";

/** Bytes before the inner IP packet, in the datagram. */
export const OVERHEAD: u32 = UDP_OVERHEAD;

/** Where the inner packet stands in a datagram; what it is, its own check says. */
export function decap(): i32 {
  return OVERHEAD;
}
