// ICMP and ICMPv6 errors to the sender of an inner packet that went nowhere, from the node's own
// overlay address (RFC 792, RFC 1812 section 4.3, RFC 1191, RFC 4443), within a rate limit.

import { copy, finish, partial, pseudo6 } from "./checksum";
import { setTos } from "./ecn";
import { takeTun, toTun, tunArenaRoom } from "./output";
import * as ratelimit from "./ratelimit";
import * as self from "./self";
import { EGRESS, W_ICMP_STATE } from "./shared/layout";
import * as icmp from "./wire/icmp";
import * as icmpv6 from "./wire/icmpv6";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as vnet from "./wire/vnet";

/** Kinds of answer. */
export const UNREACHABLE: u32 = 1;
export const TIME_EXCEEDED: u32 = 2;
export const TOO_BIG: u32 = 3;

/** All errors of a worker, and those to one sender: a scan must not use up what others need. */
const WORKER_PER_SECOND: f64 = 1000;
const WORKER_BURST: f64 = 200;
const SENDER_PER_SECOND: f64 = 100;
const SENDER_BURST: f64 = 20;
/** Buckets that senders share by hash, behind the worker's own. */
const SENDER_BUCKETS: u32 = 128;
/** TOS of control traffic: precedence 6, internetwork control (RFC 1812 section 4.3.2.5). */
const TOS_CONTROL: u32 = 0xc0;

const FRAGMENT_OFFSET4: u32 = 0x1fff;
const FRAGMENT_HEADER: u32 = 44;
const EXTENSIONS_MAX: u32 = 8;
const LOOPBACK_NET: u32 = 127;
/** 240.0.0.0/4 is reserved and ends in the broadcast address (RFC 1112 section 4). */
const RESERVED_CLASS: u32 = 15;

/** Whether an IPv4 address is one host's: not multicast, broadcast, reserved, loopback or 0/8. */
function isUnicast4(address: u32): bool {
  const net = address >> 24;
  if (net == 0 || net == LOOPBACK_NET) return false;
  return !ipv4.isMulticast(address) && address >> 28 != RESERVED_CLASS;
}

/** Whether RFC 1812 section 4.3.2.7 lets an error answer this packet. */
function mayAnswer4(at: usize, length: u32): bool {
  if (length < ipv4.SIZE || ipv4.headerLength(at) + icmp.SIZE > length) return false;
  if ((ipv4.fragment(at) & FRAGMENT_OFFSET4) != 0) return false;
  if (!isUnicast4(ipv4.source(at)) || !isUnicast4(ipv4.destination(at))) return false;
  return ipv4.protocol(at) != icmp.PROTOCOL || !icmp.isError(icmp.type(at + ipv4.headerLength(at)));
}

/** Whether an IPv6 address is one host's: not multicast, unspecified or loopback. */
function isUnicast6(at: usize): bool {
  if (ipv6.isMulticast(at) || load<u64>(at) != 0) return !ipv6.isMulticast(at);
  const low = bswap<u64>(load<u64>(at, 8));
  return low > 1;
}

/**
 * Whether the upper layer behind the extension headers lets an error answer: not an ICMPv6 error,
 * not a later fragment, not a chain that cannot be followed (RFC 4443 section 2.4 e).
 */
function upperLayerAllows(at: usize, length: u32): bool {
  let next = ipv6.nextHeader(at);
  let offset = ipv6.SIZE;
  for (let i: u32 = 0; i < EXTENSIONS_MAX; i++) {
    if (offset + 8 > length) return false;
    const here = at + offset;
    if (next == icmpv6.NEXT_HEADER) return !icmpv6.isError(icmpv6.type(here));
    if (next != 0 && next != 43 && next != 60 && next != FRAGMENT_HEADER) return true;
    const isFragment = next == FRAGMENT_HEADER;
    if (isFragment && (bswap<u16>(load<u16>(here, 2)) & 0xfff8) != 0) return false;
    next = load<u8>(here);
    offset += isFragment ? 8 : 8 + 8 * <u32>load<u8>(here, 1);
  }
  return false;
}

function mayAnswer6(at: usize, length: u32): bool {
  if (length < ipv6.SIZE + icmpv6.SIZE) return false;
  if (!isUnicast6(ipv6.sourceAt(at)) || !isUnicast6(ipv6.destinationAt(at))) return false;
  return upperLayerAllows(at, length);
}

/** Takes a token of the sender's bucket and one of the worker's. */
function withinRate(worker: usize, sender: u32, now_us: f64): bool {
  const state = worker + W_ICMP_STATE;
  const bucket = (sender * 0x9e3779b1) >> 25;
  const own = state + (1 + (bucket & (SENDER_BUCKETS - 1))) * ratelimit.SIZE;
  if (!ratelimit.take(own, now_us, SENDER_PER_SECOND, SENDER_BURST)) return false;
  return ratelimit.take(state, now_us, WORKER_PER_SECOND, WORKER_BURST);
}

