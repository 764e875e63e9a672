// ICMP for IPv4, RFC 792: the errors that a router sends (RFC 1812 section 4.3, RFC 1191), and
// echo.
//
//  |     Type      |     Code      |           Checksum            |
//  |             unused            |         Next-Hop MTU          |   (type 3 code 4, RFC 1191)
//  |      IP header of the packet in question and what follows     |

const CODE: usize = 1;
const CHECKSUM_FIELD: usize = 2;
const REST: usize = 4;
const MTU: usize = 6;

export const PROTOCOL: u32 = 1;
/** Header of errors and of echo. */
export const SIZE: u32 = 8;
export const ECHO_REPLY: u32 = 0;
export const UNREACHABLE: u32 = 3;
export const SOURCE_QUENCH: u32 = 4;
export const REDIRECT: u32 = 5;
export const TIME_EXCEEDED: u32 = 11;
export const PARAMETER_PROBLEM: u32 = 12;
export const CODE_FRAGMENTATION_NEEDED: u32 = 4;
/** An error datagram, IP header included, is at most this long (RFC 1812 section 4.3.2.3). */
export const ERROR_SIZE_MAX: u32 = 576;

export function type(at: usize): u32 {
  return load<u8>(at);
}

export function setChecksum(at: usize, field: u32): void {
  store<u16>(at, field, CHECKSUM_FIELD);
}

/** Whether the type is an error, which must never be answered by an error (RFC 1122 3.2.2). */
export function isError(value: u32): bool {
  if (value == UNREACHABLE || value == SOURCE_QUENCH || value == REDIRECT) return true;
  return value == TIME_EXCEEDED || value == PARAMETER_PROBLEM;
}

/** Header of an error with checksum 0; `mtu` is 0 except for "fragmentation needed". */
export function writeError(at: usize, errorType: u32, code: u32, mtu: u32): void {
  store<u8>(at, errorType);
  store<u8>(at, code, CODE);
  store<u16>(at, 0, CHECKSUM_FIELD);
  store<u16>(at, 0, REST);
  store<u16>(at, bswap<u16>(<u16>mtu), MTU);
}
