// UDP header, RFC 768.
//
//  |          Source Port          |       Destination Port        |
//  |            Length             |           Checksum            |

const DESTINATION_PORT: usize = 2;
const LENGTH: usize = 4;
const CHECKSUM_FIELD: usize = 6;

export const PROTOCOL: u32 = 17;
export const SIZE: u32 = 8;
/** Offset of the checksum field: csum_offset of a virtio_net_hdr. */
export const CHECKSUM: u32 = 6;

export function destinationPort(at: usize): u32 {
  return bswap<u16>(load<u16>(at, DESTINATION_PORT));
}

/** Exchanges the ports; the checksum does not change by that. */
export function swapPorts(at: usize): void {
  store<u32>(at, rotl<u32>(load<u32>(at), 16));
}

/** Length in bytes, header included. */
export function length(at: usize): u32 {
  return bswap<u16>(load<u16>(at, LENGTH));
}

/** Writes a whole header, all but its checksum, which is zero. */
export function write(at: usize, from: u32, to: u32, length: u32): void {
  store<u16>(at, bswap<u16>(<u16>from));
  store<u16>(at, bswap<u16>(<u16>to), DESTINATION_PORT);
  setLength(at, length);
  setChecksum(at, 0);
}

export function setLength(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value), LENGTH);
}

/** The checksum in memory byte order; 0 = none (IPv4 only). */
export function checksum(at: usize): u32 {
  return load<u16>(at, CHECKSUM_FIELD);
}

/** Stores a checksum that is in memory byte order. */
export function setChecksum(at: usize, field: u32): void {
  store<u16>(at, field, CHECKSUM_FIELD);
}

/** Sum of what `clearVarying` clears, as a checksum adds it. */
export function varyingSum(at: usize): u64 {
  return load<u32>(at, LENGTH);
}

/** Sets to zero what differs between the packets of a flow: length and checksum. */
export function clearVarying(at: usize): void {
  store<u32>(at, 0, LENGTH);
}
