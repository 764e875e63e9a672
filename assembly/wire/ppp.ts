// PPP's header inside PPTP, RFC 1661 section 2 and RFC 1662 section 3.1: no flags, no checksum.
//
//  | address FF, control 03 (may be left out) | protocol, 2 bytes, or 1 where the first is 0 |
//
// The low byte of a protocol number is odd, the high one even: so its length shows.

export const IPV4: u32 = 0x21;
export const IPV6: u32 = 0x57;
/** Compressed, in PPTP: encrypted by MPPE. */
export const COMPRESSED: u32 = 0xfd;
export const LCP: u32 = 0xc021;
export const PAP: u32 = 0xc023;
export const CHAP: u32 = 0xc223;
/** Numbers below this are of network layers' packets, those above of what negotiates them. */
export const CONTROL_MIN: u32 = 0x4000;

/** FF 03, as they stand in memory. */
const ADDRESS_CONTROL: u32 = 0x03ff;
export const ADDRESS_SIZE: u32 = 2;

/** Bytes of address and control before the frame of `length` bytes at `at`. */
export function addressLength(at: usize, length: u32): u32 {
  return length >= ADDRESS_SIZE && load<u16>(at) === ADDRESS_CONTROL ? ADDRESS_SIZE : 0;
}

/** Bytes of the protocol number of the frame of `length` bytes at `at`; 0: there is none. */
export function protocolLength(at: usize, length: u32): u32 {
  if (length === 0) return 0;
  if ((load<u8>(at) & 1) !== 0) return 1;
  return length >= 2 && (load<u8>(at, 1) & 1) !== 0 ? 2 : 0;
}

/** The protocol number of `size` bytes at `at`. */
export function protocol(at: usize, size: u32): u32 {
  return size === 1 ? load<u8>(at) : <u32>bswap<u16>(load<u16>(at));
}

/** Makes the number of one byte at `at` one of two, by the byte before it. */
export function lengthen(at: usize): void {
  store<u8>(at - 1, 0);
}

/** Writes address and control. */
export function writeAddress(at: usize): void {
  store<u16>(at, ADDRESS_CONTROL);
}
