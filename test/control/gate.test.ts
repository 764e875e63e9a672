// A gate lets so much work in at once, the rest in the order it came, and failed work gives its
// place on like any other.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Gate } from "../../control/controller/gate.js";

test("no more is at work than the gate lets in, and all comes to its turn in order", async () => {
  const gate = new Gate(() => 3);
  const ends: (() => void)[] = [];
  const begun: number[] = [];
  let most = 0;
  let atWork = 0;
  const all = Array.from({ length: 20 }, (_, index) =>
    gate.run(async () => {
      begun.push(index);
      atWork++;
      most = Math.max(most, atWork);
      await new Promise<void>((resolve) => ends.push(resolve));
      atWork--;
      if (index % 4 === 0) throw new Error(`${index}`);
      return index;
    }),
  );
  const settled = Promise.allSettled(all);
  for (let ended = 0; ended < 20; ended++) {
    while (ends.length === 0) await new Promise((resolve) => setImmediate(resolve));
    ends.shift()?.();
  }
  const results = await settled;
  assert.is(most, 3);
  assert.equal(
    begun,
    Array.from({ length: 20 }, (_, index) => index),
  );
  assert.is(results.filter(({ status }) => status === "rejected").length, 5);
});

test("a gate that narrows lets nobody in before there is room, a wider one all", async () => {
  let limit = 4;
  const gate = new Gate(() => limit);
  const ends: (() => void)[] = [];
  let atWork = 0;
  const enter = () =>
    gate.run(async () => {
      atWork++;
      await new Promise<void>((resolve) => ends.push(resolve));
      atWork--;
    });
  const all = Promise.all(Array.from({ length: 12 }, enter));
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  await turn();
  assert.is(atWork, 4);
  limit = 2;
  const seen: number[] = [];
  for (let ended = 0; ended < 4; ended++) {
    ends.shift()?.();
    await turn();
    seen.push(atWork);
  }
  assert.equal(seen, [3, 2, 2, 2]);
  limit = 5;
  ends.shift()?.();
  await turn();
  assert.is(atWork, 5);
  while (atWork > 0) {
    ends.shift()?.();
    await turn();
  }
  await all;
});

test.run();
