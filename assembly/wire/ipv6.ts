// IPv6 header, RFC 8200 section 3.
//
//  |Version| Traffic Class |           Flow Label                  |
//  |         Payload Length        |  Next Header  |   Hop Limit   |
//  |                         Source Address                        |   16 bytes
//  |                      Destination Address                      |   16 bytes

import { Drop } from "../shared/drop";

const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

export const SIZE: u32 = 40;
export const ICMPV6: u32 = 58;
/** IP protocols of a packet inside a packet, by its version (RFC 2473 section 3.1). */
export const IPV4_IN_IP: u32 = 4;
export const IN_IP: u32 = 41;
/** What every link carries (RFC 8200 section 5). */
export const MTU_MIN: u32 = 1280;
export const HOP_LIMIT_DEFAULT: u32 = 64;

/**
 * Checks a packet that starts with version 6 and has `length` bytes at hand.
 * Returns its total length, or -Drop. Jumbograms (payload length 0) end up as bare headers.
 */
export function check(at: usize, length: u32): i32 {
  if (length < SIZE) return -Drop.TOO_SHORT;
  const total = SIZE + payloadLength(at);
  return total > length ? -Drop.BAD_LENGTH : total;
}

export function trafficClass(at: usize): u32 {
  return (bswap<u16>(load<u16>(at)) >> 4) & 0xff;
}

export function payloadLength(at: usize): u32 {
  return bswap<u16>(load<u16>(at, PAYLOAD_LENGTH));
}

export function setPayloadLength(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value), PAYLOAD_LENGTH);
}

export function nextHeader(at: usize): u32 {
  return load<u8>(at, NEXT_HEADER);
}

export function hopLimit(at: usize): u32 {
  return load<u8>(at, HOP_LIMIT);
}

export function setHopLimit(at: usize, value: u32): void {
  store<u8>(at, value, HOP_LIMIT);
}

/** Where the source address stands. */
export function sourceAt(at: usize): usize {
  return at + SOURCE;
}

/** Where the destination address stands. */
export function destinationAt(at: usize): usize {
  return at + DESTINATION;
}

/** Exchanges source and destination; no checksum changes by that. */
export function swapAddresses(at: usize): void {
  const from = v128.load(at, SOURCE);
  v128.store(at, v128.load(at, DESTINATION), SOURCE);
  v128.store(at, from, DESTINATION);
}

/** Whether the addresses at both places are the same. */
export function equal(a: usize, b: usize): bool {
  return load<u64>(a) == load<u64>(b) && load<u64>(a, 8) == load<u64>(b, 8);
}

/** ff00::/8, RFC 4291 section 2.7. */
export function isMulticast(addressAt: usize): bool {
  return load<u8>(addressAt) == 0xff;
}

/** The unspecified address, RFC 4291 section 2.5.2. */
export function isUnspecified(addressAt: usize): bool {
  return (load<u64>(addressAt) | load<u64>(addressAt, 8)) == 0;
}

/** Writes the address of all nodes on the link, ff02::1 (RFC 4291 section 2.7.1). */
export function writeAllNodes(addressAt: usize): void {
  store<u64>(addressAt, 0x02ff);
  store<u64>(addressAt, 0x0100000000000000, 8);
}

/** Writes a whole header; the addresses are copied from where they stand. */
export function write(
  at: usize,
  payload: u32,
  next: u32,
  hops: u32,
  fromAt: usize,
  toAt: usize,
): void {
  store<u32>(at, 0x60);
  setPayloadLength(at, payload);
  store<u8>(at, next, NEXT_HEADER);
  setHopLimit(at, hops);
  v128.store(at, v128.load(fromAt), SOURCE);
  v128.store(at, v128.load(toAt), DESTINATION);
}
