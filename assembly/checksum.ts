// The Internet checksum, RFC 1071, with incremental update by RFC 1624 eqn 3.
// Sums are kept in memory byte order (the sum does not care, RFC 1071 section 2 B): what `finish`
// returns is stored as it is, and a field is read with a plain load<u16>.

/**
 * Ranges from this many bytes on take the SIMD loop; below, its set-up costs more than it saves.
 */
const SIMD_LENGTH_MIN: u32 = 64;

/**
 * Folds a sum of 16-, 32- or 48-bit pieces to 16 bits with end-around carry. Adding a number to
 * itself with its halves exchanged leaves the folded sum, carry included, in the upper half.
 */
export function fold(sum: u64): u32 {
  const half = <u32>((sum + rotl<u64>(sum, 32)) >> 32);
  return (half + rotl<u32>(half, 16)) >> 16;
}

/** Sum of fewer than 8 bytes, each at its place; an odd last byte is padded with zero. */
function tail(at: usize, length: u32): u64 {
  let sum: u64 = 0;
  if (length & 4) {
    sum = load<u32>(at);
    at += 4;
  }
  if (length & 2) {
    sum += load<u16>(at);
    at += 2;
  }
  if (length & 1) sum += load<u8>(at);
  return sum;
}

/** Sum by 64-bit words. Never reads past the range. */
function words(at: usize, length: u32): u64 {
  let sum: u64 = 0;
  const end = at + (length & ~7);
  for (; at < end; at += 8) {
    const word = load<u64>(at);
    sum += (word & 0xffffffff) + (word >> 32);
  }
  return sum + tail(at, length & 7);
}

/**
 * The sum of 32-bit words, of which `all` is the sum by 64 bits without carries, and `high` that of
 * the upper halves: taking `high` out of `all` where it stands leaves the sum of the lower halves.
 * Exact below 2^32 turns, and one instruction less for each vector than masking.
 */
function lanes(all: v128, high: v128): u64 {
  const sum = i64x2.add(i64x2.sub(all, i64x2.shl(high, 32)), high);
  return i64x2.extract_lane(sum, 0) + i64x2.extract_lane(sum, 1);
}

/** Sum of four vectors by 64 bits. */
function all4(a: v128, b: v128, c: v128, d: v128): v128 {
  return i64x2.add(i64x2.add(a, b), i64x2.add(c, d));
}

/** Sum of the upper halves of two vectors' 64-bit lanes. */
function high2(a: v128, b: v128): v128 {
  return i64x2.add(i64x2.shr_u(a, 32), i64x2.shr_u(b, 32));
}

/** Sum of a long range, 128 bytes a turn. */
function vectors(at: usize, length: u32): u64 {
  let all = i64x2.splat(0);
  let high = all;
  const end = at + (length & ~127);
  for (; at < end; at += 128) {
    const v0 = v128.load(at, 0);
    const v1 = v128.load(at, 16);
    const v2 = v128.load(at, 32);
    const v3 = v128.load(at, 48);
    const v4 = v128.load(at, 64);
    const v5 = v128.load(at, 80);
    const v6 = v128.load(at, 96);
    const v7 = v128.load(at, 112);
    all = i64x2.add(all, i64x2.add(all4(v0, v1, v2, v3), all4(v4, v5, v6, v7)));
    high = i64x2.add(high, all4(high2(v0, v1), high2(v2, v3), high2(v4, v5), high2(v6, v7)));
  }
  const rest = at + (length & 112);
  for (; at < rest; at += 16) {
    const v = v128.load(at);
    all = i64x2.add(all, v);
    high = i64x2.add(high, i64x2.shr_u(v, 32));
  }
  return lanes(all, high) + words(at, length & 15);
}

/**
 * Ones' complement sum of `length` bytes plus `initial`, folded to 16 bits, memory byte order.
 * A range that is not the last of its checksum must have even length.
 */
export function partial(at: usize, length: u32, initial: u32): u32 {
  const sum = length < SIMD_LENGTH_MIN ? words(at, length) : vectors(at, length);
  return fold(sum + initial);
}

/**
 * Copies `length` bytes and returns their sum as `partial` does: one pass over the payload.
 * `to` may lie before `from` and overlap it.
 */
