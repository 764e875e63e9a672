// Counters read out of the memory, and what is counted for a worker that died.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import {
  COUNTERS_PER_DIRECTION,
  EGRESS,
  INGRESS,
  N_DROP_BYTES,
  N_DROP_PACKETS,
  N_FORWARDED,
  N_GENERATED,
  N_RECEIVED,
  N_RECEIVED_BYTES,
  RING_HEAD,
  W_COUNTERS,
  W_ICMP_STATE,
  W_PUNT_RING,
  W_TUN_IN_COUNT,
  W_WIRE_OUT_COUNT,
  WORKER_SIZE,
} from "../../assembly/shared/layout.js";
import { packetsInFlight, readCounters } from "../../src/datapath/counters.js";
import { mendRegion } from "../../src/datapath/recovery.js";

const BASE = 65536;

function setUp() {
  const memory = new SharedArrayBuffer(BASE + WORKER_SIZE);
  const views = { bytes: new Uint8Array(memory), counters: new BigUint64Array(memory) };
  const words = new Uint32Array(memory);
  const set = (direction: number, offset: number, value: bigint) => {
    const at = BASE + W_COUNTERS + direction * COUNTERS_PER_DIRECTION + offset;
    views.counters[at / 8] = value;
  };
  return { views, words, set };
}

test("counters come out by direction, drops by name and only those that happened", () => {
  const { views, set } = setUp();
  set(EGRESS, N_RECEIVED, 10n);
  set(EGRESS, N_FORWARDED, 7n);
  set(INGRESS, N_RECEIVED_BYTES, 1n << 40n);
  set(EGRESS, N_DROP_PACKETS + 8 * Drop.NO_ROUTE, 3n);
  set(EGRESS, N_DROP_BYTES + 8 * Drop.NO_ROUTE, 300n);
  const { worker, egress, ingress } = readCounters(views.counters, BASE, 4);
  assert.is(worker, 4);
  assert.is(egress.received, 10);
  assert.equal(egress.drops, { NO_ROUTE: { packets: 3, bytes: 300 } });
  assert.is(packetsInFlight(egress), 0);
  assert.is(ingress.receivedBytes, 2 ** 40);
  assert.equal(ingress.drops, {});
});

test("packets in the hands of a dead worker are counted, so that the identity holds again", () => {
  const { views, set } = setUp();
  set(EGRESS, N_RECEIVED, 100n);
  set(EGRESS, N_GENERATED, 1n);
  set(EGRESS, N_FORWARDED, 90n);
  set(INGRESS, N_RECEIVED, 5n);
  set(INGRESS, N_FORWARDED, 5n);
  assert.is(mendRegion(views, BASE), 11);
  const { egress, ingress } = readCounters(views.counters, BASE, 0);
  assert.is(egress.drops.WORKER_DIED?.packets, 11);
  assert.is(packetsInFlight(egress), 0);
  assert.equal(ingress.drops, {});
  assert.is(mendRegion(views, BASE), 0);
});

test("half-done work is forgotten, rings and counters stay", () => {
  const { views, words, set } = setUp();
  set(INGRESS, N_RECEIVED, 5n);
  for (const offset of [W_TUN_IN_COUNT, W_WIRE_OUT_COUNT, W_ICMP_STATE, W_PUNT_RING + RING_HEAD]) {
    words[(BASE + offset) / 4] = 9;
  }
  mendRegion(views, BASE);
  const left = [W_TUN_IN_COUNT, W_WIRE_OUT_COUNT, W_ICMP_STATE, W_PUNT_RING + RING_HEAD];
  assert.equal(
    left.map((offset) => words[(BASE + offset) / 4]),
    [0, 0, 0, 9],
  );
  assert.is(readCounters(views.counters, BASE, 0).ingress.received, 5);
});

test.run();
