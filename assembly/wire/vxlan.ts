// VXLAN header, RFC 7348 section 5.
//
//  |R|R|R|R|I|R|R|R|            Reserved                           |
//  |                VXLAN Network Identifier (VNI) |   Reserved    |

const VNI: usize = 4;

export const SIZE: u32 = 8;
/** The I flag: must be set. All other bits are zero on send and ignored on receive. */
const FLAG_VNI: u32 = 0x08;

/** Whether the header says that its network number is valid. */
export function hasVni(at: usize): bool {
  return (load<u8>(at) & FLAG_VNI) != 0;
}

/** The network number in memory byte order, as a peer's entry has it: its fourth byte is zero. */
export function vni(at: usize): u32 {
  return load<u32>(at, VNI) & 0xffffff;
}
