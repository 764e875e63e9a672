// The memory map keeps its own promises: regions follow each other, words that two threads share
// stand on their own lines, and all that is laid out fits.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import * as layout from "../../assembly/shared/layout.js";
import * as tables from "../../assembly/shared/tables.js";
import { DatapathError } from "../../src/datapath/errors.js";
import { createMemory } from "../../src/datapath/memory.js";

test("the regions of a worker follow each other without overlap", () => {
  const regions: [string, number, number][] = [
    ["block", 0, layout.WORKER_BLOCK_SIZE],
    ["counters", layout.W_COUNTERS, layout.COUNTERS_SIZE],
    ["state", layout.W_STATE_REGION, layout.STATE_REGION_SIZE],
    ["punt ring", layout.W_PUNT_RING, layout.RING_SIZE],
    ["inject ring", layout.W_INJECT_RING, layout.RING_SIZE],
    ["TUN input", layout.W_TUN_IN, layout.BATCH * layout.DESCRIPTOR_SIZE],
    ["underlay input", layout.W_WIRE_IN, layout.BATCH * layout.DESCRIPTOR_SIZE],
    ["TUN output", layout.W_TUN_OUT, layout.OUT_DESCRIPTORS * layout.DESCRIPTOR_SIZE],
    ["underlay output", layout.W_WIRE_OUT, layout.OUT_DESCRIPTORS * layout.DESCRIPTOR_SIZE],
    ["TUN slots", layout.W_TUN_SLOTS, layout.BATCH * layout.SLOT_SIZE],
    ["underlay slots", layout.W_WIRE_SLOTS, layout.BATCH * layout.SLOT_SIZE],
    ["TUN arena", layout.W_TUN_ARENA, layout.ARENA_SIZE],
    ["underlay arena", layout.W_WIRE_ARENA, layout.ARENA_SIZE],
    ["packets by peer", layout.W_PEER_PACKETS, layout.PEER_PACKETS_SIZE],
    ["heard of peers", layout.W_PEER_HEARD, layout.PEER_PACKETS_SIZE],
    ["questions of peers", layout.W_PEER_ASKED, layout.PEER_PACKETS_SIZE],
    ["what questions say", layout.W_PEER_SAID, layout.PEER_PACKETS_SIZE],
    ["records of drops", layout.W_DROP_RECORDS, layout.DROP_RECORDS_SIZE],
  ];
  let end = 0;
  for (const [name, at, size] of regions) {
    assert.is(at, end, `${name} begins where the region before it ends`);
    assert.is(at % 8, 0, `${name} is aligned`);
    end = at + size;
  }
  assert.is(end, layout.WORKER_SIZE);
});

test("parts of the state region do not overlap", () => {
  const trains = layout.W_TRAINS + 4 * layout.ENTROPY_SOCKETS;
  assert.ok(trains <= layout.W_ICMP_STATE);
  assert.is(layout.W_ICMP_STATE + layout.ICMP_STATE_SIZE, layout.W_COALESCE_STATE);
  const end = layout.W_STATE_REGION + layout.STATE_REGION_SIZE;
  assert.is(layout.W_COALESCE_STATE + layout.COALESCE_STATE_SIZE, end);
});

test("a slot holds its headroom, the vnet header and the largest packet", () => {
  const needed = layout.HEADROOM + layout.VNET_HEADER_SIZE + 65_535;
  assert.ok(layout.SLOT_SIZE >= needed && layout.SLOT_SIZE % 64 === 0);
});

test("every drop reason has its counter", () => {
  assert.ok(Drop.COUNT <= layout.MAX_DROPS);
  assert.is(layout.N_DROP_BYTES, layout.N_DROP_PACKETS + 8 * layout.MAX_DROPS);
  assert.is(layout.COUNTERS_PER_DIRECTION, layout.N_DROP_BYTES + 8 * layout.MAX_DROPS);
});

test("a ring's head and tail stand on lines of their own", () => {
  assert.ok(Math.abs(layout.RING_TAIL - layout.RING_HEAD) >= 64);
  assert.ok(layout.RING_DATA - layout.RING_TAIL >= 64);
  assert.is(Math.log2(layout.RING_ENTRIES) % 1, 0);
});

test("a peer's template fits its entry", () => {
  const end = tables.P_TEMPLATE + tables.TEMPLATE6_BEHIND + tables.P_TEMPLATE_SIZE;
  assert.ok(end <= tables.P_KEY_ALSO && tables.P_VNI_ALSO + 4 <= tables.PEER_SIZE);
  const gre = layout.GRE_OVERHEAD + 3 * layout.GRE_WORD + layout.ETHERNET_OVERHEAD;
  assert.ok(Math.max(layout.VXLAN_OVERHEAD, gre) <= tables.P_TEMPLATE_SIZE);
});

test("one bit of a packet's first byte leads to the template for its version", () => {
  const behind = tables.TEMPLATE6_BEHIND;
  assert.ok(tables.P_TEMPLATE_SIZE <= behind);
  for (let low = 0; low < 16; low++) {
    assert.is((0x40 + low) & behind, 0);
    assert.is((0x60 + low) & behind, behind);
  }
});

test("memory is laid out by capacities, tables and workers apart", () => {
  const { memory, words, bases } = createMemory({
    workers: 2,
    peerCapacity: 9,
    prefixCapacity: 99,
  });
  const control = (offset: number) => words[(layout.CONTROL + offset) / 4] ?? 0;
  assert.is(control(layout.C_MAGIC), layout.LAYOUT_MAGIC);
  const [first, second] = [control(layout.C_TABLES_AT), control(layout.C_TABLES_AT + 4)];
  assert.is(first, layout.CONTROL + layout.CONTROL_SIZE);
  assert.is(second, first + control(layout.C_TABLES_SIZE));
  assert.is(control(layout.C_SESSIONS_AT), second + control(layout.C_TABLES_SIZE));
  const room = control(layout.C_WORKERS_AT) - control(layout.C_SESSIONS_AT);
  assert.ok(room >= 2 * 9 * tables.SESSION_SIZE, "records of all peers, and of those that went");
  assert.equal(bases, [
    control(layout.C_WORKERS_AT),
    control(layout.C_WORKERS_AT) + control(layout.C_WORKER_STRIDE),
  ]);
  assert.ok((bases[1] ?? 0) + layout.WORKER_SIZE <= memory.buffer.byteLength);
});

test("capacities and workers out of range are refused by name", () => {
  for (const options of [
    { workers: 0 },
    { workers: layout.MAX_WORKERS + 1 },
    { workers: 1.5 },
    { workers: 1, peerCapacity: 70_000 },
    { workers: 1, prefixCapacity: 0 },
  ]) {
    const isRefusal = (error: unknown) =>
      error instanceof DatapathError && error.code === "MESHD_BAD_OPTION";
    assert.throws(() => createMemory(options), isRefusal);
  }
});

test.run();
