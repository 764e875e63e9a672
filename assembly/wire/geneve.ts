// Geneve header, RFC 8926 section 3.4, and its options, section 3.5.
//
//  |Ver|  Opt Len  |O|C|    Rsvd.  |          Protocol Type        |
//  |        Virtual Network Identifier (VNI)       |    Reserved   |
//
//  |          Option Class         |      Type     |R|R|R| Length  |   then 4 * Length bytes
//
// O: a control packet. C: an option is critical, as the highest bit of its Type says once more.

const TYPE: usize = 2;
const VNI: usize = 4;
const OPTION_TYPE: usize = 2;
const OPTION_LENGTH: usize = 3;

export const SIZE: u32 = 8;
export const OPTION_SIZE: u32 = 4;
const FLAG_CONTROL: u32 = 0x80;
const CRITICAL: u32 = 0x80;
// The header's first word in memory, but for what is ignored: version, length, O and type.
const BARE_MASK: u32 = 0xffff80ff;
const BARE: u32 = 0x58650000;

export function version(at: usize): u32 {
  return load<u8>(at) >> 6;
}

/** Whether it is a header of version 0 without options, no control packet's, before a frame. */
export function isBare(at: usize): bool {
  return (load<u32>(at) & BARE_MASK) === BARE;
}

/** Bytes of header and options. */
export function length(at: usize): u32 {
  return SIZE + (load<u8>(at) & 0x3f) * 4;
}

export function isControl(at: usize): bool {
  return (load<u8>(at, 1) & FLAG_CONTROL) !== 0;
}

/** Ethertype of the payload; 0x6558 is an Ethernet frame. */
export function type(at: usize): u32 {
  return bswap<u16>(load<u16>(at, TYPE));
}

/** The network number in memory byte order, as a peer's entry has it: its fourth byte is zero. */
export function vni(at: usize): u32 {
  return load<u32>(at, VNI) & 0xffffff;
}

/** Whether whoever does not know the option at `at` must drop the packet. */
export function isCritical(at: usize): bool {
  return (load<u8>(at, OPTION_TYPE) & CRITICAL) !== 0;
}

/** Bytes of the option at `at`, its own header included. */
export function optionLength(at: usize): u32 {
  return OPTION_SIZE + (load<u8>(at, OPTION_LENGTH) & 0x1f) * 4;
}
