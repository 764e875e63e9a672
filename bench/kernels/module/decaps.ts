// AssemblyScript, a module of its own: decapsulation called many times. Without the hot path, where
// it has one caller, so that here as there the compiler puts it into that.
import * as geneve from "../../../assembly/encap/geneve";
import * as vxlan from "../../../assembly/encap/vxlan";
import { LAYOUT_VERSION } from "../../../assembly/shared/layout";
import { bind } from "../../../assembly/worker";

/** As in the hot path. */
export function layoutVersion(): u32 {
  return LAYOUT_VERSION;
}

/** As in the hot path; the worker at `base` has found its tables. */
export function init(base: u32): void {
  bind(base);
}

/**
 * Checks the outer headers of `count` datagrams, one every `stride` bytes; the offsets found (or
 * -Drop) go to `to`. All of it `rounds` times.
 */
export function decapsVxlan(
  peer: usize,
  at: usize,
  length: u32,
  stride: usize,
  count: u32,
  to: usize,
  rounds: u32,
): void {
  for (let round: u32 = 0; round < rounds; round++) {
    for (let i: u32 = 0; i < count; i++) {
      store<i32>(to + <usize>i * 4, vxlan.decap(0, peer, at + i * stride, length));
    }
  }
}

/** As `decapsVxlan`. */
export function decapsGeneve(
  peer: usize,
  at: usize,
  length: u32,
  stride: usize,
  count: u32,
  to: usize,
  rounds: u32,
): void {
  for (let round: u32 = 0; round < rounds; round++) {
    for (let i: u32 = 0; i < count; i++) {
      store<i32>(to + <usize>i * 4, geneve.decap(0, peer, at + i * stride, length));
    }
  }
}
