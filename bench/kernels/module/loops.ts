// AssemblyScript, built with the hot path for the bench alone: kernels called many times from
// inside the module, as the hot path calls them. A call from JavaScript costs as much as a lookup.
import { partial } from "../../../assembly/checksum";
import * as geneve from "../../../assembly/encap/geneve";
import * as vxlan from "../../../assembly/encap/vxlan";
import * as fib from "../../../assembly/fib";
import * as frame from "../../../assembly/frame";

/** Sums the same bytes `count` times, each time on top of the last sum. */
export function checksums(at: usize, length: u32, count: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < count; i++) sum = partial(at, length, sum);
  return sum;
}

/**
 * Looks up `count` addresses at `from`, a multiple of four, in network order as packets have them;
 * the next hops go to `to`. Two by two, as those of a packet; four a turn, in the C twin as well: a
 * turn of a loop costs as much as a lookup.
 */
export function lookups(from: usize, to: usize, count: u32): void {
  const end = from + <usize>count * 4;
  for (; from < end; from += 16, to += 16) {
    let root = fib.root4();
    store<u32>(to, fib.lookup4(root, from));
    store<u32>(to, fib.lookupNext4(root, from), 4);
    const second = from + 8;
    root = fib.root4();
    store<u32>(to, fib.lookup4(root, second), 8);
    store<u32>(to, fib.lookupNext4(root, second), 12);
  }
}

/**
 * Writes outer headers before `count` packets (a multiple of four), one every `stride` bytes, each
 * to a peer of its own whose table entry's address stands in the list of words at `peers`: as VXLAN
 * and Geneve write them both.
 */
export function encaps(peers: usize, innerAt: usize, stride: usize, count: u32): void {
  const end = peers + <usize>count * 4;
  for (; peers < end; peers += 16, innerAt += 4 * stride) {
    frame.write(load<u32>(peers), innerAt);
    frame.write(load<u32>(peers, 4), innerAt + stride);
    frame.write(load<u32>(peers, 8), innerAt + 2 * stride);
    frame.write(load<u32>(peers, 12), innerAt + 3 * stride);
  }
}

/**
 * Checks the outer headers of `count` datagrams, one every `stride` bytes; the offsets found (or
 * -Drop) go to `to`.
 */
export function decapsVxlan(
  peer: usize,
  at: usize,
  length: u32,
  stride: usize,
  count: u32,
  to: usize,
): void {
  const end = to + <usize>count * 4;
  for (; to < end; to += 4, at += stride) store<i32>(to, vxlan.decap(0, peer, at, length));
}

/** As `decapsVxlan`. */
export function decapsGeneve(
  peer: usize,
  at: usize,
  length: u32,
  stride: usize,
  count: u32,
  to: usize,
): void {
  const end = to + <usize>count * 4;
  for (; to < end; to += 4, at += stride) store<i32>(to, geneve.decap(0, peer, at, length));
}
