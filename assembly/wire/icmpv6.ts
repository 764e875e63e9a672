// ICMPv6, RFC 4443: the errors that a router sends, and echo. Neighbour discovery is not here.
//
//  |     Type      |     Code      |           Checksum            |
//  |                  MTU (type 2), else unused                    |
//  |     as much of the packet in question as fits in 1280 bytes   |

const CODE: usize = 1;
const CHECKSUM_FIELD: usize = 2;
const MTU: usize = 4;

export const NEXT_HEADER: u32 = 58;
/** Header of errors and of echo. */
export const SIZE: u32 = 8;
export const UNREACHABLE: u32 = 1;
export const TOO_BIG: u32 = 2;
export const TIME_EXCEEDED: u32 = 3;
export const ECHO_REPLY: u32 = 129;
/** Types below this are errors, which must never be answered by an error (RFC 4443 2.4 e). */
export const FIRST_INFORMATIONAL: u32 = 128;
/** Redirect, which must not be answered either (RFC 4443 2.4 e.2). */
export const REDIRECT: u32 = 137;
/** An error datagram, IPv6 header included, is at most this long (RFC 4443 2.4 c). */
export const ERROR_SIZE_MAX: u32 = 1280;

export function type(at: usize): u32 {
  return load<u8>(at);
}

export function setChecksum(at: usize, field: u32): void {
  store<u16>(at, field, CHECKSUM_FIELD);
}

export function isError(value: u32): bool {
  return value < FIRST_INFORMATIONAL || value == REDIRECT;
}

/** Header of an error with checksum 0; `mtu` is 0 except for "packet too big". */
export function writeError(at: usize, errorType: u32, code: u32, mtu: u32): void {
  store<u8>(at, errorType);
  store<u8>(at, code, CODE);
  store<u16>(at, 0, CHECKSUM_FIELD);
  store<u32>(at, bswap<u32>(mtu), MTU);
}
