// Neighbour solicitation and advertisement, RFC 4861 sections 4.3 and 4.4 (ICMPv6 body).
//
//  |     Type      |     Code      |          Checksum             |
//  |R|S|O|                     Reserved                            |
//  |                       Target Address                          |   16 bytes
//  |   Options: 1 byte type, 1 byte length in units of 8, data     |

import { copyMac } from "./ethernet";

const CODE: usize = 1;
const CHECKSUM: usize = 2;
const FLAGS: usize = 4;
const TARGET: usize = 8;
const OPTION: usize = 24;
const OPTION_MAC: usize = 26;

const SOLICITATION: u32 = 135;
const ADVERTISEMENT: u32 = 136;
/** Target link-layer address option, one unit of 8 bytes, as it stands in memory. */
const TARGET_MAC_OPTION: u16 = 0x0102;
const FLAG_ROUTER: u32 = 0x80000000;
const FLAG_SOLICITED: u32 = 0x40000000;
const FLAG_OVERRIDE: u32 = 0x20000000;

export const SOLICITATION_SIZE: u32 = 24;
/** An advertisement with the one option that says the MAC address. */
export const ADVERTISEMENT_SIZE: u32 = 32;
/** Hop limit that proves the sender is on the link, RFC 4861 section 7.1.1. */
export const HOP_LIMIT: u32 = 255;

export function isSolicitation(at: usize): bool {
  return load<u8>(at) === SOLICITATION && load<u8>(at, CODE) === 0;
}

/** Where the asked address stands. */
export function targetAt(at: usize): usize {
  return at + TARGET;
}

/** Stores a checksum that is in memory byte order. */
export function setChecksum(at: usize, field: u32): void {
  store<u16>(at, field, CHECKSUM);
}

/** Writes an advertisement, checksum zero; `solicited` unless it goes to all nodes. */
export function writeAdvertisement(at: usize, target: usize, macAt: usize, solicited: bool): void {
  const flags = FLAG_ROUTER | FLAG_OVERRIDE | (solicited ? FLAG_SOLICITED : 0);
  store<u32>(at, ADVERTISEMENT);
  store<u32>(at, bswap<u32>(flags), FLAGS);
  v128.store(at, v128.load(target), TARGET);
  store<u16>(at, TARGET_MAC_OPTION, OPTION);
  copyMac(at + OPTION_MAC, macAt);
}
