// GRE header, RFC 2784 section 2.1 with key and sequence number, RFC 2890 section 2.
//
//  |C|R|K|S|s|Recur|  Flags  | Ver |         Protocol Type         |
//  |      Checksum (optional)      |       Reserved1 (optional)    |
//  |                         Key (optional)                        |
//  |                  Sequence Number (optional)                   |
//
// C, K and S say which of the optional words are there, in this order. R and s are RFC 1701's
// source routes. Version 1 is another header (RFC 2637, PPTP).

const TYPE: usize = 2;
const CHECKSUM: usize = 4;

export const PROTOCOL: u32 = 47;
export const SIZE: u32 = 4;
/** The first byte's bits. */
export const HAS_CHECKSUM: u32 = 0x80;
export const HAS_KEY: u32 = 0x20;
export const HAS_SEQUENCE: u32 = 0x10;
/** R, s and the first of Recur: bits 1 to 5 but K and S must be zero (RFC 2784 section 2.3). */
const FORBIDDEN: u32 = 0x4c;
const VERSION: u32 = 7;

export function version(at: usize): u32 {
  return load<u8>(at, 1) & VERSION;
}

/** C, K, S and the bits that must be zero. */
export function flags(at: usize): u32 {
  return load<u8>(at);
}

/** Whether the flags ask for what only RFC 1701 knows; the other reserved bits are ignored. */
export function isRouted(flags: u32): bool {
  return (flags & FORBIDDEN) !== 0;
}

/** Bytes of a header with these flags. */
export function length(flags: u32): u32 {
  return SIZE + (((flags >> 7) & 1) + ((flags >> 5) & 1) + ((flags >> 4) & 1)) * 4;
}

/** Ethertype of the payload; 0x6558 is an Ethernet frame. */
export function type(at: usize): u32 {
  return bswap<u16>(load<u16>(at, TYPE));
}

export function setType(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value), TYPE);
}

/** Stores a checksum in memory byte order. */
export function setChecksum(at: usize, field: u32): void {
  store<u16>(at, field, CHECKSUM);
}

/** The key of a header with the flag for it. */
export function key(at: usize, flags: u32): u32 {
  return bswap<u32>(load<u32>(at + SIZE + ((flags >> 7) & 1) * 4));
}

/** The sequence number of a header with the flag for it: the last word. */
export function sequence(at: usize, flags: u32): u32 {
  return bswap<u32>(load<u32>(at + length(flags) - 4));
}

export function setSequence(at: usize, flags: u32, value: u32): void {
  store<u32>(at + length(flags) - 4, bswap<u32>(value));
}
