// Overlay packet -> underlay packet: check, route, fit to the path, add the outer headers, send.
import * as counters from "./counters";
import * as ecn from "./ecn";
import * as flow from "./flow";
import * as icmp from "./icmp";
import * as identity from "./identity";
import * as mss from "./mss";
import * as output from "./output";
import * as packet from "./packet";
import * as peers from "./peers";
import * as pieces from "./pieces";
import * as calls from "./pptp/encap";
import * as protocols from "./protocols";
import * as route from "./route";
import {
  completeChecksum,
  isWholeTcp,
  segment,
  segmentCount,
  segmentHeaderLength,
} from "./segment";
import * as send from "./send";
import { Drop } from "./shared/drop";
import { EGRESS, INGRESS, MAX_CUT, MAX_CUT_BYTES, MAX_SEND, W_PEER_PACKETS } from "./shared/layout";
import {
  DSCP_INHERIT,
  NEXT_LOCAL,
  NEXT_NONE,
  NEXT_PEER,
  P_DSCP,
  P_FLAGS,
  P_MTU,
  PEER_FRAGMENTS,
} from "./shared/tables";
import * as tables from "./tables";
import * as ipv6 from "./wire/ipv6";
import * as vnet from "./wire/vnet";
import { worker } from "./worker";

/** Tells the sender what the reason is, where it has a right to know. Returns -reason. */
function refuse(reason: i32, innerAt: usize, length: u32, mtu: u32, now_us: f64): i32 {
  let kind = icmp.UNREACHABLE;
  if (reason === Drop.TTL_EXPIRED) kind = icmp.TIME_EXCEEDED;
  if (reason === Drop.TOO_BIG) kind = icmp.TOO_BIG;
  const made = icmp.answer(worker, kind, innerAt, length, mtu, now_us);
  if (made > 0) counters.generated(EGRESS, made);
  return -reason;
}

/** Refuses a packet larger than `mtu`; no IPv6 sender would believe in less than every link has. */
function tooBig(innerAt: usize, length: u32, mtu: u32, now_us: f64): i32 {
  const said = packet.isIpv4(innerAt) ? mtu : max<u32>(mtu, ipv6.MTU_MIN);
  return refuse(Drop.TOO_BIG, innerAt, length, said, now_us);
}

/** Index of the peer that a checked packet goes to, or -Drop. */
function nextHop(innerAt: usize): i32 {
  const group = packet.groupReason(innerAt);
  if (group !== Drop.NONE) return -(<i32>group);
  const next = route.destination(innerAt, NEXT_LOCAL);
  if (next === route.FOREIGN) return -Drop.FOREIGN_SOURCE;
  // The kernel has forwarded this packet and counted the hop (RFC 2003 section 3.1): here is none.
  if (packet.ttl(innerAt) === 0) return -Drop.TTL_EXPIRED;
  if (next === NEXT_NONE) return -Drop.NO_ROUTE;
  return next === NEXT_LOCAL ? -Drop.LOOP : <i32>(next - NEXT_PEER);
}

/** As `nextHop`, and the sender is told where that is due. */
function findPeer(innerAt: usize, length: u32, now_us: f64): i32 {
  const peerIndex = nextHop(innerAt);
  if (peerIndex >= 0) return peerIndex;
  const isAnswered =
    peerIndex === -Drop.NO_ROUTE || peerIndex === -Drop.LOOP || peerIndex === -Drop.TTL_EXPIRED;
  return isAnswered ? refuse(-peerIndex, innerAt, length, 0, now_us) : peerIndex;
}

/** Outer TOS: DSCP as the peer wants it, ECN copied (RFC 6040 section 4.1, normal mode). */
function outerTos(peer: usize, innerAt: usize): u32 {
  const inner = ecn.tos(innerAt);
  const dscp: u32 = load<u8>(peer, P_DSCP);
  return dscp === DSCP_INHERIT ? inner : (dscp << 2) | (inner & ecn.MASK);
}

