// The headers of the last datagram that passed every check on the way in. One from the same peer
// and socket whose headers are equal passes too: what they are checked against does not change
// within a run, and what is not compared here is still checked for every datagram.
import * as packet from "./packet";
import * as protocols from "./protocols";
import { W_PROOF } from "./shared/layout";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import { worker } from "./worker";

// State: bytes before the inner packet and 1 (0 = nothing is proven), whose it was, the headers.
const PROVEN: usize = 0;
const PEER: usize = 4;
const SOCKET: usize = 8;
// Whether a train is worked on, and between which two addresses the last datagram was that went the
// long way: only what may well be asked for again is worth its writing.
const IS_TRAIN: usize = 12;
const BETWEEN: usize = 16;
const OUTER: usize = 64;
const INNER: usize = 96;
export const STATE_NEEDED: usize = 192;

/** Nothing is proven: the tables may have changed. */
export function forget(): void {
  store<u32>(worker, 0, W_PROOF + PROVEN);
}

/** The next datagrams are one alone, or a train. */
export function begin(isTrain: bool): void {
  store<u32>(worker, isTrain, W_PROOF + IS_TRAIN);
}

/** Bytes of outer headers of a datagram that looks like the proven one. */
export function offset(): u32 {
  return load<u32>(worker, W_PROOF + PROVEN) - 1;
}

/** Where the proven datagram's outer headers stand. */
export function outerAt(): usize {
  return worker + W_PROOF + OUTER;
}

/** Where the proven datagram's inner header stands, as it came. */
export function innerAt(): usize {
  return worker + W_PROOF + INNER;
}

/** Whether more of that kind may come; remembers between which addresses this one is. */
function isWorth(inner: usize): bool {
  const between = packet.isIpv4(inner)
    ? load<u64>(ipv4.sourceAt(inner))
    : load<u64>(ipv6.sourceAt(inner), 8) ^ load<u64>(ipv6.destinationAt(inner), 8);
  const isKnown = load<u64>(worker, W_PROOF + BETWEEN) === between;
  store<u64>(worker, between, W_PROOF + BETWEEN);
  return isKnown || load<u32>(worker, W_PROOF + IS_TRAIN) !== 0;
}

/**
 * Remembers a datagram that passed, before its headers are changed: one of a train, or the second
 * between the same addresses.
 */
export function remember(socket: u32, peerIndex: u32, at: usize, outer: u32): void {
  const inner = at + outer;
  // Which ICMPv6 packets are for us, and answered, does not show in the headers.
  const isIcmp6 = !packet.isIpv4(inner) && ipv6.nextHeader(inner) === ipv6.ICMPV6;
  const fits = isWorth(inner) && outer <= <u32>(INNER - OUTER) && !isIcmp6;
  store<u32>(worker, fits ? outer + 1 : 0, W_PROOF + PROVEN);
  if (!fits) return;
  store<u32>(worker, peerIndex, W_PROOF + PEER);
  store<u32>(worker, socket, W_PROOF + SOCKET);
  // All the room there is: a copy of the exact length would cost more.
  v128.store(worker, v128.load(at), W_PROOF + OUTER);
  v128.store(worker, v128.load(at, 16), W_PROOF + OUTER + 16);
  v128.store(worker, v128.load(inner), W_PROOF + INNER);
  v128.store(worker, v128.load(inner, 16), W_PROOF + INNER + 16);
  store<u64>(worker, load<u64>(inner, 32), W_PROOF + INNER + 32);
}

/** Whether that peer and socket are the proven datagram's. */
export function isOf(socket: u32, peerIndex: u32): bool {
  return (
    load<u32>(worker, W_PROOF + PROVEN) !== 0 &&
    load<u32>(worker, W_PROOF + PEER) === peerIndex &&
    load<u32>(worker, W_PROOF + SOCKET) === socket
  );
}

/** All of an IPv4 header but length, identification and checksum. */
function sameIpv4(a: usize, b: usize): bool {
  const mask = i32x4(0x0000ffff, -65536, 0x0000ffff, -1);
  const differ = v128.and(v128.xor(v128.load(a), v128.load(b)), mask);
  return !v128.any_true(differ) && load<u32>(a, 16) === load<u32>(b, 16);
}

/** All of an IPv6 header but the payload's length. */
function sameIpv6(a: usize, b: usize): bool {
  const mask = i32x4(-1, -65536, -1, -1);
  const first = v128.and(v128.xor(v128.load(a), v128.load(b)), mask);
  const second = v128.xor(v128.load(a, 16), v128.load(b, 16));
  return !v128.any_true(v128.or(first, second)) && load<u64>(a, 32) === load<u64>(b, 32);
}

/** Whether a datagram of a proven peer and socket has the proven headers. */
export function holds(socket: u32, at: usize, length: u32): bool {
  const proven = innerAt();
  const isV4 = packet.isIpv4(proven);
  if (length < offset() + (isV4 ? ipv4.SIZE : ipv6.SIZE)) return false;
  if (!protocols.isRepeated(socket, worker + W_PROOF + OUTER, at, offset())) return false;
  const inner = at + offset();
  return isV4 ? sameIpv4(proven, inner) : sameIpv6(proven, inner);
}
