// Where the transport header of an inner packet stands, through IPv6 extension headers (RFC 8200
// section 4), and which protocol it is. For checksums and segmentation: fragments have none.
import { Drop } from "./shared/drop";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

const HOP_BY_HOP: u32 = 0;
const ROUTING: u32 = 43;
const DESTINATION: u32 = 60;
/** More extension headers than this in one packet are not a packet that anybody sends. */
const EXTENSIONS_MAX: u32 = 8;
/** The protocol stands in the bits above an offset of at most 65,535. */
const PROTOCOL_SHIFT: u32 = 16;

/** Transport protocol of a value that `find` returned. */
export function protocolOf(found: i32): u32 {
  return <u32>found >> PROTOCOL_SHIFT;
}

/** Offset of the transport header from `innerAt`, of a value that `find` returned. */
export function offsetOf(found: i32): u32 {
  return <u32>found & 0xffff;
}

/** IPv4: behind the options. */
function find4(innerAt: usize, length: u32): i32 {
  const header = ipv4.headerLength(innerAt);
  if (length < ipv4.SIZE || header < ipv4.SIZE || header > length) return -Drop.BAD_IP_HEADER;
  if (ipv4.isFragment(innerAt)) return -Drop.BAD_LENGTH;
  return (ipv4.protocol(innerAt) << PROTOCOL_SHIFT) | header;
}

/** IPv6: behind hop-by-hop, destination and used-up routing headers. */
function find6(innerAt: usize, length: u32): i32 {
  if (length < ipv6.SIZE) return -Drop.TOO_SHORT;
  let protocol = ipv6.nextHeader(innerAt);
  let offset = ipv6.SIZE;
  for (let i: u32 = 0; i < EXTENSIONS_MAX; i++) {
    if (protocol != HOP_BY_HOP && protocol != ROUTING && protocol != DESTINATION) {
      return (protocol << PROTOCOL_SHIFT) | offset;
    }
    if (offset + 8 > length) return -Drop.BAD_LENGTH;
    const at = innerAt + offset;
    // With segments left, the pseudo-header's destination is not the one in the IPv6 header.
    if (protocol == ROUTING && load<u8>(at, 3) != 0) return -Drop.BAD_LENGTH;
    protocol = load<u8>(at);
    offset += 8 + 8 * <u32>load<u8>(at, 1);
    if (offset > length) return -Drop.BAD_LENGTH;
  }
  return -Drop.BAD_LENGTH;
}

/**
 * Offset and protocol of the transport header of the IP packet at `innerAt` (see `offsetOf`,
 * `protocolOf`), or -Drop for fragments and damaged headers. The transport itself may be cut short.
 */
export function find(innerAt: usize, length: u32): i32 {
  if (length < ipv4.SIZE) return -Drop.TOO_SHORT;
  const version = load<u8>(innerAt) >> 4;
  if (version == 4) return find4(innerAt, length);
  return version == 6 ? find6(innerAt, length) : -Drop.BAD_IP_VERSION;
}
