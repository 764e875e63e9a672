// Data-path probes: ordinary inner packets between node addresses (format: shared/layout.ts). The
// hot path answers requests and punts replies, echo replies with our identifier among them.
import * as checksum from "./checksum";
import * as packet from "./packet";
import {
  PROBE_HEARD_AT,
  PROBE_ICMP_ID,
  PROBE_KIND_AT,
  PROBE_MAGIC,
  PROBE_MTU_AT,
  PROBE_PORT,
  PROBE_REPLY,
  PROBE_REQUEST,
  PROBE_SIZE,
} from "./shared/layout";
import * as transport from "./transport";
import * as icmp from "./wire/icmp";
import * as icmpv6 from "./wire/icmpv6";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as udp from "./wire/udp";

export const NONE: u32 = 0;
export const REQUEST: u32 = 1;
export const REPLY: u32 = 2;

const ECHO_ID: usize = 4;

function ofUdp(at: usize, length: u32): u32 {
  if (length < udp.SIZE + <u32>PROBE_SIZE || udp.destinationPort(at) !== PROBE_PORT) return NONE;
  const payload = at + udp.SIZE;
  const size = udp.length(at);
  if (size > length || size < udp.SIZE + <u32>PROBE_SIZE) return NONE;
  if (bswap<u32>(load<u32>(payload)) !== PROBE_MAGIC) return NONE;
  const kind: u32 = load<u8>(payload, PROBE_KIND_AT);
  if (kind === PROBE_REQUEST) return REQUEST;
  return kind === PROBE_REPLY ? REPLY : NONE;
}

function ofEcho(at: usize, length: u32, type: u32): u32 {
  if (length < icmp.SIZE || load<u8>(at) !== type) return NONE;
  return bswap<u16>(load<u16>(at, ECHO_ID)) === PROBE_ICMP_ID ? REPLY : NONE;
}

/** What a checked packet to our node address is to the prober: REQUEST, REPLY or NONE. */
export function classify(innerAt: usize, length: u32): u32 {
  const found = transport.find(innerAt, length);
  if (found < 0) return NONE;
  const protocol = transport.protocolOf(found);
  const offset = transport.offsetOf(found);
  const at = innerAt + offset;
  if (protocol === udp.PROTOCOL) return ofUdp(at, length - offset);
  const isV4 = packet.isIpv4(innerAt);
  if (isV4 && protocol === ipv4.ICMP) return ofEcho(at, length - offset, icmp.ECHO_REPLY);
  if (!isV4 && protocol === ipv6.ICMPV6) return ofEcho(at, length - offset, icmpv6.ECHO_REPLY);
  return NONE;
}

/** What a request says of hearing us: PROBE_HEARD_*, 0 where it says nothing. */
export function heard(innerAt: usize, length: u32): u32 {
  const offset = transport.offsetOf(transport.find(innerAt, length));
  return load<u8>(innerAt + offset + udp.SIZE, PROBE_HEARD_AT);
}

/** Sets a fresh TTL or hop limit. */
function renew(innerAt: usize): void {
  if (!packet.isIpv4(innerAt)) {
    ipv6.setHopLimit(innerAt, ipv6.HOP_LIMIT_DEFAULT);
    return;
  }
  const before = ipv4.ttlAndProtocol(innerAt);
  ipv4.setTtl(innerAt, ipv4.TTL_DEFAULT);
  const field = checksum.update(ipv4.checksum(innerAt), before, ipv4.ttlAndProtocol(innerAt));
  ipv4.setChecksum(innerAt, field);
}

/** Takes `bytes` off the end of the IP packet, which has as many: lengths, and IPv4's checksum. */
function shorten(innerAt: usize, bytes: u32): void {
  if (!packet.isIpv4(innerAt)) {
    ipv6.setPayloadLength(innerAt, ipv6.payloadLength(innerAt) - bytes);
    return;
  }
  const total = ipv4.totalLength(innerAt);
  const before = bswap<u16>(<u16>total);
  const after = bswap<u16>(<u16>(total - bytes));
  ipv4.setTotalLength(innerAt, total - bytes);
  ipv4.setChecksum(innerAt, checksum.update(ipv4.checksum(innerAt), before, after));
}

/** Takes the padding off the datagram at `udpAt`, as long as it says. Returns its checksum then. */
function cutPadding(udpAt: usize, field: u32): u32 {
  const size = udp.SIZE + <u32>PROBE_SIZE;
  const length = udp.length(udpAt);
  if (length <= size) return field;
  const padding = checksum.fold(checksum.partial(udpAt + size, length - size, 0));
  const before = bswap<u16>(<u16>length);
  const after = bswap<u16>(<u16>size);
  udp.setLength(udpAt, size);
  // The length stands in the header and in the pseudo-header.
  return checksum.update(
    checksum.update(checksum.update(field, padding, 0), before, after),
    before,
    after,
  );
}

/** Replaces a word of the datagram's payload. Returns its checksum then. */
function replace(at: usize, value: u32, field: u32): u32 {
  const before: u32 = load<u16>(at);
  store<u16>(at, value);
  return checksum.update(field, before, value);
}

/**
 * Turns a request into its reply, in place, without the padding and with `mtu`, what the way back
 * is used for; checksums are updated, never made good. Returns the reply's length.
 */
export function turnRound(innerAt: usize, length: u32, mtu: u32): u32 {
  const offset = transport.offsetOf(transport.find(innerAt, length));
  const udpAt = innerAt + offset;
  if (packet.isIpv4(innerAt)) ipv4.swapAddresses(innerAt);
  else ipv6.swapAddresses(innerAt);
  udp.swapPorts(udpAt);
  renew(innerAt);
  const payload = udpAt + udp.SIZE;
  const had = udp.checksum(udpAt);
  const kind = (<u32>load<u16>(payload, PROBE_KIND_AT) & 0xff00) | PROBE_REPLY;
  let field = cutPadding(udpAt, had);
  field = replace(payload + PROBE_KIND_AT, kind, field);
  field = replace(payload + PROBE_MTU_AT, bswap<u16>(<u16>min<u32>(mtu, 0xffff)), field);
  if (had !== 0) udp.setChecksum(udpAt, field === 0 ? 0xffff : field);
  const short = offset + udp.SIZE + <u32>PROBE_SIZE;
  shorten(innerAt, length - short);
  return short;
}
