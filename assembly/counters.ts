// Packets and bytes per direction and drop reason. One writer, the worker, so no atomics.

import {
  COUNTERS_PER_DIRECTION,
  N_CONSUMED,
  N_DROP_BYTES,
  N_DROP_PACKETS,
  N_FORWARDED,
  N_FORWARDED_BYTES,
  N_GENERATED,
  N_RECEIVED,
  N_RECEIVED_BYTES,
  N_SENDS,
  N_SUPER,
  W_COUNTERS,
} from "./shared/layout";
import { worker } from "./worker";

function base(direction: u32): usize {
  return worker + W_COUNTERS + <usize>direction * COUNTERS_PER_DIRECTION;
}

function add(at: usize, amount: u64): void {
  store<u64>(at, load<u64>(at) + amount);
}

/** Counts wire-size inner packets that came in, with the bytes they had as they came. */
export function received(direction: u32, packets: u32, bytes: u32): void {
  const at = base(direction);
  add(at + N_RECEIVED, packets);
  add(at + N_RECEIVED_BYTES, bytes);
}

/** Counts packets made here in answer to what came from that direction. */
export function generated(direction: u32, packets: u32): void {
  add(base(direction) + N_GENERATED, packets);
}

/** Counts packets that ended here because they were for us. */
export function consumed(direction: u32, packets: u32): void {
  add(base(direction) + N_CONSUMED, packets);
}

/** Counts packets that left, and the send or write that took them. */
export function forwarded(direction: u32, packets: u32, bytes: u32): void {
  const at = base(direction);
  add(at + N_FORWARDED, packets);
  add(at + N_FORWARDED_BYTES, bytes);
  add(at + N_SENDS, 1);
}

/** Counts a super-packet: read from TUN (egress) or written to it (ingress). */
export function superPacket(direction: u32): void {
  add(base(direction) + N_SUPER, 1);
}

/** Counts packets that ended for a reason. */
export function dropped(direction: u32, reason: u32, packets: u32, bytes: u32): void {
  const at = base(direction) + reason * 8;
  add(at + N_DROP_PACKETS, packets);
  add(at + N_DROP_BYTES, bytes);
}
