// Inner packets of raw sockets whose transport checksum was left for a network card to finish: the
// sender's kernel is on this machine (veth, virtual machine), or ours joined segments (GRO). The
// field holds the pseudo-header's sum then. Why that is taken: docs/adr/0025-raw-sockets.md.
import * as checksum from "./checksum";
import { closeFlows } from "./coalesce";
import { toTun } from "./output";
import * as packet from "./packet";
import { completeChecksum } from "./segment";
import { Drop } from "./shared/drop";
import * as transport from "./transport";
import * as tcp from "./wire/tcp";
import * as udp from "./wire/udp";
import * as vnet from "./wire/vnet";
import { worker } from "./worker";

/** Segments of this size and headers fit every path that carries IPv6 (RFC 8200 section 5). */
const SIZE_MAX: u32 = 1280;

/** Sum of the pseudo-header of a checked packet with `bytes` behind the IP headers. */
function pseudoSum(innerAt: usize, protocol: u32, bytes: u32): u32 {
  return packet.isIpv4(innerAt)
    ? checksum.pseudo4(innerAt, protocol, bytes)
    : checksum.pseudo6(innerAt, protocol, bytes);
}

/**
 * Whether the `length` bytes at `innerAt` are a TCP packet whose checksum was left: as the kernel's
 * GRO leaves it that has joined segments, and what stood around each of them is the first one's.
 */
export function isLeftTcp(innerAt: usize, length: u32): bool {
  const total = packet.check(innerAt, length);
  const found = total < 0 ? -1 : transport.find(innerAt, total);
  if (found < 0 || transport.protocolOf(found) !== tcp.PROTOCOL) return false;
  const offset = transport.offsetOf(found);
  const bytes = <u32>total - offset;
  if (bytes < tcp.SIZE) return false;
  return tcp.checksum(innerAt + offset) === pseudoSum(innerAt, tcp.PROTOCOL, bytes);
}

/**
 * Finishes the checksum of a checked packet where it was left. Returns 0, or the offset of its TCP
 * header where it is more than `mtu` bytes: segments that nobody has cut; or -Drop where nobody can
 * tell any more what datagrams it was.
 */
export function finish(innerAt: usize, length: u32, mtu: u32): i32 {
  const found = transport.find(innerAt, length);
  if (found < 0) return 0;
  const protocol = transport.protocolOf(found);
  const isTcp = protocol === tcp.PROTOCOL;
  if (!isTcp && protocol !== udp.PROTOCOL) return 0;
  const offset = transport.offsetOf(found);
  const field = isTcp ? tcp.CHECKSUM : udp.CHECKSUM;
  if (offset + field + 2 > length) return 0;
  const bytes = length - offset;
  const at = innerAt + offset;
  if (<u32>load<u16>(at + field) !== pseudoSum(innerAt, protocol, bytes)) return 0;
  if (length > mtu) {
    const isWhole = isTcp && tcp.fits(at, bytes) && bytes > tcp.headerLength(at);
    return isWhole ? offset : -Drop.BAD_OFFLOAD;
  }
  // A finished checksum that happens to be equal stays what it is.
  completeChecksum(innerAt, length, offset, field);
  return 0;
}

/**
 * Hands segments that nobody has cut to TUN as a super-packet. What size they had is not known: one
 * that every receiver of the mesh takes. The bytes of a vnet header before it are free.
 */
export function deliver(innerAt: usize, length: u32, offset: u32, mtu: u32, direction: u32): void {
  const tcpAt = innerAt + offset;
  const header = offset + tcp.headerLength(tcpAt);
  const most = min(mtu, SIZE_MAX);
  const size = most > header + 8 ? most - header : 8;
  let type = packet.isIpv4(innerAt) ? vnet.GSO_TCP4 : vnet.GSO_TCP6;
  if (tcp.flags(tcpAt) & tcp.CWR) type |= vnet.GSO_ECN;
  closeFlows(worker, innerAt);
  vnet.write(innerAt - vnet.SIZE, type, header, size, offset, tcp.CHECKSUM);
  toTun(innerAt - vnet.SIZE, vnet.SIZE + length, length, direction);
}
