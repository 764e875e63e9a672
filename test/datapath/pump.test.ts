// The pump alone: a device, an underlay and a hot path of a few lines each, in plain memory.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  BATCH,
  D_ADDRESS,
  D_CAPACITY,
  D_LENGTH,
  DESCRIPTOR_SIZE,
  HEADROOM,
  RING_HEAD,
  RING_TAIL,
  SLOT_SIZE,
  W_INJECT_RING,
  W_TUN_IN,
  W_TUN_IN_COUNT,
  W_TUN_IN_NEXT,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_TUN_SLOTS,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_IN_NEXT,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
  W_WIRE_SLOTS,
  WORKER_SIZE,
} from "../../assembly/shared/layout.js";
import { PORT_WIRE } from "../../src/datapath/device.js";
import { Pump } from "../../src/datapath/pump.js";
import { SplitPorts } from "../support/split-ports.js";

const BASE = 65536;
const words = new Uint32Array((BASE + WORKER_SIZE) / 4);
const word = (offset: number) => words[(BASE + offset) / 4] ?? 0;
const setWord = (offset: number, value: number) => {
  words[(BASE + offset) / 4] = value;
};

/** Gives `waiting` descriptors, a batch at most a read; keeps what was asked and written. */
class FakePort {
  waiting = 0;
  reads = 0;
  readonly writes: { at: number; count: number }[] = [];
  readonly presets: [number, number][] = [];
  readonly #log: string[];
  readonly #name: string;

  constructor(name: string, log: string[]) {
    this.#name = name;
    this.#log = log;
  }

  readBatch(at: number, count: number): number {
    this.reads += 1;
    this.#log.push(`read ${this.#name}`);
    const taken = Math.min(this.waiting, count);
    this.waiting -= taken;
    for (let index = 0; index < taken; index += 1) {
      const slot = (at + index * DESCRIPTOR_SIZE) / 4;
      this.presets.push([words[slot + D_ADDRESS / 4] ?? 0, words[slot + D_CAPACITY / 4] ?? 0]);
      words.fill(0xa5a5a5a5, slot + D_LENGTH / 4, slot + DESCRIPTOR_SIZE / 4);
    }
    return taken;
  }

  writeBatch(at: number, count: number): number {
    this.#log.push(`write ${this.#name}`);
    this.writes.push({ at: at - BASE, count });
    return count;
  }
}

/** Forwards each input to the other side, at most `perRun` descriptors a run. */
class FakeHotPath {
  perRun = BATCH * 2;
  runs = 0;
  settled = 0;
  deadline_us = Number.POSITIVE_INFINITY;
  readonly #log: string[];

  constructor(log: string[]) {
    this.#log = log;
  }

  run(): number {
    this.runs += 1;
    this.#log.push("run");
    let room = this.perRun;
    room -= this.#move(W_TUN_IN_COUNT, W_TUN_IN_NEXT, W_WIRE_OUT_COUNT, room);
    this.#move(W_WIRE_IN_COUNT, W_WIRE_IN_NEXT, W_TUN_OUT_COUNT, room);
    return this.deadline_us;
  }

  #move(count: number, next: number, out: number, room: number): number {
    const moved = Math.min(room, word(count) - word(next));
    setWord(next, word(next) + moved);
    setWord(out, word(out) + moved);
    return moved;
  }

  settle(): void {
    this.#log.push("settle");
    this.settled += 1;
    setWord(W_WIRE_OUT_COUNT, 0);
    setWord(W_TUN_OUT_COUNT, 0);
  }
}

function setUp() {
  words.fill(0);
  const log: string[] = [];
  const device = new FakePort("device", log);
  const underlay = new FakePort("wire", log);
  const hotPath = new FakeHotPath(log);
  const ports = new SplitPorts({ words, base: BASE }, device, underlay);
  const pump = new Pump({ words, base: BASE, hotPath, ports });
  const roundAsksForMore = () => {
    pump.round();
    return ports.mayHoldMore();
  };
  return { log, device, underlay, hotPath, ports, pump, roundAsksForMore };
}

