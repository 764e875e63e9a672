// One direction of an impaired wire: what a seed does to a sequence of frames, exactly.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Impairment, UNIMPAIRED } from "../../src/lab/wire/impairment.js";
import { Lane } from "../../src/lab/wire/lane.js";

const FRAMES = 10_000;
const SIZE = 64;

/** What seed 7 does to 10,000 frames. */
const EXPECTED = {
  ...{ frames: FRAMES, sent: 10_009, lost: 108, duplicated: 117, corrupted: 95, reordered: 494 },
  ...{ tooLong: 0, cut: 0, queueFull: 0 },
};

/** A frame that carries its number behind the Ethernet header. */
function numbered(number: number, size = SIZE): Uint8Array {
  const frame = Buffer.alloc(size);
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt32BE(number, 14);
  return frame;
}

const numberOf = (frame: Uint8Array) => Buffer.from(frame).readUInt32BE(14);

interface Passed {
  number: number;
  at_us: number;
  frame: Uint8Array;
}

/** Sends frames `step_us` apart through a lane and gives what came out, and when. */
function pass(wish: Partial<Impairment>, seed: number, count = FRAMES, step_us = 10, size = SIZE) {
  const out: Passed[] = [];
  let now = 0;
  const lane = new Lane({ ...UNIMPAIRED, ...wish }, seed, (frame) => {
    out.push({ number: numberOf(frame), at_us: now, frame: Uint8Array.from(frame) });
  });
  const drainUntil = (end_us: number) => {
    for (let due = lane.nextDue(); due <= end_us; due = lane.nextDue()) {
      now = Math.max(now, due);
      lane.drain(now);
    }
    now = Math.max(now, end_us);
  };
  for (let number = 0; number < count; number += 1) {
    drainUntil(number * step_us);
    lane.take(numbered(number, size), number * step_us);
  }
  drainUntil(Number.MAX_SAFE_INTEGER);
  return { lane, out, numbers: out.map(({ number }) => number) };
}

/** Frames that came behind one that was sent after them. */
function overtaken(numbers: readonly number[]): number {
  let highest = -1;
  let late = 0;
  for (const number of numbers) {
    if (number < highest) late += 1;
    highest = Math.max(highest, number);
  }
  return late;
}

test("a wire without faults passes every frame at once, in order, unchanged", () => {
  const { lane, out, numbers } = pass({}, 1);
  assert.equal(
    numbers,
    Array.from({ length: FRAMES }, (_, number) => number),
  );
  assert.ok(out.every(({ number, at_us }) => at_us === number * 10));
  assert.equal(Buffer.from(out[77]?.frame ?? []), Buffer.from(numbered(77)));
  assert.is(lane.counts.frames, FRAMES);
  assert.is(lane.counts.sent, FRAMES);
});

test("a seed loses, doubles, damages and holds back exactly the same frames each time", () => {
  const faults = {
    ...{ loss_ppm: 10_000, duplicate_ppm: 10_000, corrupt_ppm: 10_000, reorder_ppm: 50_000 },
  };
  const first = pass(faults, 7);
  const again = pass(faults, 7);
  assert.equal(first.numbers, again.numbers);
  assert.equal(first.lane.counts, again.lane.counts);
  assert.equal(first.lane.counts, EXPECTED);
  assert.is(first.out.length, FRAMES - EXPECTED.lost + EXPECTED.duplicated);
  assert.is.not(JSON.stringify(pass(faults, 8).numbers), JSON.stringify(first.numbers));
});

test("which frames are lost does not depend on the other faults", () => {
  const lostOf = (wish: Partial<Impairment>) => {
    const passed = new Set(pass(wish, 7).numbers);
    return Array.from({ length: FRAMES }, (_, i) => i).filter((i) => !passed.has(i));
  };
  const alone = lostOf({ loss_ppm: 10_000 });
  assert.is(alone.length, EXPECTED.lost);
  assert.equal(lostOf({ loss_ppm: 10_000, duplicate_ppm: 300_000, reorder_ppm: 500_000 }), alone);
});

