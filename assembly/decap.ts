// Underlay packet -> overlay packet: outer headers off, the inner packet checked against what its
// sender may send and this node takes, then to TUN, to the control thread, or answered.

import * as checksum from "./checksum";
import { deliver, forgetLatest } from "./coalesce";
import * as ecn from "./ecn";
import * as encap from "./encap";
import * as life from "./life";
import * as mss from "./mss";
import * as neighbour from "./neighbour";
import * as output from "./output";
import * as packet from "./packet";
import * as peers from "./peers";
import * as probe from "./probe";
import * as proof from "./proof";
import * as protocols from "./protocols";
import * as ring from "./ring";
import * as route from "./route";
import { Drop } from "./shared/drop";
import { INGRESS, PUNT_PROBE } from "./shared/layout";
import { NEXT_LOCAL, NEXT_PEER, P_MTU } from "./shared/tables";
import * as transit from "./transit";
import * as unfinished from "./unfinished";
import * as ipv4 from "./wire/ipv4";
import * as vnet from "./wire/vnet";
import { worker } from "./worker";

/** Results: on the way to TUN; taken by the control thread; taken, and one answer sent. */
export const DELIVERED: i32 = 0;
export const CONSUMED: i32 = 1;
export const ANSWERED: i32 = 2;

/** Whether the packet may come from that peer and ends here: Drop.NONE or the reason. */
function refusal(innerAt: usize, peerIndex: u32): u32 {
  if (packet.ttl(innerAt) === 0) return Drop.TTL_EXPIRED;
  const group = packet.groupReason(innerAt);
  if (group !== Drop.NONE) return group;
  const next = route.destination(innerAt, NEXT_PEER + peerIndex);
  if (next === route.FOREIGN) return Drop.SPOOFED_SOURCE;
  return next === NEXT_LOCAL ? Drop.NONE : Drop.NOT_LOCAL;
}

/** Whether an IPv4 header's checksum is right; IPv6 has none. */
function isIntact(innerAt: usize): bool {
  if (!packet.isIpv4(innerAt)) return true;
  return checksum.partial(innerAt, ipv4.headerLength(innerAt), 0) === 0xffff;
}

/** Joins the congestion marks of both headers (RFC 6040 section 4.2). Returns 0 or -Drop. */
function mark(innerAt: usize, outerTos: u32): i32 {
  const inner = ecn.tos(innerAt);
  const bits = ecn.decap(inner, outerTos);
  if (bits < 0) return -Drop.ECN_ILLEGAL;
  if ((inner & ecn.MASK) !== <u32>bits) ecn.setTos(innerAt, (inner & ~ecn.MASK) | bits);
  return 0;
}

/**
 * To TUN, where a vnet header stands before the packet. One of a train whose own outer headers left
 * less room than that (`free` bytes) moves away from the packet before it.
 */
function toTun(innerAt: usize, length: u32, free: u32): i32 {
  if (<usize>free >= vnet.SIZE) return deliver(worker, innerAt, length, INGRESS);
  const moved = output.takeTun(vnet.SIZE + length) + vnet.SIZE;
  memory.copy(moved, innerAt, length);
  const result = deliver(worker, moved, length, INGRESS);
  // Its train is not around it any more: nothing may follow it there.
  forgetLatest(worker);
  return result;
}

/** Sends a probe's request back as its reply. */
function reply(peerIndex: u32, innerAt: usize, length: u32, free: u32): i32 {
  const peer = peers.at(peerIndex);
  const outer = protocols.overhead(peer);
  life.asked(peerIndex, probe.heard(innerAt, length));
  const short = probe.turnRound(innerAt, length, load<u32>(peer, P_MTU));
  let at = innerAt;
  if (free === 0 || free < outer) {
    at = output.takeWire(outer + short) + outer;
    memory.copy(at, innerAt, short);
  }
  const failed = encap.toPeer(peerIndex, at, short, INGRESS);
  return failed === 0 ? ANSWERED : failed;
}

/** A packet to the node itself: probes are taken out, everything else is the kernel's. */
function toSelf(peerIndex: u32, innerAt: usize, length: u32, free: u32): i32 {
  const kind = probe.classify(innerAt, length);
  if (kind === probe.NONE) return toTun(innerAt, length, free);
  if (kind === probe.REQUEST) return reply(peerIndex, innerAt, length, free);
  return ring.punt(PUNT_PROBE, peerIndex, innerAt, length) ? CONSUMED : -Drop.RING_FULL;
}

/**
 * Takes one datagram of `length` bytes at `at` that came from a known peer by a kind of socket;
 * `free` bytes before it are nobody's. Returns DELIVERED, CONSUMED, ANSWERED or -Drop.
 */
export function datagram(
  socket: u32,
  peerIndex: u32,
  at: usize,
  length: u32,
  outerTos: u32,
  free: u32,
): i32 {
  const peer = peers.at(peerIndex);
  const isProven = proof.isOf(socket, peerIndex) && proof.holds(socket, at, length);
  const offset: i32 = isProven
    ? proof.offset()
    : protocols.decap(socket, peerIndex, peer, at, length);
  if (offset < 0) return offset;
  if (offset === neighbour.ANSWERED) return ANSWERED;
  const innerAt = at + offset;
  const total = packet.check(innerAt, length - offset);
  if (total < 0) return total;
  if (!isIntact(innerAt)) return -Drop.BAD_IP_HEADER;
  let isPassing = false;
  if (!isProven) {
    const reason = refusal(innerAt, peerIndex);
    if (reason === Drop.NONE) proof.remember(socket, peerIndex, at, offset);
    else {
      isPassing = reason === Drop.NOT_LOCAL && transit.isDue(peerIndex, innerAt);
      if (!isPassing) return -(<i32>reason);
    }
  }
  const marked = mark(innerAt, outerTos);
  if (marked < 0) return marked;
  free += offset;
  const mtu = load<u32>(peer, P_MTU);
  if (protocols.isRaw(socket)) {
    // What goes on to another peer is cut there, if it is whole.
    const most = isPassing ? u32.MAX_VALUE : mtu;
    const tcpOffset = unfinished.finish(innerAt, total, most);
    if (tcpOffset < 0) return tcpOffset;
    if (tcpOffset > 0 && !isPassing) {
      // Such a packet comes alone, and so with its slot's headroom.
      if (free < <u32>vnet.SIZE) return -Drop.BAD_OFFLOAD;
      unfinished.deliver(innerAt, total, tcpOffset, mtu, INGRESS);
      return DELIVERED;
    }
  }
  if (isPassing) return transit.forward(peerIndex, innerAt, total, free);
  if (route.isToSelf(innerAt)) return toSelf(peerIndex, innerAt, total, free);
  mss.clamp(innerAt, total, mtu);
  return toTun(innerAt, total, free);
}
