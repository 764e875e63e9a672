// The search for a path's MTU: any path is found exactly, one loss is none, a black hole is left in
// time; on a clock of our own.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LOSSES_MAX, PATH_TIMERS, PathSearch } from "../../src/agent/pmtu/search.js";

const LIMITS = { least: 526, base: 1230, most: 1450 };

/** A path that carries so many bytes, a peer that may be gone, and the time. */
class Path {
  now = 1_000_000;
  asked: number[] = [];
  carries: number;
  isSilent = false;
  readonly search: PathSearch;

  constructor(carries: number, limits = LIMITS, mtu = limits.most) {
    this.carries = carries;
    this.search = new PathSearch(limits, PATH_TIMERS, mtu);
  }

  /** One question and what comes of it, as the prober judges. */
  ask(lucky: (size: number) => boolean = (size) => size <= this.carries): void {
    const { search } = this;
    const size = search.size(this.now);
    const isPaired = search.isDoubtful();
    this.asked.push(size);
    if (!this.isSilent && lucky(size)) search.answered(size, this.now);
    else if (!isPaired) search.doubt(this.now);
    else if (this.isSilent) search.unclear(this.now);
    else search.lost(size, this.now);
  }

  /** Lets time pass; every question in it is asked when it is due. */
  pass(ms: number, isBusy = false): void {
    const end = this.now + ms;
    for (let due = this.search.due_ms(isBusy); due <= end; due = this.search.due_ms(isBusy)) {
      this.now = Math.max(this.now, due);
      this.ask();
      assert.ok(this.asked.length < 10_000, "it asks without end");
    }
    this.now = end;
  }
}

test("a path that carries everything is proven by the first question", () => {
  const path = new Path(1500);
  assert.is(path.search.mtu, 1450, "hoped for until it is refuted");
  path.pass(10);
  assert.equal(path.asked, [1450]);
  assert.is(path.search.phase, "complete");
  assert.is(path.search.mtu, 1450);
});

test("whatever a path carries is found to the byte, and nothing larger stays in use", () => {
  const room = fc.record({ most: fc.integer({ min: 600, max: 65_485 }), part: fc.double() });
  fc.assert(
    fc.property(room, fc.nat(1_000_000), ({ most }, pick) => {
      const limits = { least: Math.min(526, most), base: Math.min(1230, most), most };
      const carries = limits.least + (pick % (most - limits.least + 1));
      const path = new Path(carries, limits);
      path.pass(60_000);
      assert.is(path.search.mtu, carries);
      assert.is(path.search.phase, "complete");
      const steps = 2 + Math.ceil(Math.log2(most));
      assert.ok(path.asked.length <= LOSSES_MAX * (steps + 2), `${path.asked.length} questions`);
    }),
  );
});

test("fewer losses in a row than it takes change nothing, however often", () => {
  const path = new Path(1500);
  path.pass(10);
  for (let round = 0; round < 50; round++) {
    path.now += PATH_TIMERS.confirm_ms;
    // The first, without a small one beside it, only raises doubt.
    for (let lost = 0; lost < LOSSES_MAX; lost++) {
      path.ask(() => false);
      assert.is(path.search.mtu, 1450);
      path.now += PATH_TIMERS.retry_ms;
    }
    path.ask(() => true);
    assert.is(path.search.phase, "complete");
  }
  assert.is(path.search.mtu, 1450);
});

test("data leaves a black hole within seconds where packets go, and the true size is found", () => {
  const path = new Path(1500);
  path.pass(10);
  path.carries = 1333;
  const began = path.now;
  path.pass(PATH_TIMERS.confirm_ms + (LOSSES_MAX + 1) * PATH_TIMERS.retry_ms, true);
  assert.ok(path.search.mtu <= 1333, `${path.search.mtu} at ${path.now - began} ms`);
  path.pass(10_000, true);
  assert.is(path.search.mtu, 1333);
});

test("a path below the base is found, and one below the least is an error that is asked on", () => {
  const path = new Path(1500);
  path.pass(10);
  path.carries = 700;
  path.pass(20_000, true);
  assert.is(path.search.mtu, 700);
  path.carries = 100;
  path.pass(20_000, true);
  assert.is(path.search.phase, "error");
  assert.is(path.search.mtu, LIMITS.least);
  path.carries = 1500;
  path.pass(40_000, true);
  assert.is(path.search.phase, "complete");
  assert.is(path.search.mtu, 1450);
});

test("a wider path is found after the raise timer, by three questions when it is not wider", () => {
  const path = new Path(1300);
  path.pass(20_000);
  assert.is(path.search.mtu, 1300);
  const before = path.asked.filter((size) => size > 1300).length;
  path.pass(PATH_TIMERS.raise_ms);
  assert.is(path.asked.filter((size) => size > 1300).length, before + LOSSES_MAX);
  path.carries = 1500;
  path.pass(PATH_TIMERS.raise_ms - 30_000);
  assert.is(path.search.mtu, 1300, "not before its time");
  path.pass(40_000);
  assert.is(path.search.mtu, 1450);
  assert.is(path.search.phase, "complete");
});

test("a peer that is silent altogether proves nothing, and is asked more and more rarely", () => {
  const path = new Path(1500);
  path.pass(10);
  path.isSilent = true;
  path.pass(600_000);
  assert.is(path.search.mtu, 1450);
  assert.ok(path.asked.length < 60, `${path.asked.length} questions in ten minutes`);
  path.asked = [];
  path.isSilent = false;
  path.carries = 1400;
  path.pass(3000, true);
  assert.is(path.search.mtu, 1400, "and soon again when packets go to it");
});

test("idle peers are asked rarely, busy ones all the time", () => {
  const path = new Path(1500);
  path.pass(600_000);
  assert.ok(path.asked.length <= 12, `${path.asked.length} questions in ten idle minutes`);
  path.asked = [];
  path.pass(60_000, true);
  assert.is(path.asked.length, 60_000 / PATH_TIMERS.confirm_ms);
});

test("a size known from before stays until a larger one is proven", () => {
  const path = new Path(1400, LIMITS, 1400);
  path.ask();
  path.ask();
  assert.equal(path.asked, [1400, 1450]);
  assert.is(path.search.mtu, 1400);
  path.pass(10_000);
  assert.is(path.search.mtu, 1400);
  assert.is(path.search.phase, "complete");
});

test("an answer that comes late still counts", () => {
  const path = new Path(1500);
  path.pass(10);
  path.now += 1000;
  for (let lost = 0; lost <= LOSSES_MAX; lost++) path.ask(() => false);
  assert.is(path.search.mtu, LIMITS.base);
  path.search.answered(1450, path.now);
  assert.is(path.search.mtu, 1450);
  assert.is(path.search.phase, "complete");
});

test.run();
