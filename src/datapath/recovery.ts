// What the control thread does about a dead worker's region before its place runs again: packets in
// the thread's hands are counted as drops, half-done work is forgotten, rings and counters stay.
import { Drop } from "../../assembly/shared/drop.js";
import {
  COUNTERS_PER_DIRECTION,
  EGRESS,
  INGRESS,
  N_DROP_PACKETS,
  STATE_REGION_SIZE,
  W_COUNTERS,
  W_STATE_REGION,
  W_TUN_IN_COUNT,
  W_WIRE_OUT_COUNT,
} from "../../assembly/shared/layout.js";
import { packetsInFlight, readCounters } from "./counters.js";

export interface RegionViews {
  bytes: Uint8Array;
  counters: BigUint64Array;
}

/**
 * Mends the region of a worker whose thread is gone. Its thread was the counters' only writer, so
 * until the next one starts the control thread may write them.
 * @returns packets counted as WORKER_DIED.
 */
export function mendRegion(views: RegionViews, base: number): number {
  const now = readCounters(views.counters, base, 0);
  const lost =
    countLost(views.counters, base + W_COUNTERS + EGRESS * COUNTERS_PER_DIRECTION, now.egress) +
    countLost(views.counters, base + W_COUNTERS + INGRESS * COUNTERS_PER_DIRECTION, now.ingress);
  views.bytes.fill(0, base + W_TUN_IN_COUNT, base + W_WIRE_OUT_COUNT + 4);
  views.bytes.fill(0, base + W_STATE_REGION, base + W_STATE_REGION + STATE_REGION_SIZE);
  return lost;
}

/** Sizes of lost packets are not known any more: their bytes stay uncounted. */
function countLost(
  counters: BigUint64Array,
  at: number,
  direction: Parameters<typeof packetsInFlight>[0],
): number {
  const lost = packetsInFlight(direction);
  if (lost > 0) {
    Atomics.add(counters, (at + N_DROP_PACKETS + 8 * Drop.WORKER_DIED) / 8, BigInt(lost));
  }
  return Math.max(lost, 0);
}
