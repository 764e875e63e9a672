// Reads the hot path's counters out of the shared memory. Each has one writer, its worker; they
// live as long as the memory, so a restarted worker goes on counting.
import { Drop } from "../../assembly/shared/drop.js";
import {
  COUNTERS_PER_DIRECTION,
  EGRESS,
  INGRESS,
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
} from "../../assembly/shared/layout.js";

export type DropName = Exclude<keyof typeof Drop, "NONE" | "COUNT">;

export interface DropCount {
  packets: number;
  bytes: number;
}

/**
 * Packets of one direction, in wire-size inner packets. At rest
 * received + generated = forwarded + consumed + sum of drops.
 * Numbers are exact to 2^53: packets for longer than any machine lives, bytes for 80 days at
 * 10 Gbit/s and to one part in 10^15 after that.
 */
export interface DirectionCounters {
  received: number;
  generated: number;
  forwarded: number;
  consumed: number;
  /** Super-packets and trains, each counted once; their segments are in the totals above. */
  super: number;
  receivedBytes: number;
  forwardedBytes: number;
  /** Descriptors written: system-call entries, each of one packet or one train. */
  sends: number;
  /** Only reasons that happened. */
  drops: Partial<Record<DropName, DropCount>>;
}

export interface WorkerCounters {
  worker: number;
  /** overlay -> underlay */
  egress: DirectionCounters;
  /** underlay -> overlay */
  ingress: DirectionCounters;
}

const DROP_REASONS = Object.keys(Drop).filter(
  (name): name is DropName => Number.isNaN(Number(name)) && name !== "NONE" && name !== "COUNT",
);

function readDirection(
  counters: BigUint64Array,
  base: number,
  direction: number,
): DirectionCounters {
  const at = base + W_COUNTERS + direction * COUNTERS_PER_DIRECTION;
  const read = (offset: number) => Number(Atomics.load(counters, (at + offset) / 8));
  const drops: Partial<Record<DropName, DropCount>> = {};
  for (const name of DROP_REASONS) {
    const packets = read(N_DROP_PACKETS + 8 * Drop[name]);
    if (packets > 0) drops[name] = { packets, bytes: read(N_DROP_BYTES + 8 * Drop[name]) };
  }
  return {
    received: read(N_RECEIVED),
    generated: read(N_GENERATED),
    forwarded: read(N_FORWARDED),
    consumed: read(N_CONSUMED),
    super: read(N_SUPER),
    receivedBytes: read(N_RECEIVED_BYTES),
    forwardedBytes: read(N_FORWARDED_BYTES),
    sends: read(N_SENDS),
    drops,
  };
}

/** One worker's counters; `base` is its block, `counters` views the whole memory. */
export function readCounters(
  counters: BigUint64Array,
  base: number,
  worker: number,
): WorkerCounters {
  return {
    worker,
    egress: readDirection(counters, base, EGRESS),
    ingress: readDirection(counters, base, INGRESS),
  };
}

/** Packets that one worker took from the device or gave to it; what it answered itself is none. */
export function readTraffic(counters: BigUint64Array, base: number): number {
  const read = (direction: number, offset: number) =>
    Atomics.load(counters, (base + W_COUNTERS + direction * COUNTERS_PER_DIRECTION + offset) / 8);
  const given = read(INGRESS, N_FORWARDED) - read(INGRESS, N_GENERATED);
  return Number(read(EGRESS, N_RECEIVED) + given);
}

/** Packets that one worker dropped for one reason. */
export function readDrops(
  counters: BigUint64Array,
  base: number,
  direction: number,
  reason: DropName,
): number {
  const at = base + W_COUNTERS + direction * COUNTERS_PER_DIRECTION;
  return Number(Atomics.load(counters, (at + N_DROP_PACKETS + 8 * Drop[reason]) / 8));
}

/** Packets that were dropped in one direction, all reasons together. */
export function droppedPackets(direction: DirectionCounters): number {
  return Object.values(direction.drops).reduce((sum, drop) => sum + drop.packets, 0);
}

/** received + generated - forwarded - consumed - dropped: 0 at rest, packets in flight else. */
export function packetsInFlight(direction: DirectionCounters): number {
  const { received, generated, forwarded, consumed } = direction;
  return received + generated - forwarded - consumed - droppedPackets(direction);
}