/** Builds the whole IPv4 answer; returns its length. */
function write4(at: usize, kind: u32, innerAt: usize, length: u32, mtu: u32): u32 {
  const quoted = min(length, icmp.ERROR_SIZE_MAX - ipv4.SIZE - icmp.SIZE);
  const total = ipv4.SIZE + icmp.SIZE + quoted;
  const message = at + ipv4.SIZE;
  const type = kind == TIME_EXCEEDED ? icmp.TIME_EXCEEDED : icmp.UNREACHABLE;
  const isTooBig = kind == TOO_BIG;
  ipv4.write(at, total, icmp.PROTOCOL, self.address4(), ipv4.source(innerAt));
  setTos(at, TOS_CONTROL);
  ipv4.setChecksum(at, 0);
  ipv4.setChecksum(at, finish(partial(at, ipv4.SIZE, 0)));
  icmp.writeError(message, type, isTooBig ? icmp.CODE_FRAGMENTATION_NEEDED : 0, isTooBig ? mtu : 0);
  copy(message + icmp.SIZE, innerAt, quoted);
  icmp.setChecksum(message, finish(partial(message, icmp.SIZE + quoted, 0)));
  return total;
}

/** Builds the whole IPv6 answer; returns its length. */
function write6(at: usize, kind: u32, innerAt: usize, length: u32, mtu: u32): u32 {
  const quoted = min(length, icmpv6.ERROR_SIZE_MAX - ipv6.SIZE - icmpv6.SIZE);
  const bytes = icmpv6.SIZE + quoted;
  const message = at + ipv6.SIZE;
  let type = icmpv6.UNREACHABLE;
  if (kind == TIME_EXCEEDED) type = icmpv6.TIME_EXCEEDED;
  if (kind == TOO_BIG) type = icmpv6.TOO_BIG;
  const to = ipv6.sourceAt(innerAt);
  ipv6.write(at, bytes, icmpv6.NEXT_HEADER, ipv6.HOP_LIMIT_DEFAULT, self.address6At(), to);
  icmpv6.writeError(message, type, 0, kind == TOO_BIG ? mtu : 0);
  copy(message + icmpv6.SIZE, innerAt, quoted);
  const pseudo = pseudo6(at, icmpv6.NEXT_HEADER, bytes);
  icmpv6.setChecksum(message, finish(partial(message, bytes, pseudo)));
  return ipv6.SIZE + bytes;
}

/** A sender's 32 bits for the rate limit. */
function senderOf(innerAt: usize, isV4: bool): u32 {
  if (isV4) return ipv4.source(innerAt);
  const at = ipv6.sourceAt(innerAt);
  const mixed = load<u64>(at) ^ load<u64>(at, 8);
  return <u32>(mixed ^ (mixed >> 32));
}

/** Bytes that an error may have. */
export const ANSWER_MAX: u32 = icmpv6.ERROR_SIZE_MAX;

/** Whether an error may answer the packet: RFC, an address of ours to answer from, and rate. */
function isDue(worker: usize, innerAt: usize, length: u32, now_us: f64): bool {
  if (length == 0) return false;
  const isV4 = load<u8>(innerAt) >> 4 == 4;
  if (isV4 ? !self.hasAddress4() : !self.hasAddress6()) return false;
  if (isV4 ? !mayAnswer4(innerAt, length) : !mayAnswer6(innerAt, length)) return false;
  return withinRate(worker, senderOf(innerAt, isV4), now_us);
}

function writeAnswer(at: usize, kind: u32, innerAt: usize, length: u32, mtu: u32): u32 {
  const isV4 = load<u8>(innerAt) >> 4 == 4;
  return isV4 ? write4(at, kind, innerAt, length, mtu) : write6(at, kind, innerAt, length, mtu);
}

/**
 * Writes the error that answers the packet at `innerAt` to `at`, where ANSWER_MAX bytes are free.
 * Returns its length, or 0 when there must not be, may not be or cannot be one.
 */
export function answerAt(
  worker: usize,
  at: usize,
  kind: u32,
  innerAt: usize,
  length: u32,
  mtu: u32,
  now_us: f64,
): u32 {
  if (!isDue(worker, innerAt, length, now_us)) return 0;
  return writeAnswer(at, kind, innerAt, length, mtu);
}

/**
 * Answers the inner packet at `innerAt` with an error of `kind` and appends it to the TUN output.
 * `mtu` counts for TOO_BIG alone. Returns 1 when an answer was made, 0 when it must not be (RFC),
 * may not be (rate), or cannot be (no address of that family, no room).
 */
export function answer(
  worker: usize,
  kind: u32,
  innerAt: usize,
  length: u32,
  mtu: u32,
  now_us: f64,
): i32 {
  if (tunArenaRoom() < vnet.SIZE + ANSWER_MAX) return 0;
  if (!isDue(worker, innerAt, length, now_us)) return 0;
  const at = takeTun(vnet.SIZE + ANSWER_MAX);
  vnet.clear(at);
  const size = writeAnswer(at + vnet.SIZE, kind, innerAt, length, mtu);
  toTun(at, vnet.SIZE + size, size, EGRESS);
  return 1;
}
