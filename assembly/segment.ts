// Segmentation of TSO and USO super-packets into wire-size inner packets (what a NIC would do),
// and the checksum that the kernel left unfinished. Output is laid out for one UDP_SEGMENT send.
import * as sum from "./checksum";
import { Drop } from "./shared/drop";
import * as transport from "./transport";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as tcp from "./wire/tcp";
import * as udp from "./wire/udp";
import * as vnet from "./wire/vnet";

/**
 * TCP payload cut into pieces smaller than this is refused: no path has so small an MTU. A program
 * may well send datagrams of one byte by UDP_SEGMENT.
 */
const TCP_SIZE_MIN: u32 = 8;

/** Bytes up to the transport payload, or -Drop.BAD_OFFLOAD. */
function tcpHeaderLength(innerAt: usize, length: u32, offset: u32): i32 {
  const tcpAt = innerAt + offset;
  if (!tcp.fits(tcpAt, length - offset)) return -Drop.BAD_OFFLOAD;
  // A SYN or RST cannot be repeated in every segment.
  if (tcp.flags(tcpAt) & (tcp.SYN | tcp.RST)) return -Drop.BAD_OFFLOAD;
  return offset + tcp.headerLength(tcpAt);
}

/**
 * Bytes of inner IP and transport headers (with options and extension headers) of a super-packet,
 * or -Drop.BAD_OFFLOAD where `kind` (virtio gso_type without its ECN bit) does not fit the packet.
 */
export function segmentHeaderLength(innerAt: usize, length: u32, kind: u32): i32 {
  const found = transport.find(innerAt, length);
  if (found < 0) return -Drop.BAD_OFFLOAD;
  const version = load<u8>(innerAt) >> 4;
  const protocol = transport.protocolOf(found);
  const offset = transport.offsetOf(found);
  if (kind == vnet.GSO_UDP && protocol == udp.PROTOCOL) {
    return offset + udp.SIZE <= length ? offset + udp.SIZE : -Drop.BAD_OFFLOAD;
  }
  if (protocol != tcp.PROTOCOL) return -Drop.BAD_OFFLOAD;
  if (kind == vnet.GSO_TCP4 && version == 4) return tcpHeaderLength(innerAt, length, offset);
  if (kind == vnet.GSO_TCP6 && version == 6) return tcpHeaderLength(innerAt, length, offset);
  return -Drop.BAD_OFFLOAD;
}

/**
 * Whether the packet is TCP with a right checksum and nothing urgent: one that may be cut. What
 * comes damaged must not be made good by the cutting.
 */
export function isWholeTcp(innerAt: usize, length: u32): bool {
  const found = transport.find(innerAt, length);
  if (found < 0 || transport.protocolOf(found) != tcp.PROTOCOL) return false;
  const offset = transport.offsetOf(found);
  const bytes = length - offset;
  const at = innerAt + offset;
  if (!tcp.fits(at, bytes) || (tcp.flags(at) & tcp.URG) != 0) return false;
  const isV4 = load<u8>(innerAt) >> 4 == 4;
  const pseudo = isV4
    ? sum.pseudo4(innerAt, tcp.PROTOCOL, bytes)
    : sum.pseudo6(innerAt, tcp.PROTOCOL, bytes);
  return sum.partial(at, bytes, pseudo) == 0xffff;
}

/** How many segments a payload makes; an empty one makes one. Size 0 makes more than any limit. */
export function segmentCount(payload: u32, size: u32): u32 {
  if (size == 0) return u32.MAX_VALUE;
  return payload <= size ? 1 : (payload + size - 1) / size;
}

/** Sum of an IPv4 header without what differs between segments. */
function ipv4Base(innerAt: usize): u32 {
  const whole = sum.partial(innerAt, ipv4.headerLength(innerAt), 0);
  let base = sum.without(whole, ipv4.checksum(innerAt));
  base = sum.without(base, bswap<u16>(<u16>ipv4.totalLength(innerAt)));
  return sum.without(base, bswap<u16>(<u16>ipv4.identification(innerAt)));
}

/** Sum of pseudo-header and transport header without what differs between segments. */
function transportBase(innerAt: usize, at: usize, header: u32, isTcp: bool): u32 {
  const isV4 = load<u8>(innerAt) >> 4 == 4;
  const protocol = isTcp ? tcp.PROTOCOL : udp.PROTOCOL;
  const pseudo = isV4 ? sum.pseudo4(innerAt, protocol, 0) : sum.pseudo6(innerAt, protocol, 0);
  const whole = sum.partial(at, header, pseudo);
  if (!isTcp) {
    return sum.without(sum.without(whole, udp.checksum(at)), bswap<u16>(<u16>udp.length(at)));
  }
  const base = sum.without(sum.without(whole, tcp.checksum(at)), tcp.offsetAndFlags(at));
  return sum.without(base, sum.fold(bswap<u32>(tcp.sequence(at))));
}

