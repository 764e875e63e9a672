// What may be joined into one super-packet, by the rules of Linux' GRO: which packets take part at
// all, which belong to one flow, and which differ in nothing but what segmentation makes different.
import * as sum from "./checksum";
import { FEATURE_TUN_USO, W_FEATURES } from "./shared/layout";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as tcp from "./wire/tcp";
import * as udp from "./wire/udp";

const NO_OPTIONS: u32 = 0x45;
/** No super-packet begins with a smaller TCP payload: `segment` refuses to cut so finely. */
const TCP_PAYLOAD_MIN: u32 = 8;
/** Flags that end a super-packet. */
export const ENDS: u32 = tcp.FIN | tcp.PSH;
/** As they stand in the word of offset, flags and window (memory order): flags are byte 1. */
const MAY_DIFFER: u32 = (tcp.FIN | tcp.PSH | tcp.CWR) << 8;
const NEVER_JOINED: u32 = tcp.SYN | tcp.RST | tcp.URG;

export function isV4(at: usize): bool {
  return load<u8>(at) >> 4 == 4;
}

/** Where the transport header of a packet without options or extension headers stands. */
export function transportOf(at: usize): usize {
  return at + (isV4(at) ? ipv4.SIZE : ipv6.SIZE);
}

/** Length of the packet by its own header. */
export function lengthOf(at: usize): u32 {
  return isV4(at) ? ipv4.totalLength(at) : ipv6.SIZE + ipv6.payloadLength(at);
}

/** Makes the packet's own header say that length. */
export function setLength(at: usize, length: u32): void {
  if (isV4(at)) ipv4.setTotalLength(at, length);
  else ipv6.setPayloadLength(at, length - ipv6.SIZE);
}

/** Makes an IPv4 header's checksum right; returns the pseudo-header's sum for `bytes` behind it. */
export function finishIp(at: usize, bytes: u32): u32 {
  const protocol = protocolOf(at);
  if (!isV4(at)) return sum.pseudo6(at, protocol, bytes);
  ipv4.setChecksum(at, 0);
  ipv4.setChecksum(at, sum.finish(sum.partial(at, ipv4.SIZE, 0)));
  return sum.pseudo4(at, protocol, bytes);
}

export function protocolOf(at: usize): u32 {
  return isV4(at) ? ipv4.protocol(at) : ipv6.nextHeader(at);
}

/** Whether a packet that may take part is TCP; else it is UDP. */
export function isTcp(at: usize): bool {
  return protocolOf(at) == tcp.PROTOCOL;
}

/** Bytes of headers of a TCP packet that carries data and may be joined, else 0. */
function tcpHeader(tcpAt: usize, offset: u32, length: u32): u32 {
  if (!tcp.fits(tcpAt, length - offset)) return 0;
  if (tcp.flags(tcpAt) & NEVER_JOINED) return 0;
  const header = offset + tcp.headerLength(tcpAt);
  return length > header ? header : 0;
}

/** Bytes of headers of a UDP packet that may be joined, else 0. */
function udpHeader(udpAt: usize, offset: u32, length: u32): u32 {
  const header = offset + udp.SIZE;
  if (length <= header || udp.length(udpAt) != length - offset) return 0;
  // Segmentation by the kernel would give every packet a checksum, so those without stay alone.
  return udp.checksum(udpAt) != 0 ? header : 0;
}

/** Bytes of IP and transport headers of a packet that may take part in a super-packet, else 0. */
export function headerOf(worker: usize, at: usize, length: u32): u32 {
  const v4 = isV4(at);
  const offset = v4 ? ipv4.SIZE : ipv6.SIZE;
  if (length < offset + udp.SIZE || length != lengthOf(at)) return 0;
  if (v4 && (load<u8>(at) != NO_OPTIONS || ipv4.isFragment(at))) return 0;
  const protocol = protocolOf(at);
  if (protocol == tcp.PROTOCOL) return tcpHeader(at + offset, offset, length);
  if (protocol != udp.PROTOCOL) return 0;
  if ((load<u32>(worker, W_FEATURES) & FEATURE_TUN_USO) == 0) return 0;
  return udpHeader(at + offset, offset, length);
}

