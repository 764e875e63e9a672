// AssemblyScript, built with the hot path for the bench alone: kernels called many times from
// inside the module, as the hot path calls them. A call from JavaScript costs as much as a lookup.
import { partial } from "../../../assembly/checksum";
import * as fib from "../../../assembly/fib";
import * as frame from "../../../assembly/frame";
import * as mppe from "../../../assembly/mppe/index";
import * as rc4 from "../../../assembly/mppe/rc4";
import { MPPE_COUNT_SIZE, MPPE_STAGED_SIZE } from "../../../assembly/shared/mppe";

/** Sums the same bytes `count` times, each time on top of the last sum. */
export function checksums(at: usize, length: u32, count: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < count; i++) sum = partial(at, length, sum);
  return sum;
}

/**
 * Looks up `count` addresses at `from`, a multiple of eight, in network order as packets have them;
 * the next hops go to `to`. Two by two, as those of a packet; eight a turn, as in the C twin: a
 * turn of a loop costs as much as a lookup. The root is read once (the hot path: once a packet),
 * for the twin has it in a register.
 */
export function lookups(from: usize, to: usize, count: u32): void {
  const end = from + <usize>count * 4;
  const root = fib.root4();
  for (; from < end; from += 32, to += 32) {
    store<u32>(to, fib.lookup4(root, from));
    store<u32>(to, fib.lookupNext4(root, from), 4);
    store<u32>(to, fib.lookup4(root, from + 8), 8);
    store<u32>(to, fib.lookupNext4(root, from + 8), 12);
    store<u32>(to, fib.lookup4(root, from + 16), 16);
    store<u32>(to, fib.lookupNext4(root, from + 16), 20);
    store<u32>(to, fib.lookup4(root, from + 24), 24);
    store<u32>(to, fib.lookupNext4(root, from + 24), 28);
  }
}

/**
 * Writes outer headers before `count` packets (a multiple of four), one every `stride` bytes, each
 * to a peer of its own whose table entry's address stands in the list of words at `peers`: as VXLAN
 * and Geneve write them both. All of it `rounds` times.
 */
export function encaps(peers: usize, innerAt: usize, stride: usize, count: u32, rounds: u32): void {
  const end = peers + <usize>count * 4;
  for (let round: u32 = 0; round < rounds; round++) {
    let at = innerAt;
    for (let list = peers; list < end; list += 16, at += 4 * stride) {
      frame.write(load<u32>(list), at);
      frame.write(load<u32>(list, 4), at + stride);
      frame.write(load<u32>(list, 8), at + 2 * stride);
      frame.write(load<u32>(list, 12), at + 3 * stride);
    }
  }
}

/**
 * RC4 with the 16-byte key at `key` over `length` bytes, which are first copied from `from` to
 * `at`; `count` times, one key stream.
 */
export function rc4s(key: usize, from: usize, at: usize, length: u32, count: u32): void {
  memory.copy(at, from, length);
  rc4.schedule(key, 16);
  for (let i: u32 = 0; i < count; i++) rc4.crypt(at, length);
}

/**
 * MPPE over `length` bytes, which are first copied from `from` behind the count word at `at`;
 * `count` packets of a direction that begins with the 24 bytes at `key`, taken over into `state`.
 */
export function mppes(
  key: usize,
  state: usize,
  from: usize,
  at: usize,
  length: u32,
  count: u32,
): void {
  memory.copy(at + MPPE_COUNT_SIZE, from, length);
  // Installing zeroes what was staged.
  memory.copy(at - MPPE_STAGED_SIZE, key, MPPE_STAGED_SIZE);
  mppe.install(state, at - MPPE_STAGED_SIZE);
  for (let i: u32 = 0; i < count; i++) mppe.encrypt(state, at, length + MPPE_COUNT_SIZE);
}