test("a frame held back comes after `gap` later ones, or in time when none follows", () => {
  const { numbers, lane } = pass({ reorder_ppm: 50_000, gap: 3 }, 7);
  assert.is(lane.counts.reordered, 499);
  assert.is(overtaken(numbers), 499);
  const held = numbers.findIndex((number, index) => number > index);
  assert.equal(numbers.slice(held, held + 4), [held + 1, held + 2, held + 3, held]);
  assert.equal(
    [...numbers].sort((a, b) => a - b),
    pass({}, 1).numbers,
  );
  const all = pass({ reorder_ppm: 1_000_000 }, 7, 3, 1000);
  assert.equal(
    all.out.map(({ at_us }) => at_us),
    [20_000, 21_000, 22_000],
  );
});

test("damage is one bit behind the Ethernet header", () => {
  const { out } = pass({ corrupt_ppm: 1_000_000 }, 3, 500);
  for (const [number, { frame }] of out.entries()) {
    const sent = numbered(number);
    const differing = sent.map((byte, at) => byte ^ (frame[at] ?? 0));
    const bits = [...differing].reduce(
      (sum, byte) => sum + byte.toString(2).split("1").length - 1,
      0,
    );
    assert.is(bits, 1);
    assert.ok(differing.subarray(0, 14).every((byte) => byte === 0));
  }
});

test("delay and jitter keep the order; the delay stays within its bounds", () => {
  const { out, numbers } = pass({ delay_us: 5000, jitter_us: 2000 }, 7, 2000, 100);
  assert.is(overtaken(numbers), 0);
  const delays = out.map(({ number, at_us }) => at_us - number * 100);
  assert.ok(delays.every((delay) => delay >= 3000 && delay <= 7000));
  assert.ok(new Set(delays).size > 10, "they differ");
});

test("a rate spaces frames and drops those that would wait too long", () => {
  // 1000 bytes at 8 Mbit/s: 1 ms each; ten times as many come.
  const wish = { rate: 8_000_000, queue_us: 5000 };
  const { out, lane } = pass(wish, 1, 1000, 100, 1000);
  const gaps = out.slice(1).map(({ at_us }, index) => at_us - (out[index]?.at_us ?? 0));
  assert.ok(
    gaps.every((gap) => gap === 1000),
    `${gaps.slice(0, 5)}`,
  );
  assert.is(lane.counts.sent, 105);
  assert.is(lane.counts.queueFull, 895);
});

test("longer packets than the MTU and all of a cut direction are dropped and counted", () => {
  const fits = pass({ mtu: 50 }, 1, 10, 10, 64);
  assert.is(fits.out.length, 10);
  const long = pass({ mtu: 49 }, 1, 10, 10, 64);
  assert.is(long.out.length, 0);
  assert.is(long.lane.counts.tooLong, 10);
  const cut = pass({ cut: true, loss_ppm: 500_000 }, 1, 10);
  assert.is(cut.lane.counts.cut, 10);
  assert.is(cut.out.length, 0);
});

test("new settings begin the numbers and the counts anew and let go what was held", () => {
  const out: number[] = [];
  const impaired = { ...UNIMPAIRED, reorder_ppm: 1_000_000 };
  const lane = new Lane(impaired, 7, (frame) => out.push(numberOf(frame)));
  lane.take(numbered(1), 0);
  assert.equal(out, []);
  lane.set({ ...UNIMPAIRED, loss_ppm: 10_000 }, 7, 5);
  assert.equal(out, [1]);
  assert.is(lane.counts.frames, 0);
  for (let number = 0; number < FRAMES; number += 1) lane.take(numbered(number), 10);
  assert.is(lane.counts.lost, EXPECTED.lost);
});

test("memory is bounded: what waits beyond the bound is dropped and counted", () => {
  const { lane } = pass({ delay_us: 60_000_000 }, 1, 20_000, 1);
  assert.is(lane.counts.queueFull, 20_000 - 16_384);
});

test.run();
