// virtio_net_hdr as TUN gives and takes it before each packet (VIRTIO 1.2 section 5.1.6).
// Fields are in the host's byte order, which is little-endian as WebAssembly's memory is.
//
//  0 flags(1) | 1 gso_type(1) | 2 hdr_len(2) | 4 gso_size(2) | 6 csum_start(2) | 8 csum_offset(2)

const GSO_TYPE: usize = 1;
const HEADER_LENGTH: usize = 2;
const GSO_SIZE: usize = 4;
const CHECKSUM_START: usize = 6;
const CHECKSUM_OFFSET: usize = 8;

export const SIZE: usize = 10;
/** Flag: the transport checksum holds the pseudo-header's sum and must be completed. */
export const NEEDS_CHECKSUM: u32 = 1;
export const GSO_NONE: u32 = 0;
export const GSO_TCP4: u32 = 1;
export const GSO_TCP6: u32 = 4;
export const GSO_UDP: u32 = 5;
/** Set in gso_type when the first segment carries CWR. */
export const GSO_ECN: u32 = 0x80;

export function flags(at: usize): u32 {
  return load<u8>(at);
}

/** gso_type without its ECN bit. */
export function gsoKind(at: usize): u32 {
  return load<u8>(at, GSO_TYPE) & ~GSO_ECN;
}

/** Payload bytes of each segment. */
export function gsoSize(at: usize): u32 {
  return load<u16>(at, GSO_SIZE);
}

export function checksumStart(at: usize): u32 {
  return load<u16>(at, CHECKSUM_START);
}

export function checksumOffset(at: usize): u32 {
  return load<u16>(at, CHECKSUM_OFFSET);
}

/** A header that says: nothing to do with this packet, check it as any other. */
export function clear(at: usize): void {
  store<u64>(at, 0);
  store<u16>(at, 0, CHECKSUM_OFFSET);
}

/** A whole header of a packet whose checksum the kernel completes; `size` 0 = no segmentation. */
export function write(
  at: usize,
  type: u32,
  headers: u32,
  size: u32,
  start: u32,
  offset: u32,
): void {
  store<u8>(at, NEEDS_CHECKSUM);
  store<u8>(at, type, GSO_TYPE);
  store<u16>(at, headers, HEADER_LENGTH);
  store<u16>(at, size, GSO_SIZE);
  store<u16>(at, start, CHECKSUM_START);
  store<u16>(at, offset, CHECKSUM_OFFSET);
}