/**
 * Adds the outer headers in place and sends a checked packet to a peer, whatever its size. There
 * are as many bytes free before it as the peer's encapsulation needs. Returns 0 or -Drop.
 */
export function toPeer(
  peerIndex: u32,
  innerAt: usize,
  length: u32,
  direction: u32,
  fragments: bool = false,
): i32 {
  const peer = peers.at(peerIndex);
  const outer = protocols.overhead(peer);
  const tos = outerTos(peer, innerAt);
  const hash = flow.hash(innerAt, length);
  const failed = protocols.encap(peer, innerAt, length);
  if (failed !== 0) return failed;
  const at = innerAt - outer;
  if (identity.isToBeNamed(peer, innerAt)) identity.nameNode(at);
  if (fragments && pieces.areOwn(peer)) {
    pieces.datagram(peerIndex, at, outer + length, length, tos, direction);
    return 0;
  }
  send.datagram(peerIndex, at, outer + length, length, tos, hash, direction, fragments);
  return 0;
}

/** Counts what goes to a peer, so that it shows to whom packets go at all. */
function countUse(peerIndex: u32): void {
  const at = worker + ((<usize>peerIndex) << 2);
  store<u32>(at, load<u32>(at, W_PEER_PACKETS) + 1, W_PEER_PACKETS);
}

/**
 * Whether a packet of `length` bytes, too large for the path to the peer, may go there in outer
 * fragments: IPv6, which must not be told of less than every link has (RFC 4213 section 3.2.2).
 */
function mayFragment(peer: usize, innerAt: usize, length: u32): bool {
  const flags: u32 = load<u8>(peer, P_FLAGS);
  if ((flags & PEER_FRAGMENTS) === 0 || packet.isIpv4(innerAt)) return false;
  return length <= ipv6.MTU_MIN;
}

/**
 * Cuts a TCP packet that is larger than the path to a peer into `most` pieces at most. Returns how
 * many it became, 0 where it cannot be cut so, or -Drop.
 */
function cutTcp(
  peerIndex: u32,
  innerAt: usize,
  total: u32,
  mtu: u32,
  direction: u32,
  most: u32,
): i32 {
  const kind = packet.isIpv4(innerAt) ? vnet.GSO_TCP4 : vnet.GSO_TCP6;
  const header = isWholeTcp(innerAt, total) ? segmentHeaderLength(innerAt, total, kind) : -1;
  if (header <= 0 || <u32>header >= mtu) return 0;
  if (segmentCount(total - header, mtu - header) > most) return 0;
  return cut(peerIndex, innerAt, total, kind, mtu - header, header, direction);
}

/**
 * Sends a packet that is larger than the path to that peer: TCP is cut as a super-packet would be,
 * so that its sender needs no ICMP. Returns as `single`.
 */
function oversized(peerIndex: u32, innerAt: usize, total: u32, mtu: u32, now_us: f64): i32 {
  const made = cutTcp(peerIndex, innerAt, total, mtu, EGRESS, MAX_CUT);
  if (made === 0) {
    if (!mayFragment(peers.at(peerIndex), innerAt, total)) {
      return tooBig(innerAt, total, mtu, now_us);
    }
    mss.clamp(innerAt, total, mtu);
    const failed = toPeer(peerIndex, innerAt, total, EGRESS, true);
    return failed === 0 ? 1 : failed;
  }
  return made;
}

/**
 * Sends one packet from TUN, `length` bytes at `innerAt` behind its vnet header at `vnetAt`.
 * Returns how many packets it became (more than 1, where the path takes smaller ones), or -Drop.
 */