/** Whether source and destination addresses are the same. */
export function sameAddresses(a: usize, b: usize): bool {
  if (load<u8>(a) >> 4 != load<u8>(b) >> 4) return false;
  if (isV4(a)) return load<u64>(a, 12) == load<u64>(b, 12);
  return (
    ipv6.equal(ipv6.sourceAt(a), ipv6.sourceAt(b)) &&
    ipv6.equal(ipv6.destinationAt(a), ipv6.destinationAt(b))
  );
}

/** A hash of the 5-tuple, to look at one word per chain; equality is checked after it. */
export function tupleOf(at: usize): u32 {
  const ports = load<u32>(transportOf(at)) ^ protocolOf(at);
  if (isV4(at)) return ports ^ load<u32>(at, 12) ^ rotl<u32>(load<u32>(at, 16), 7);
  const words = load<u64>(at, 8) ^ load<u64>(at, 16) ^ load<u64>(at, 24) ^ load<u64>(at, 32);
  return ports ^ <u32>(words ^ (words >> 32));
}

/** Whether two packets that may take part are of one flow. */
export function sameFlow(a: usize, b: usize): bool {
  if (!sameAddresses(a, b) || protocolOf(a) != protocolOf(b)) return false;
  return samePorts(a, b);
}

/** Whether the ports of two packets of one IP version are the same. */
export function samePorts(a: usize, b: usize): bool {
  return load<u32>(transportOf(a)) == load<u32>(transportOf(b));
}

/** Whether the IPv4 header and the transport checksum of a packet are right. */
export function isIntact(at: usize, length: u32): bool {
  const protocol = protocolOf(at);
  if (isV4(at)) {
    if (sum.partial(at, ipv4.SIZE, 0) != 0xffff) return false;
    const bytes = length - ipv4.SIZE;
    return sum.partial(at + ipv4.SIZE, bytes, sum.pseudo4(at, protocol, bytes)) == 0xffff;
  }
  const bytes = length - ipv6.SIZE;
  return sum.partial(at + ipv6.SIZE, bytes, sum.pseudo6(at, protocol, bytes)) == 0xffff;
}

/** Whether the IP headers allow both packets in one super-packet; `count` = packets before `b`. */
export function sameIp(a: usize, b: usize, count: u32): bool {
  if (!isV4(a)) {
    // Version, traffic class and flow label; then hop limit.
    return load<u32>(a) == load<u32>(b) && ipv6.hopLimit(a) == ipv6.hopLimit(b);
  }
  if (load<u16>(a) != load<u16>(b) || ipv4.ttl(a) != ipv4.ttl(b)) return false;
  if (ipv4.fragment(a) != ipv4.fragment(b)) return false;
  return identificationFits(a, b, count);
}

/** Whether IPv4's identification allows `b` in the super-packet of `a`, `count` packets behind. */
export function identificationFits(a: usize, b: usize, count: u32): bool {
  // With don't-fragment the identification means nothing (RFC 6864 section 4.1); else it must count
  // up.
  if (ipv4.fragment(a) & ipv4.DONT_FRAGMENT) return true;
  return ((ipv4.identification(a) + count) & 0xffff) == ipv4.identification(b);
}

/**
 * Whether both TCP headers differ in nothing but sequence, checksum, FIN, PSH and the first's CWR.
 */
export function sameTcp(a: usize, b: usize): bool {
  if ((tcp.flagsAndWindow(a) ^ tcp.flagsAndWindow(b)) & ~MAY_DIFFER) return false;
  if (tcp.flags(b) & tcp.CWR || tcp.acknowledgment(a) != tcp.acknowledgment(b)) return false;
  const end = tcp.headerLength(a);
  for (let i = tcp.SIZE; i < end; i += 4) {
    if (load<u32>(a + i) != load<u32>(b + i)) return false;
  }
  return true;
}

/** TCP flags of a packet that may take part; UDP has none. */
export function flagsOf(at: usize): u32 {
  return isTcp(at) ? tcp.flags(transportOf(at)) : 0;
}

/** Whether nothing may follow this packet in its super-packet, whatever comes. */
export function ends(at: usize): bool {
  return (flagsOf(at) & ENDS) != 0;
}

/** Whether a super-packet may begin with this packet of `payload` bytes. */
export function begins(at: usize, payload: u32): bool {
  return !ends(at) && (payload >= TCP_PAYLOAD_MIN || !isTcp(at));
}
