// IPv6 fragment header, RFC 8200 section 4.5.
//
//  |  Next Header  |   Reserved    |      Fragment Offset    |Res|M|
//  |                         Identification                        |

const OFFSET_AND_MORE: usize = 2;
const IDENTIFICATION: usize = 4;
const MORE: u32 = 1;

export const SIZE: u32 = 8;

/**
 * Writes a whole header. `next` is what the whole packet carries, `offset` how many bytes of that
 * stand in the fragments before, a multiple of 8.
 */
export function write(at: usize, next: u32, offset: u32, isLast: bool, identification: u32): void {
  const word = offset | (isLast ? 0 : MORE);
  store<u16>(at, <u16>next);
  store<u16>(at, bswap<u16>(<u16>word), OFFSET_AND_MORE);
  store<u32>(at, bswap<u32>(identification), IDENTIFICATION);
}
