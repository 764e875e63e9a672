// Lowers the MSS option of TCP SYN and SYN-ACK to what the tunnel carries (RFC 9293 section 3.7.1),
// for senders that never see an ICMP error. A header or option list that is damaged is left alone.
import { swapSum, update } from "./checksum";
import * as transport from "./transport";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as tcp from "./wire/tcp";

/** Offset of the MSS option in the TCP header, or 0 when the list has none or is damaged. */
function findOption(tcpAt: usize): u32 {
  const end = tcp.headerLength(tcpAt);
  let offset = tcp.SIZE;
  while (offset < end) {
    const kind: u32 = load<u8>(tcpAt + offset);
    if (kind == tcp.OPTION_END) return 0;
    if (kind == tcp.OPTION_NONE) {
      offset++;
      continue;
    }
    if (offset + 2 > end) return 0;
    const length: u32 = load<u8>(tcpAt + offset, 1);
    if (length < 2 || offset + length > end) return 0;
    if (kind == tcp.OPTION_MSS) return length == tcp.OPTION_MSS_LENGTH ? offset : 0;
    offset += length;
  }
  return 0;
}

/** Replaces the 16-bit value at `offset` of the TCP header and mends the checksum. */
function replace(tcpAt: usize, offset: u32, value: u32): void {
  const before: u32 = load<u16>(tcpAt + offset);
  const after: u32 = bswap<u16>(<u16>value);
  store<u16>(tcpAt + offset, after);
  // An odd offset puts the value across two words: its bytes count the other way round.
  const from = offset & 1 ? swapSum(before) : before;
  const to = offset & 1 ? swapSum(after) : after;
  tcp.setChecksum(tcpAt, update(tcp.checksum(tcpAt), from, to));
}

/**
 * Lowers the MSS that the inner packet announces to `mtu` - 40 (IPv4) or `mtu` - 60 (IPv6); never
 * raises it. Packets other than TCP with SYN are left alone, and so are fragments.
 */
export function clamp(innerAt: usize, length: u32, mtu: u32): void {
  const found = transport.find(innerAt, length);
  if (found < 0 || transport.protocolOf(found) != tcp.PROTOCOL) return;
  const offset = transport.offsetOf(found);
  const tcpAt = innerAt + offset;
  if (!tcp.fits(tcpAt, length - offset) || (tcp.flags(tcpAt) & tcp.SYN) == 0) return;
  const headers = (load<u8>(innerAt) >> 4 == 4 ? ipv4.SIZE : ipv6.SIZE) + tcp.SIZE;
  const option = findOption(tcpAt);
  if (option == 0 || mtu <= headers) return;
  const most = mtu - headers;
  if (bswap<u16>(load<u16>(tcpAt + option, 2)) > most) replace(tcpAt, option + 2, most);
}
