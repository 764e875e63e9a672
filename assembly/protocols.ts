// The one table of encapsulations in the hot path: a peer's protocol number leads to its file.
// A new encapsulation is a file in encap/, and one line in each of the functions below.
import * as geneve from "./encap/geneve";
import * as udp from "./encap/udp";
import * as vxlan from "./encap/vxlan";
import { Drop } from "./shared/drop";
import {
  PROTOCOL_GENEVE,
  PROTOCOL_NONE,
  PROTOCOL_UDP,
  PROTOCOL_VXLAN,
  SOCKET_GENEVE,
  SOCKET_UDP,
  SOCKET_VXLAN,
} from "./shared/layout";
import { P_PROTOCOL } from "./shared/tables";

/** Bytes the peer's encapsulation puts before an inner packet, in the datagram. */
export function overhead(peer: usize): u32 {
  const protocol: u32 = load<u8>(peer, P_PROTOCOL);
  if (protocol === PROTOCOL_VXLAN) return vxlan.OVERHEAD;
  if (protocol === PROTOCOL_GENEVE) return geneve.OVERHEAD;
  return udp.OVERHEAD;
}

/** Writes the peer's headers into the `overhead` bytes before the inner packet. */
export function encap(peer: usize, innerAt: usize): void {
  const protocol: u32 = load<u8>(peer, P_PROTOCOL);
  if (protocol === PROTOCOL_VXLAN) vxlan.encap(peer, innerAt);
  else if (protocol === PROTOCOL_GENEVE) geneve.encap(peer, innerAt);
}

/** Protocol whose datagrams a kind of socket receives. */
function protocolOf(socket: u32): u32 {
  if (socket === SOCKET_VXLAN) return PROTOCOL_VXLAN;
  if (socket === SOCKET_GENEVE) return PROTOCOL_GENEVE;
  return socket === SOCKET_UDP ? PROTOCOL_UDP : PROTOCOL_NONE;
}

/**
 * Checks and takes off the outer headers of a datagram from a known peer. Returns the offset of the
 * inner packet, neighbour.ANSWERED, or -Drop.
 */
export function decap(socket: u32, peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  const protocol = protocolOf(socket);
  if (load<u8>(peer, P_PROTOCOL) !== protocol) return -Drop.WRONG_PROTOCOL;
  if (protocol === PROTOCOL_VXLAN) return vxlan.decap(peerIndex, peer, at, length);
  if (protocol === PROTOCOL_GENEVE) return geneve.decap(peerIndex, peer, at, length);
  return protocol === PROTOCOL_UDP ? udp.decap() : -Drop.WRONG_PROTOCOL;
}

/** Whether equal headers of a socket's datagrams always mean the same. */
export function isStateless(socket: u32): bool {
  return socket <= SOCKET_UDP;
}

/**
 * Whether the `outer` bytes of headers at `b` are those at `a`, in all that `decap` looks at. Only
 * for encapsulations without a state: what passed once passes again.
 */
export function isRepeated(socket: u32, a: usize, b: usize, outer: u32): bool {
  if (socket === SOCKET_VXLAN) return vxlan.isRepeated(a, b);
  return socket === SOCKET_GENEVE ? geneve.isRepeated(a, b, outer) : socket === SOCKET_UDP;
}