test("a round reads both sides, runs, writes the underlay, then the device, then settles", () => {
  const { roundAsksForMore, device, underlay, log } = setUp();
  device.waiting = 3;
  underlay.waiting = 2;
  assert.is(roundAsksForMore(), false);
  assert.equal(log, ["read device", "read wire", "run", "write wire", "write device", "settle"]);
  assert.equal(underlay.writes, [{ at: W_WIRE_OUT, count: 3 }]);
  assert.equal(device.writes, [{ at: W_TUN_OUT, count: 2 }]);
});

test("a side that came back short is not read again until the poller names it", () => {
  const { pump, device, underlay, ports } = setUp();
  pump.round();
  pump.round();
  assert.is(device.reads, 1);
  ports.ready = PORT_WIRE;
  pump.round();
  assert.is(device.reads, 1);
  assert.is(underlay.reads, 2);
});

test("a full batch asks for another round before the worker may block", () => {
  const { roundAsksForMore, device, underlay } = setUp();
  device.waiting = BATCH + 1;
  assert.is(roundAsksForMore(), true);
  assert.is(roundAsksForMore(), false);
  assert.equal(
    underlay.writes.map((write) => write.count),
    [BATCH, 1],
  );
});

test("while one side is always full the other is read as well, for nobody asks the poller", () => {
  for (const [flooded, quiet] of [
    ["underlay", "device"],
    ["device", "underlay"],
  ] as const) {
    const scene = setUp();
    scene[flooded].waiting = 3 * BATCH;
    assert.is(scene.roundAsksForMore(), true);
    scene[quiet].waiting = 1;
    assert.is(scene.roundAsksForMore(), true);
    assert.is(scene[quiet].waiting, 0, `${quiet} beside a flooded ${flooded}`);
  }
});

test("run is called again until inputs that did not fit the outputs are consumed", () => {
  const { pump, device, underlay, hotPath } = setUp();
  hotPath.perRun = 10;
  device.waiting = 25;
  pump.round();
  assert.equal(
    underlay.writes.map((write) => write.count),
    [10, 10, 5],
  );
  assert.is(hotPath.settled, 3);
});

test("a hot path that touches no input is an error, not an endless loop", () => {
  const { pump, device, hotPath } = setUp();
  hotPath.perRun = 0;
  device.waiting = 1;
  assert.throws(() => pump.round(), /leaves 1 inputs untouched/);
});

test("every slot has its own address and capacity, again after it was used", () => {
  const { pump, device, underlay } = setUp();
  for (const side of [device, underlay]) side.waiting = BATCH + 2;
  pump.round();
  pump.round();
  const expected = (slots: number) =>
    [...Array(BATCH).keys(), 0, 1].map((index) => [
      BASE + slots + index * SLOT_SIZE + HEADROOM,
      SLOT_SIZE - HEADROOM,
    ]);
  assert.equal(device.presets, expected(W_TUN_SLOTS));
  assert.equal(underlay.presets, expected(W_WIRE_SLOTS));
  assert.ok(W_TUN_IN + BATCH * DESCRIPTOR_SIZE <= W_WIRE_IN);
});

test("a round without input still runs once, so that rings and tables are looked at", () => {
  const { pump, hotPath } = setUp();
  pump.round();
  hotPath.deadline_us = 1234;
  pump.round();
  assert.is(hotPath.runs, 2);
  assert.is(hotPath.settled, 0);
  assert.is(pump.deadline_us, 1234);
});

test("injected packets that an output had no room for get another run", () => {
  const { pump, hotPath, underlay } = setUp();
  let waiting = 5;
  setWord(W_INJECT_RING + RING_HEAD, waiting);
  hotPath.run = () => {
    const taken = Math.min(2, waiting);
    waiting -= taken;
    setWord(W_INJECT_RING + RING_TAIL, 5 - waiting);
    setWord(W_WIRE_OUT_COUNT, taken);
    return Number.POSITIVE_INFINITY;
  };
  pump.round();
  assert.equal(
    underlay.writes.map((write) => write.count),
    [2, 2, 1],
  );
});

test.run();
