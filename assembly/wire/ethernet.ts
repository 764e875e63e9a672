// Ethernet II header, RFC 894 and IEEE 802.3 clause 3.
//
//  0 destination MAC (6) | 6 source MAC (6) | 12 ethertype (2)

const SOURCE: usize = 6;
const TYPE: usize = 12;
const MAC_MASK: u64 = 0xffffffffffff;

export const SIZE: u32 = 14;
export const TYPE_IPV4: u32 = 0x0800;
export const TYPE_ARP: u32 = 0x0806;
export const TYPE_IPV6: u32 = 0x86dd;
/** Not of a frame itself: what tunnel headers call an Ethernet frame. */
export const TYPE_FRAME: u32 = 0x6558;

/** The MAC address at `at` as a number: for comparison only. Reads 8 bytes. */
export function mac(at: usize): u64 {
  return load<u64>(at) & MAC_MASK;
}

/** Whether the MAC addresses at both places are equal. Reads 8 bytes of each. */
export function equal(a: usize, b: usize): bool {
  return (load<u64>(a) ^ load<u64>(b)) << 16 === 0;
}

export function isBroadcast(address: u64): bool {
  return address == MAC_MASK;
}

/** The group bit of the first octet, IEEE 802.3 section 3.2.3. */
export function isMulticast(address: u64): bool {
  return (address & 1) != 0;
}

export function sourceAt(at: usize): usize {
  return at + SOURCE;
}

export function type(at: usize): u32 {
  return bswap<u16>(load<u16>(at, TYPE));
}

/** Copies a MAC address. */
export function copyMac(to: usize, from: usize): void {
  store<u32>(to, load<u32>(from));
  store<u16>(to, load<u16>(from, 4), 4);
}

/** Writes a whole header; the addresses are copied from where they stand. */
export function write(at: usize, toMac: usize, fromMac: usize, etherType: u32): void {
  copyMac(at, toMac);
  copyMac(at + SOURCE, fromMac);
  store<u16>(at, bswap<u16>(<u16>etherType), TYPE);
}

/** Writes the group address of all IPv6 nodes, RFC 2464 section 7. */
export function writeAllNodes(at: usize): void {
  store<u32>(at, 0x3333);
  store<u16>(at, 0x0100, 4);
}