/** Writes the lengths, identification and header checksum of one segment's IP header. */
function patchIp(at: usize, length: u32, index: u32, base: u32): void {
  if (load<u8>(at) >> 4 == 6) {
    ipv6.setPayloadLength(at, length - ipv6.SIZE);
    return;
  }
  const id = (ipv4.identification(at) + index) & 0xffff;
  ipv4.setTotalLength(at, length);
  ipv4.setIdentification(at, id);
  const words = <u64>bswap<u16>(<u16>length) + bswap<u16>(<u16>id);
  ipv4.setChecksum(at, sum.finish(sum.fold(words + base)));
}

/** Flags of one segment: FIN and PSH belong to the last, CWR to the first (RFC 3168 6.1.2). */
function segmentFlags(flags: u32, isFirst: bool, isLast: bool): u32 {
  const kept = isFirst ? flags : flags & ~tcp.CWR;
  return isLast ? kept : kept & ~(tcp.FIN | tcp.PSH);
}

/** Writes sequence, flags and checksum of one TCP segment; `total` = base, length and payload. */
function patchTcp(at: usize, advance: u32, flags: u32, total: u64): void {
  const sequence = tcp.sequence(at) + advance;
  tcp.setSequence(at, sequence);
  tcp.setFlags(at, flags);
  const words = total + bswap<u32>(sequence) + tcp.offsetAndFlags(at);
  tcp.setChecksum(at, sum.finish(sum.fold(words)));
}

/** Writes length and checksum of one UDP segment. */
function patchUdp(at: usize, length: u32, total: u64): void {
  udp.setLength(at, length);
  udp.setChecksum(at, sum.finishNonZero(sum.fold(total + bswap<u16>(<u16>length))));
}

/**
 * Cuts the super-packet at `innerAt` into segments of `size` payload bytes. Segment i's inner
 * packet starts at outAt + i * (gap + header + size) + gap; all are equal in length but the last.
 * `kind` is the virtio gso_type without its ECN bit. Returns how many segments (1 or more), or
 * -Drop. The caller has checked the room: segmentHeaderLength and segmentCount say how much is
 * written.
 */
export function segment(
  innerAt: usize,
  length: u32,
  kind: u32,
  size: u32,
  outAt: usize,
  gap: u32,
): i32 {
  const found = segmentHeaderLength(innerAt, length, kind);
  if (found < 0 || size == 0) return -Drop.BAD_OFFLOAD;
  const header: u32 = found;
  const payload = length - header;
  const isTcp = kind != vnet.GSO_UDP;
  if (isTcp && size < TCP_SIZE_MIN && payload > size) return -Drop.BAD_OFFLOAD;
  const offset = transport.offsetOf(transport.find(innerAt, length));
  const flags = tcp.flags(innerAt + offset);
  const ipBase = load<u8>(innerAt) >> 4 == 4 ? ipv4Base(innerAt) : 0;
  const base = transportBase(innerAt, innerAt + offset, header - offset, isTcp);
  const count = segmentCount(payload, size);
  for (let i: u32 = 0; i < count; i++) {
    const done = i * size;
    const bytes = min(size, payload - done);
    const at = outAt + i * (gap + header + size) + gap;
    const transportLength = header - offset + bytes;
    sum.copy(at, innerAt, header);
    patchIp(at, header + bytes, i, ipBase);
    const total = <u64>base + sum.copyPartial(at + header, innerAt + header + done, bytes, 0);
    if (isTcp) {
      const own = segmentFlags(flags, i == 0, i + 1 == count);
      patchTcp(at + offset, done, own, total + bswap<u32>(transportLength));
    } else {
      patchUdp(at + offset, transportLength, total + bswap<u32>(transportLength));
    }
  }
  return count;
}

/**
 * Completes the checksum of a single packet that TUN gave with NEEDS_CSUM: the field holds the
 * pseudo-header's sum, and everything from `start` on is added. Returns `length` or
 * -Drop.BAD_OFFLOAD.
 */
export function completeChecksum(innerAt: usize, length: u32, start: u32, offset: u32): i32 {
  if (start < ipv4.SIZE || start + offset + 2 > length) return -Drop.BAD_OFFLOAD;
  // As the kernel does it: FFFF is as good as 0 for TCP, and needed for UDP.
  const field = sum.finishNonZero(sum.partial(innerAt + start, length - start, 0));
  store<u16>(innerAt + start + offset, field);
  return length;
}