export function single(vnetAt: usize, innerAt: usize, length: u32, now_us: f64): i32 {
  const total = packet.check(innerAt, length);
  if (total < 0) return total;
  if (vnet.flags(vnetAt) & vnet.NEEDS_CHECKSUM) {
    const start = vnet.checksumStart(vnetAt);
    const made = completeChecksum(innerAt, total, start, vnet.checksumOffset(vnetAt));
    if (made < 0) return made;
  }
  const peerIndex = findPeer(innerAt, total, now_us);
  if (peerIndex < 0) return peerIndex;
  countUse(peerIndex);
  const mtu = load<u32>(peers.at(peerIndex), P_MTU);
  if (<u32>total > mtu) return oversized(peerIndex, innerAt, total, mtu, now_us);
  mss.clamp(innerAt, total, mtu);
  const failed = toPeer(peerIndex, innerAt, total, EGRESS);
  return failed === 0 ? 1 : failed;
}

/**
 * Sends a packet that the control thread made, whatever its size: a probe may ask for more than the
 * path is known to carry. Nobody is told when it goes nowhere. Returns 0 or -Drop.
 */
export function injected(innerAt: usize, length: u32): i32 {
  const total = packet.check(innerAt, length);
  if (total < 0) return total;
  const peerIndex = nextHop(innerAt);
  if (peerIndex < 0) return peerIndex;
  return toPeer(peerIndex, innerAt, total, EGRESS);
}

/**
 * As `injected`, by the entry of one peer of that generation's tables: also one to which no prefix
 * leads, for a way that is not in use yet. A number of older tables names nobody.
 */
export function injectedTo(peerIndex: u32, generation: u32, innerAt: usize, length: u32): i32 {
  const total = packet.check(innerAt, length);
  if (total < 0) return total;
  const isKnown = generation === tables.generation() && peerIndex < peers.count();
  if (!isKnown) return -Drop.NO_ROUTE;
  return toPeer(peerIndex, innerAt, total, EGRESS);
}

/** Pieces of a packet on its way from peer to peer; one that were more is refused. */
const PASSED_MAX: u32 = 64;
/**
 * What of the outputs must be left then: its pieces, and what all else of a train may make, which
 * asks for no room (ingress.ts).
 */
const PASSED_DESCRIPTORS: u32 = PASSED_MAX + 3300;
const PASSED_BYTES: usize = 1 << 20;

/**
 * Sends a checked packet that came from a peer on to another, fitted to the way there; `free` bytes
 * before it are nobody's. Returns how many packets it became, 0 where it is too large, or -Drop.
 */
export function pass(peerIndex: u32, innerAt: usize, total: u32, free: u32): i32 {
  const peer = peers.at(peerIndex);
  const mtu = load<u32>(peer, P_MTU);
  const isLarge = total > mtu;
  const fragments = isLarge && mayFragment(peer, innerAt, total);
  const room = PASSED_BYTES + total;
  if (output.wireRoom() < PASSED_DESCRIPTORS || output.wireArenaRoom() < room) {
    return -Drop.SEND_FAILED;
  }
  countUse(peerIndex);
  if (isLarge && !fragments) return cutTcp(peerIndex, innerAt, total, mtu, INGRESS, PASSED_MAX);
  mss.clamp(innerAt, total, mtu);
  const outer = protocols.overhead(peer);
  let at = innerAt;
  if (free === 0 || free < outer) {
    at = output.takeWire(outer + total) + outer;
    memory.copy(at, innerAt, total);
  }
  const failed = toPeer(peerIndex, at, total, INGRESS, fragments);
  return failed === 0 ? 1 : failed;
}

/** Wire-size packets in a super-packet as its sender cut it, or -Drop where it cannot be one. */
export function segmentsOf(vnetAt: usize, innerAt: usize, length: u32): i32 {
  const total = packet.check(innerAt, length);
  if (total < 0) return total;
  const header = segmentHeaderLength(innerAt, total, vnet.gsoKind(vnetAt));
  if (header < 0) return header;
  const size = vnet.gsoSize(vnetAt);
  if (size === 0) return -Drop.BAD_OFFLOAD;
  const count = segmentCount(total - header, size);
  return count > MAX_CUT ? -Drop.BAD_OFFLOAD : count;
}

