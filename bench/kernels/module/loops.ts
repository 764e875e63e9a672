// AssemblyScript, built with the hot path for the bench alone: kernels called many times from
// inside the module, as the hot path calls them. A call from JavaScript costs as much as a lookup.
import { partial } from "../../../assembly/checksum";
import * as vxlan from "../../../assembly/encap/vxlan";
import * as fib from "../../../assembly/fib";

/** Sums the same bytes `count` times, each time on top of the last sum. */
export function checksums(at: usize, length: u32, count: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < count; i++) sum = partial(at, length, sum);
  return sum;
}

/**
 * Looks up `count` addresses at `from`, a multiple of four; the next hops go to `to`. Four a turn,
 * in the C twin as well: a turn of a loop costs as much as a lookup.
 */
export function lookups(from: usize, to: usize, count: u32): void {
  const end = from + <usize>count * 4;
  for (; from < end; from += 16, to += 16) {
    store<u32>(to, fib.lookup4(load<u32>(from)));
    store<u32>(to, fib.lookup4(load<u32>(from, 4)), 4);
    store<u32>(to, fib.lookup4(load<u32>(from, 8)), 8);
    store<u32>(to, fib.lookup4(load<u32>(from, 12)), 12);
  }
}

/**
 * Writes outer headers before `count` packets (a multiple of four), one every `stride` bytes, each
 * to a peer of its own whose table entry's address stands in the list of words at `peers`.
 */
export function encaps(peers: usize, innerAt: usize, stride: usize, count: u32): void {
  const end = peers + <usize>count * 4;
  for (; peers < end; peers += 16, innerAt += 4 * stride) {
    vxlan.encap(load<u32>(peers), innerAt);
    vxlan.encap(load<u32>(peers, 4), innerAt + stride);
    vxlan.encap(load<u32>(peers, 8), innerAt + 2 * stride);
    vxlan.encap(load<u32>(peers, 12), innerAt + 3 * stride);
  }
}

/** Checks the outer headers of `count` datagrams; the offsets found (or -Drop) go to `to`. */
export function decaps(
  peer: usize,
  at: usize,
  length: u32,
  stride: usize,
  count: u32,
  to: usize,
): void {
  for (let i: usize = 0; i < <usize>count; i++) {
    store<i32>(to + i * 4, vxlan.decap(0, peer, at + i * stride, length));
  }
}
