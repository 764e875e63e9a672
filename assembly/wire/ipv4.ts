// IPv4 header, RFC 791 section 3.1.
//
//  |Version|  IHL  |    DSCP   |ECN|         Total Length          |
//  |        Identification         |Flags|     Fragment Offset     |
//  | Time to Live  |   Protocol    |        Header Checksum        |
//  |                        Source Address                         |
//  |                      Destination Address                      |
//  |                    Options                    |    Padding    |

import { Drop } from "../shared/drop";

const TOS: usize = 1;
const TOTAL_LENGTH: usize = 2;
const IDENTIFICATION: usize = 4;
const FLAGS_AND_OFFSET: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

export const SIZE: u32 = 20;
export const ICMP: u32 = 1;
export const TTL_DEFAULT: u32 = 64;
export const DONT_FRAGMENT: u32 = 0x4000;
const MORE_FRAGMENTS: u32 = 0x2000;
const OFFSET_MASK: u32 = 0x1fff;
const BROADCAST: u32 = 0xffffffff;

/**
 * Checks a packet that starts with version 4 and has `length` bytes at hand: header and total
 * length. Returns the total length, or -Drop. Accessors may be used after that without further
 * checks.
 */
export function check(at: usize, length: u32): i32 {
  if (length < SIZE) return -Drop.TOO_SHORT;
  const header = headerLength(at);
  const total = totalLength(at);
  if (header < SIZE || header > total) return -Drop.BAD_IP_HEADER;
  return total > length ? -Drop.BAD_LENGTH : total;
}

/** Header length in bytes, options included. */
export function headerLength(at: usize): u32 {
  return (load<u8>(at) & 15) * 4;
}

export function tos(at: usize): u32 {
  return load<u8>(at, TOS);
}

export function totalLength(at: usize): u32 {
  return bswap<u16>(load<u16>(at, TOTAL_LENGTH));
}

export function setTotalLength(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value), TOTAL_LENGTH);
}

export function identification(at: usize): u32 {
  return bswap<u16>(load<u16>(at, IDENTIFICATION));
}

export function setIdentification(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value), IDENTIFICATION);
}

/** Length and identification as one word in memory byte order, as a checksum adds them. */
export function lengthAndIdentification(at: usize): u32 {
  return load<u32>(at, TOTAL_LENGTH);
}

/** Sets to zero what differs between the packets of a flow: length, identification, checksum. */
export function clearVarying(at: usize): void {
  store<u32>(at, 0, TOTAL_LENGTH);
  store<u16>(at, 0, CHECKSUM);
}

/** Flags and fragment offset as one word. */
export function fragment(at: usize): u32 {
  return bswap<u16>(load<u16>(at, FLAGS_AND_OFFSET));
}

/** Whether the packet is one piece of a larger one. */
export function isFragment(at: usize): bool {
  return (fragment(at) & (MORE_FRAGMENTS | OFFSET_MASK)) != 0;
}

export function ttl(at: usize): u32 {
  return load<u8>(at, TTL);
}

/** TTL and protocol as one word in memory byte order, as a checksum adds it. */
export function ttlAndProtocol(at: usize): u32 {
  return load<u16>(at, TTL);
}

export function setTtl(at: usize, value: u32): void {
  store<u8>(at, value, TTL);
}

export function protocol(at: usize): u32 {
  return load<u8>(at, PROTOCOL);
}

/** The header checksum in memory byte order. */
export function checksum(at: usize): u32 {
  return load<u16>(at, CHECKSUM);
}

/** Stores a header checksum that is in memory byte order. */
export function setChecksum(at: usize, field: u32): void {
  store<u16>(at, field, CHECKSUM);
}

export function source(at: usize): u32 {
  return bswap<u32>(load<u32>(at, SOURCE));
}

export function destination(at: usize): u32 {
  return bswap<u32>(load<u32>(at, DESTINATION));
}

/** Where the source stands, in network order, and behind it the destination. */
export function sourceAt(at: usize): usize {
  return at + SOURCE;
}

/** Exchanges source and destination; no checksum changes by that. */
export function swapAddresses(at: usize): void {
  store<u64>(at, rotl<u64>(load<u64>(at, SOURCE), 32), SOURCE);
}

/** 224.0.0.0/4, RFC 5771. */
export function isMulticast(address: u32): bool {
  return address >> 28 == 14;
}

/** Whether a packet goes to a group; looks at the one byte that tells. */
export function isToMulticast(at: usize): bool {
  return load<u8>(at, DESTINATION) >> 4 === 14;
}

/** Whether a packet goes to the limited broadcast address, RFC 919. */
export function isToBroadcast(at: usize): bool {
  return load<u32>(at, DESTINATION) === BROADCAST;
}

/**
 * Writes a whole header of 20 bytes, all but its checksum, which is zero. Don't-fragment is set.
 */
export function write(at: usize, total: u32, protocolNumber: u32, from: u32, to: u32): void {
  store<u16>(at, 0x45);
  setTotalLength(at, total);
  setIdentification(at, 0);
  store<u16>(at, bswap<u16>(<u16>DONT_FRAGMENT), FLAGS_AND_OFFSET);
  setTtl(at, TTL_DEFAULT);
  store<u8>(at, protocolNumber, PROTOCOL);
  setChecksum(at, 0);
  store<u32>(at, bswap<u32>(from), SOURCE);
  store<u32>(at, bswap<u32>(to), DESTINATION);
}