export function copyPartial(to: usize, from: usize, length: u32, initial: u32): u32 {
  let all = i64x2.splat(0);
  let high = all;
  const end = from + (length & ~127);
  for (; from < end; from += 128, to += 128) {
    const v0 = v128.load(from, 0);
    const v1 = v128.load(from, 16);
    const v2 = v128.load(from, 32);
    const v3 = v128.load(from, 48);
    v128.store(to, v0, 0);
    v128.store(to, v1, 16);
    v128.store(to, v2, 32);
    v128.store(to, v3, 48);
    const v4 = v128.load(from, 64);
    const v5 = v128.load(from, 80);
    const v6 = v128.load(from, 96);
    const v7 = v128.load(from, 112);
    v128.store(to, v4, 64);
    v128.store(to, v5, 80);
    v128.store(to, v6, 96);
    v128.store(to, v7, 112);
    all = i64x2.add(all, i64x2.add(all4(v0, v1, v2, v3), all4(v4, v5, v6, v7)));
    high = i64x2.add(high, all4(high2(v0, v1), high2(v2, v3), high2(v4, v5), high2(v6, v7)));
  }
  const rest = from + (length & 112);
  for (; from < rest; from += 16, to += 16) {
    const v = v128.load(from);
    v128.store(to, v);
    all = i64x2.add(all, v);
    high = i64x2.add(high, i64x2.shr_u(v, 32));
  }
  const last = words(from, length & 15);
  copyShort(to, from, length & 15);
  return fold(lanes(all, high) + last + initial);
}

/** Copies fewer than 16 bytes exactly: no byte outside the range is read or written. */
function copyShort(to: usize, from: usize, length: u32): void {
  if (length & 8) {
    store<u64>(to, load<u64>(from));
    to += 8;
    from += 8;
  }
  if (length & 4) {
    store<u32>(to, load<u32>(from));
    to += 4;
    from += 4;
  }
  if (length & 2) {
    store<u16>(to, load<u16>(from));
    to += 2;
    from += 2;
  }
  if (length & 1) store<u8>(to, load<u8>(from));
}

/**
 * Copies bytes exactly, by vectors: up to a packet's size a call to memory.copy costs more.
 * The ranges must not overlap.
 */
export function copy(to: usize, from: usize, length: u32): void {
  const long = from + (length & ~63);
  for (; from < long; from += 64, to += 64) {
    v128.store(to, v128.load(from, 0), 0);
    v128.store(to, v128.load(from, 16), 16);
    v128.store(to, v128.load(from, 32), 32);
    v128.store(to, v128.load(from, 48), 48);
  }
  const end = from + (length & 48);
  for (; from < end; from += 16, to += 16) v128.store(to, v128.load(from));
  copyShort(to, from, length & 15);
}

/** The checksum field for a folded sum: its complement, memory byte order. */
export function finish(sum: u32): u32 {
  return ~sum & 0xffff;
}

/** As `finish`, but 0 is sent as FFFF: for UDP, where 0 means "no checksum" (RFC 768). */
export function finishNonZero(sum: u32): u32 {
  const field = finish(sum);
  return field == 0 ? 0xffff : field;
}

/** Swaps the bytes of a folded sum: for a piece that starts at an odd offset (RFC 1071 2 B). */
export function swapSum(sum: u32): u32 {
  return ((sum & 0xff) << 8) | (sum >> 8);
}

/** A folded sum without one of the words in it (RFC 1624: adding the complement subtracts). */
export function without(sum: u32, word: u32): u32 {
  return fold(<u64>sum + (~word & 0xffff));
}

/** Sum of the IPv4 pseudo-header; `ipAt` is the IPv4 header, `length` the transport's bytes. */
export function pseudo4(ipAt: usize, protocol: u32, length: u32): u32 {
  const addresses = load<u64>(ipAt, 12);
  const rest = <u64>bswap<u16>(<u16>length) + ((<u64>protocol) << 8);
  return fold((addresses & 0xffffffff) + (addresses >> 32) + rest);
}

/** Sum of the IPv6 pseudo-header (RFC 8200 8.1); `ipAt` is the IPv6 header. */
export function pseudo6(ipAt: usize, nextHeader: u32, length: u32): u32 {
  return fold(words(ipAt + 8, 32) + bswap<u32>(length) + ((<u64>nextHeader) << 8));
}

/**
 * The new checksum field when one 16-bit word covered by it changes from `from` to `to`
 * (RFC 1624 eqn 3: HC' = ~(~HC + ~m + m')). All in memory byte order.
 */
export function update(field: u32, from: u32, to: u32): u32 {
  return finish(fold(<u64>(~field & 0xffff) + (~from & 0xffff) + to));
}
