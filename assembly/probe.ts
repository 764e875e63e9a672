// Data-path probes: ordinary inner packets between node addresses (format: shared/layout.ts). The
// hot path answers requests and punts replies, echo replies with our identifier among them.
import * as checksum from "./checksum";
import * as packet from "./packet";
import {
  PROBE_ICMP_ID,
  PROBE_KIND_AT,
  PROBE_MAGIC,
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
  if (udp.length(at) > length || bswap<u32>(load<u32>(payload)) !== PROBE_MAGIC) return NONE;
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

/** Turns a request into its reply, in place; checksums are updated, never made good. */
export function turnRound(innerAt: usize, length: u32): void {
  const udpAt = innerAt + transport.offsetOf(transport.find(innerAt, length));
  if (packet.isIpv4(innerAt)) ipv4.swapAddresses(innerAt);
  else ipv6.swapAddresses(innerAt);
  udp.swapPorts(udpAt);
  renew(innerAt);
  const kindAt = udpAt + udp.SIZE + PROBE_KIND_AT;
  const before: u32 = load<u16>(kindAt);
  store<u8>(kindAt, PROBE_REPLY);
  const field = udp.checksum(udpAt);
  if (field === 0) return;
  const updated = checksum.update(field, before, load<u16>(kindAt));
  udp.setChecksum(udpAt, updated === 0 ? 0xffff : updated);
}
