// TCP header, RFC 9293 section 3.1, and the options that meshd reads (RFC 9293 section 3.2).
//
//  0                   1                   2                   3
//  |          Source Port          |       Destination Port        |
//  |                        Sequence Number                        |
//  |                    Acknowledgment Number                      |
//  | Offset | Rsrvd |C|E|U|A|P|R|S|F|            Window             |
//  |           Checksum            |         Urgent Pointer        |
//  |                           Options                             |

const SEQUENCE: usize = 4;
const ACKNOWLEDGMENT: usize = 8;
const OFFSET: usize = 12;
const FLAGS: usize = 13;
const CHECKSUM_FIELD: usize = 16;

export const PROTOCOL: u32 = 6;
export const SIZE: u32 = 20;
/** Offset of the checksum field: csum_offset of a virtio_net_hdr. */
export const CHECKSUM: u32 = 16;
export const FIN: u32 = 0x01;
export const SYN: u32 = 0x02;
export const RST: u32 = 0x04;
export const PSH: u32 = 0x08;
export const URG: u32 = 0x20;
export const CWR: u32 = 0x80;

export const OPTION_END: u32 = 0;
export const OPTION_NONE: u32 = 1;
/** Maximum segment size: kind 2, length 4 (RFC 9293 section 3.7.1). */
export const OPTION_MSS: u32 = 2;
export const OPTION_MSS_LENGTH: u32 = 4;

/** Whether a whole TCP header with its options stands in `length` bytes. */
export function fits(at: usize, length: u32): bool {
  return length >= SIZE && headerLength(at) >= SIZE && headerLength(at) <= length;
}

export function sequence(at: usize): u32 {
  return bswap<u32>(load<u32>(at, SEQUENCE));
}

export function setSequence(at: usize, value: u32): void {
  store<u32>(at, bswap<u32>(value), SEQUENCE);
}

export function acknowledgment(at: usize): u32 {
  return bswap<u32>(load<u32>(at, ACKNOWLEDGMENT));
}

/** Header length in bytes, options included. */
export function headerLength(at: usize): u32 {
  return (load<u8>(at, OFFSET) >> 4) * 4;
}

export function flags(at: usize): u32 {
  return load<u8>(at, FLAGS);
}

export function setFlags(at: usize, value: u32): void {
  store<u8>(at, value, FLAGS);
}

/** Offset, reserved bits and flags as one word in memory byte order, as a checksum adds it. */
export function offsetAndFlags(at: usize): u32 {
  return load<u16>(at, OFFSET);
}

/** Offset, reserved bits, flags and window as one word, memory byte order. */
export function flagsAndWindow(at: usize): u32 {
  return load<u32>(at, OFFSET);
}

/** The checksum in memory byte order. */
export function checksum(at: usize): u32 {
  return load<u16>(at, CHECKSUM_FIELD);
}

export function setChecksum(at: usize, field: u32): void {
  store<u16>(at, field, CHECKSUM_FIELD);
}

/** Sum of what `clearVarying` clears, as a checksum adds it. */
export function varyingSum(at: usize): u64 {
  return <u64>load<u32>(at, SEQUENCE) + load<u16>(at, OFFSET) + load<u16>(at, CHECKSUM_FIELD);
}

/** Sets to zero: sequence, offset and flags, checksum. */
export function clearVarying(at: usize): void {
  store<u32>(at, 0, SEQUENCE);
  store<u16>(at, 0, OFFSET);
  store<u16>(at, 0, CHECKSUM_FIELD);
}
