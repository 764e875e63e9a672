// The one table of encapsulations in the hot path: a peer's protocol number leads to its file.
// A new encapsulation is a file in encap/, and one line in each of the five functions below.
import * as vxlan from "./encap/vxlan";
import { Drop } from "./shared/drop";
import { PROTOCOL_NONE, PROTOCOL_VXLAN, SOCKET_VXLAN } from "./shared/layout";
import { P_PROTOCOL } from "./shared/tables";

/** Bytes the peer's encapsulation puts before an inner packet, in the datagram. */
export function overhead(peer: usize): u32 {
  if (load<u8>(peer, P_PROTOCOL) === PROTOCOL_VXLAN) return vxlan.OVERHEAD;
  return 0;
}

/** Writes the peer's headers into the `overhead` bytes before the inner packet. */
export function encap(peer: usize, innerAt: usize): void {
  if (load<u8>(peer, P_PROTOCOL) === PROTOCOL_VXLAN) vxlan.encap(peer, innerAt);
}

/** Protocol whose datagrams a kind of socket receives. */
function protocolOf(socket: u32): u32 {
  return socket === SOCKET_VXLAN ? PROTOCOL_VXLAN : PROTOCOL_NONE;
}

/**
 * Checks and takes off the outer headers of a datagram from a known peer. Returns the offset of the
 * inner packet, neighbour.ANSWERED, or -Drop.
 */
export function decap(socket: u32, peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  const protocol = protocolOf(socket);
  if (load<u8>(peer, P_PROTOCOL) !== protocol) return -Drop.WRONG_PROTOCOL;
  if (protocol === PROTOCOL_VXLAN) return vxlan.decap(peerIndex, peer, at, length);
  return -Drop.WRONG_PROTOCOL;
}

/** Whether equal headers of a socket's datagrams always mean the same. */
export function isStateless(socket: u32): bool {
  return protocolOf(socket) === PROTOCOL_VXLAN;
}

/**
 * Whether the outer headers at `b` are those at `a`, in all that `decap` looks at. Only for
 * encapsulations without a state: what passed once passes again.
 */
export function isRepeated(socket: u32, a: usize, b: usize): bool {
  return protocolOf(socket) === PROTOCOL_VXLAN && vxlan.isRepeated(a, b);
}