/** Payload bytes of a segment on the way to a peer, or 0 where none fits. */
function sizeFor(kind: u32, size: u32, header: u32, mtu: u32): u32 {
  if (header + size <= mtu) return size;
  // A UDP datagram cannot be cut smaller than its sender meant it.
  return kind === vnet.GSO_UDP || header >= mtu ? 0 : mtu - header;
}

/**
 * Adds the outer headers of `count` segments of `stride` bytes at `at`, `bytes` in all, the first
 * `outer` of each. Returns how many may leave; the others are counted as dropped.
 */
function addHeaders(
  peer: usize,
  at: usize,
  bytes: u32,
  count: u32,
  stride: u32,
  outer: u32,
  direction: u32,
): u32 {
  for (let i: u32 = 0; i < count; i++) {
    const done = i * stride;
    const innerLength = min<u32>(stride, bytes - done) - outer;
    const failed = protocols.encap(peer, at + done + outer, innerLength);
    if (failed === 0) continue;
    if (failed === -Drop.WINDOW_FULL) calls.refused(peer, count - i - 1);
    counters.dropped(direction, -failed, count - i, bytes - done - (count - i) * outer);
    return i;
  }
  return count;
}

/** Cuts the packet into the underlay arena, each piece behind its outer headers, and sends it. */
function cut(
  peerIndex: u32,
  innerAt: usize,
  length: u32,
  kind: u32,
  size: u32,
  header: u32,
  direction: u32,
  fragments: bool = false,
): i32 {
  const peer = peers.at(peerIndex);
  const outer = protocols.overhead(peer);
  const stride = outer + header + size;
  const count = segmentCount(length - header, size);
  let bytes = length - header + count * (outer + header);
  // The last segment may be short, but a slot's write may touch what a full one would.
  if (count > MAX_CUT || stride > MAX_SEND) return -Drop.BAD_OFFLOAD;
  if (<u64>count * stride > MAX_CUT_BYTES) return -Drop.BAD_OFFLOAD;
  const at = output.takeWire(count * stride);
  const made = segment(innerAt, length, kind, size, at, outer);
  if (made < 0) return made;
  const leaving = addHeaders(peer, at, bytes, count, stride, outer, direction);
  if (leaving === 0) return count;
  if (leaving < count) bytes = leaving * stride;
  if (identity.isToBeNamed(peer, innerAt)) {
    for (let i: u32 = 0; i < count; i++) identity.nameNode(at + i * stride);
  }
  const tos = outerTos(peer, innerAt);
  const hash = flow.hash(innerAt, length);
  if (fragments && pieces.areOwn(peer)) {
    pieces.train(peerIndex, at, bytes, stride, outer, tos, hash, direction);
    return count;
  }
  send.train(peerIndex, at, bytes, leaving, stride, outer, tos, hash, direction, fragments);
  return count;
}

/**
 * Sends a super-packet from TUN for which `segmentsOf` gave a count. Returns how many packets it
 * became (more than that, where the path takes smaller ones), or -Drop.
 */
export function superPacket(vnetAt: usize, innerAt: usize, length: u32, now_us: f64): i32 {
  const total = packet.check(innerAt, length);
  const peerIndex = findPeer(innerAt, total, now_us);
  if (peerIndex < 0) return peerIndex;
  const kind = vnet.gsoKind(vnetAt);
  const header = segmentHeaderLength(innerAt, total, kind);
  countUse(peerIndex);
  const peer = peers.at(peerIndex);
  const mtu = load<u32>(peer, P_MTU);
  const wanted = min<u32>(vnet.gsoSize(vnetAt), total - header);
  const size = sizeFor(kind, wanted, header, mtu);
  if (size === 0 && total > header) {
    if (!mayFragment(peer, innerAt, header + wanted)) return tooBig(innerAt, total, mtu, now_us);
    return cut(peerIndex, innerAt, total, kind, wanted, header, EGRESS, true);
  }
  return cut(peerIndex, innerAt, total, kind, max<u32>(size, 1), header, EGRESS);
}
