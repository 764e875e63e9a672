// What the headers of the next segment of a super-packet look like: the bytes of the packet before
// it, and a mask of those that segmentation leaves alone. One comparison is all that a segment of
// bulk data needs; the fields that may differ are looked at one by one.
import * as chains from "./chain";
import * as sum from "./checksum";
import * as joinable from "./joinable";
import { W_PATTERN } from "./shared/layout";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as tcp from "./wire/tcp";
import * as udp from "./wire/udp";
import { worker } from "./worker";

// State: bytes of all headers (0 = no pattern) and of the outer ones, sums of the fields that are
// equal (transport with pseudo-header, IPv4), then the three rows of bytes.
const SIZE: usize = 0;
const OUTER: usize = 4;
const SUM: usize = 8;
const SUM4: usize = 12;
const BYTES: usize = 64;
const MASK: usize = 320;
const SAVED: usize = 576;
export const STATE_NEEDED: usize = 832;
/** Outer headers, IPv6 and TCP with all its options fit. */
const SIZE_MAX: u32 = 240;

/** There is no pattern: another packet came. */
export function forget(): void {
  store<u32>(worker, 0, W_PATTERN + SIZE);
}

/** Whether there is a pattern. */
export function isReady(): bool {
  return load<u32>(worker, W_PATTERN + SIZE) !== 0;
}

/** Bytes of all headers before the payload. */
export function size(): u32 {
  return load<u32>(worker, W_PATTERN + SIZE);
}

/** Bytes of the outer headers. */
export function outer(): u32 {
  return load<u32>(worker, W_PATTERN + OUTER);
}

function transportSize(at: usize): u32 {
  return joinable.isV4(at) ? ipv4.SIZE : ipv6.SIZE;
}

/** IPv4's fields that differ, as a checksum adds them: length, identification, checksum. */
function varying4(at: usize): u32 {
  return sum.fold(<u64>ipv4.lengthAndIdentification(at) + ipv4.checksum(at));
}

/** Sum of the pseudo-header but its length, and of the transport fields that are equal. */
function fixedSum(at: usize, transportAt: usize, bytes: u32): u32 {
  const protocol = joinable.protocolOf(at);
  const pseudo = joinable.isV4(at) ? sum.pseudo4(at, protocol, 0) : sum.pseudo6(at, protocol, 0);
  const scratch = worker + W_PATTERN + SAVED;
  sum.copy(scratch, transportAt, bytes);
  if (protocol === tcp.PROTOCOL) tcp.clearVarying(scratch);
  else udp.clearVarying(scratch);
  return sum.partial(scratch, bytes, pseudo);
}

/** Sets the bytes that may differ to zero in the mask whose inner packet begins at `mask`. */
function loosen(mask: usize, at: usize): void {
  const transport = mask + transportSize(at);
  if (joinable.isV4(at)) ipv4.clearVarying(mask);
  else ipv6.setPayloadLength(mask, 0);
  if (!joinable.isTcp(at)) {
    udp.clearVarying(transport);
    return;
  }
  tcp.setSequence(transport, 0);
  tcp.setFlags(transport, ~(tcp.FIN | tcp.PSH | tcp.CWR));
  tcp.setChecksum(transport, 0);
}

/** Makes the pattern of the packet that the chain's last block begins with. */
export function prepare(chain: usize, outer: u32): void {
  const at = chains.last(chain);
  const headers = outer + chains.header(chain);
  if (headers > SIZE_MAX) return;
  const state = worker + W_PATTERN;
  const from = at - outer;
  for (let i: usize = 0; i < headers; i += 16) {
    v128.store(state + i, v128.load(from + i), BYTES);
    v128.store(state + i, i64x2.splat(-1), MASK);
  }
  v128.store(state + headers, i64x2.splat(0), MASK);
  loosen(state + MASK + outer, at);
  const offset = transportSize(at);
  store<u32>(state, fixedSum(at, at + offset, chains.header(chain) - offset), SUM);
  store<u32>(state, varying4(at), SUM4);
  store<u32>(state, outer, OUTER);
  store<u32>(state, headers, SIZE);
}

/** Whether the headers at `at` are those of the pattern; keeps them for `restore`. */
export function matches(at: usize): bool {
  const state = worker + W_PATTERN;
  const end = load<u32>(state, SIZE);
  let differ = i64x2.splat(0);
  for (let i: usize = 0; i < end; i += 16) {
    const bytes = v128.load(at + i);
    v128.store(state + i, bytes, SAVED);
    const other = v128.xor(bytes, v128.load(state + i, BYTES));
    differ = v128.or(differ, v128.and(other, v128.load(state + i, MASK)));
  }
  return !v128.any_true(differ);
}

/** Writes the headers that `matches` saw last back to where they were. */
export function restore(at: usize): void {
  sum.copy(at, worker + W_PATTERN + SAVED, load<u32>(worker, W_PATTERN + SIZE));
}

/** Whether the IP header's own fields fit: `count` packets are before this one. */
function isNextIp(first: usize, at: usize, length: u32, count: u32): bool {
  if (!joinable.isV4(at)) return ipv6.SIZE + ipv6.payloadLength(at) === length;
  if (ipv4.totalLength(at) !== length) return false;
  if (varying4(at) !== load<u32>(worker, W_PATTERN + SUM4)) return false;
  return joinable.identificationFits(first, at, count);
}

/**
 * Whether a packet of `length` bytes whose headers match is the next of the chain, by its own
 * fields. Its transport checksum is not looked at.
 */
export function isNext(chain: usize, at: usize, length: u32): bool {
  if (!isNextIp(chains.first(chain), at, length, chains.count(chain))) return false;
  const offset = transportSize(at);
  const transportAt = at + offset;
  if (!joinable.isTcp(at)) {
    return udp.length(transportAt) === length - offset && udp.checksum(transportAt) !== 0;
  }
  if (tcp.flags(transportAt) & tcp.CWR) return false;
  return tcp.sequence(transportAt) === chains.sequence(chain);
}

/** Sum of the transport header and pseudo-header of a packet that matches. */
export function headerSum(at: usize, length: u32): u32 {
  const offset = transportSize(at);
  const varying = joinable.isTcp(at) ? tcp.varyingSum(at + offset) : udp.varyingSum(at + offset);
  const fixed = load<u32>(worker, W_PATTERN + SUM);
  return sum.fold(varying + fixed + bswap<u16>(<u16>(length - offset)));
}
