// After the writes: what left and what failed, by the descriptors, which then start anew.
import * as counters from "./counters";
import { closeTrains } from "./send";
import { Drop } from "./shared/drop";
import {
  D_CAPACITY,
  D_DIRECTION,
  D_FAILED,
  D_SEGMENTS,
  D_STATUS,
  DESCRIPTOR_SIZE,
  INGRESS,
  W_TUN_ARENA_USED,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_WIRE_ARENA_USED,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
} from "./shared/layout";
import { worker } from "./worker";

/** Counts one written descriptor of which `failed` packets did not leave. */
function count(at: usize, failed: u32, reason: u32): void {
  const segments: u32 = load<u16>(at, D_SEGMENTS);
  const direction: u32 = load<u8>(at, D_DIRECTION);
  const bytes = load<u32>(at, D_CAPACITY);
  const lost = segments === 0 ? 0 : <u32>((<u64>bytes * failed) / segments);
  if (failed < segments) counters.forwarded(direction, segments - failed, bytes - lost);
  if (failed > 0) counters.dropped(direction, reason, failed, lost);
}

/** A send fails by segments; a status without a number of them means all. */
function failedSegments(at: usize): u32 {
  const segments: u32 = load<u16>(at, D_SEGMENTS);
  const failed = min<u32>(load<u16>(at, D_FAILED), segments);
  return failed === 0 && load<u32>(at, D_STATUS) !== 0 ? segments : failed;
}

function settleWire(): void {
  const end = load<u32>(worker, W_WIRE_OUT_COUNT);
  for (let i: u32 = 0; i < end; i++) {
    const at = worker + W_WIRE_OUT + <usize>i * DESCRIPTOR_SIZE;
    count(at, failedSegments(at), Drop.SEND_FAILED);
  }
  store<u32>(worker, 0, W_WIRE_OUT_COUNT);
  store<u32>(worker, 0, W_WIRE_ARENA_USED);
}

/** A super-packet is written to TUN whole or not at all. */
function settleTun(): void {
  const end = load<u32>(worker, W_TUN_OUT_COUNT);
  for (let i: u32 = 0; i < end; i++) {
    const at = worker + W_TUN_OUT + <usize>i * DESCRIPTOR_SIZE;
    const segments: u32 = load<u16>(at, D_SEGMENTS);
    count(at, load<u32>(at, D_STATUS) === 0 ? 0 : segments, Drop.TUN_WRITE_FAILED);
    if (segments > 1) counters.superPacket(INGRESS);
  }
  store<u32>(worker, 0, W_TUN_OUT_COUNT);
  store<u32>(worker, 0, W_TUN_ARENA_USED);
}

/** Counts all outputs and empties them. */
export function settle(): void {
  settleWire();
  settleTun();
  closeTrains();
}
