// The one table of encapsulations in the hot path: a peer's protocol number leads to its file.
// A new encapsulation is a file in encap/, and one line in each of the functions below.
import * as geneve from "./encap/geneve";
import * as gre from "./encap/gre";
import * as ipip from "./encap/ipip";
import * as udp from "./encap/udp";
import * as vxlan from "./encap/vxlan";
import * as pptp from "./pptp/encap";
import { Drop } from "./shared/drop";
import {
  PROTOCOL_GENEVE,
  PROTOCOL_GRE,
  PROTOCOL_IPIP,
  PROTOCOL_NONE,
  PROTOCOL_PPTP,
  PROTOCOL_UDP,
  PROTOCOL_VXLAN,
  SOCKET_CALL,
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_IPIP4,
  SOCKET_IPIP6,
  SOCKET_MIXED,
  SOCKET_UDP,
  SOCKET_VXLAN,
} from "./shared/layout";
import { P_OVERHEAD, P_PROTOCOL, P_RECEIVES } from "./shared/tables";
import { hasVni } from "./wire/vxlan";

/** Bytes the peer's encapsulation puts before an inner packet, in the datagram. */
export function overhead(peer: usize): u32 {
  return load<u8>(peer, P_OVERHEAD);
}

/**
 * Writes the peer's headers into the `overhead` bytes before the inner packet. Returns 0, or -Drop
 * where it cannot leave: of PPTP alone, by which it may be encrypted where it stands.
 */
export function encap(peer: usize, innerAt: usize, length: u32): i32 {
  const protocol: u32 = load<u8>(peer, P_PROTOCOL);
  if (protocol === PROTOCOL_VXLAN) vxlan.encap(peer, innerAt);
  else if (protocol === PROTOCOL_GENEVE) geneve.encap(peer, innerAt);
  else if (protocol === PROTOCOL_GRE) gre.encap(peer, innerAt, length);
  else if (protocol === PROTOCOL_PPTP) return pptp.encap(peer, innerAt, length);
  return 0;
}

/**
 * Protocol of the datagram at `at` on a port of several, by its first byte: an IP header's version,
 * VXLAN's I flag, or neither. Members send VXLAN without other flags, Geneve without options.
 */
function protocolAt(at: usize): u32 {
  const first: u32 = load<u8>(at);
  const version = first >> 4;
  if (version === 4 || version === 6) return PROTOCOL_UDP;
  return hasVni(at) ? PROTOCOL_VXLAN : PROTOCOL_GENEVE;
}

/** Protocol of the datagram at `at` that came by a kind of socket. */
function protocolOf(socket: u32, at: usize): u32 {
  if (socket === SOCKET_VXLAN) return PROTOCOL_VXLAN;
  if (socket === SOCKET_GENEVE) return PROTOCOL_GENEVE;
  if (socket === SOCKET_GRE) return PROTOCOL_GRE;
  if (socket === SOCKET_UDP) return PROTOCOL_UDP;
  if (socket === SOCKET_IPIP4 || socket === SOCKET_IPIP6) return PROTOCOL_IPIP;
  if (socket === SOCKET_CALL) return PROTOCOL_PPTP;
  return socket === SOCKET_MIXED ? protocolAt(at) : PROTOCOL_NONE;
}

/** Whether a kind of socket is raw: its IPv4 datagrams begin with their IP header. */
export function isRaw(socket: u32): bool {
  return socket - SOCKET_IPIP4 <= SOCKET_GRE - SOCKET_IPIP4;
}

/**
 * Checks and takes off the headers of a datagram from a known peer, behind UDP's or the outer IP
 * header. Returns the offset of the inner packet, neighbour.ANSWERED, or -Drop.
 */
export function decap(socket: u32, peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  const protocol = protocolOf(socket, at);
  if (((<u32>load<u8>(peer, P_RECEIVES) >> protocol) & 1) === 0) return -Drop.WRONG_PROTOCOL;
  if (protocol === PROTOCOL_VXLAN) return vxlan.decap(peerIndex, peer, at, length);
  if (protocol === PROTOCOL_GENEVE) return geneve.decap(peerIndex, peer, at, length);
  if (protocol === PROTOCOL_IPIP) return ipip.decap(at, length, socket === SOCKET_IPIP4 ? 4 : 6);
  if (protocol === PROTOCOL_GRE) return gre.decap(peerIndex, peer, at, length);
  // What a call carries has no headers any more.
  if (protocol === PROTOCOL_PPTP) return 0;
  return protocol === PROTOCOL_UDP ? udp.decap() : -Drop.WRONG_PROTOCOL;
}

/** Whether headers equal to those of the datagram at `at` always mean the same. */
export function isStateless(socket: u32, at: usize): bool {
  return socket === SOCKET_GRE ? gre.isStateless(at) : socket <= SOCKET_IPIP6;
}

/**
 * Whether the `outer` bytes of headers at `b` are those at `a`, in all that `decap` looks at, and
 * have no state: what passed once passes again.
 */
export function isRepeated(socket: u32, a: usize, b: usize, outer: u32): bool {
  if (socket === SOCKET_VXLAN) return vxlan.isRepeated(a, b);
  if (socket === SOCKET_GENEVE) return geneve.isRepeated(a, b, outer);
  if (socket === SOCKET_GRE) return gre.isRepeated(a, b, outer);
  if (socket === SOCKET_CALL) return true;
  return socket >= SOCKET_UDP && socket <= SOCKET_IPIP6;
}
