// ARP for IPv4 over Ethernet, RFC 826.
//
//  0 hardware type (2) | 2 protocol type (2) | 4 lengths (1 + 1) | 6 operation (2)
//  8 sender MAC (6) | 14 sender IP (4) | 18 target MAC (6) | 24 target IP (4)

import { copyMac } from "./ethernet";

const OPERATION: usize = 6;
const SENDER_MAC: usize = 8;
const SENDER_ADDRESS: usize = 14;
const TARGET_MAC: usize = 18;
const TARGET_ADDRESS: usize = 24;
/** Ethernet, IPv4, 6 and 4 bytes, as they stand in memory. */
const KIND: u64 = 0x040600080100;
const KIND_MASK: u64 = 0xffffffffffff;
const REQUEST: u32 = 1;
const REPLY: u32 = 2;

export const SIZE: u32 = 28;

/** Whether this is a request for an IPv4 address on Ethernet. */
export function isRequest(at: usize): bool {
  return (load<u64>(at) & KIND_MASK) == KIND && bswap<u16>(load<u16>(at, OPERATION)) == REQUEST;
}

export function senderMacAt(at: usize): usize {
  return at + SENDER_MAC;
}

export function targetAddress(at: usize): u32 {
  return bswap<u32>(load<u32>(at, TARGET_ADDRESS));
}

/** Writes the reply to the request at `requestAt`: the asked address is at `macAt`. */
export function writeReply(at: usize, requestAt: usize, macAt: usize): void {
  store<u64>(at, KIND | ((<u64>bswap<u16>(<u16>REPLY)) << 48));
  copyMac(at + SENDER_MAC, macAt);
  store<u32>(at, load<u32>(requestAt, TARGET_ADDRESS), SENDER_ADDRESS);
  copyMac(at + TARGET_MAC, requestAt + SENDER_MAC);
  store<u32>(at, load<u32>(requestAt, SENDER_ADDRESS), TARGET_ADDRESS);
}
