// A change of the words in tunnel headers (network number, GRE's key, checksum and number) as one
// node goes through it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { flipStateText, parseFlipState } from "../../src/agent/flip-state.js";
import { TRIES_MAX } from "../../src/agent/flips.js";
import type { Form } from "../../src/agent/plan/forms.js";
import { GRE, Node1, VXLAN } from "./flip-node.js";
import { nodeIdOf } from "./mesh-records.js";

test("a network number goes the same way: both are received, one is sent", () => {
  const one = new Node1();
  const next: Form = { ...VXLAN, vni: 6 };
  one.set("vxlan", { vni: 6 });
  one.say(2, [next, VXLAN], [VXLAN]);
  const { receives, otherPorts, changes } = one.apply();
  assert.equal([receives, otherPorts], [[next, VXLAN], []]);
  const rows = () => one.made.tables?.peers.map(({ vni, vnis, shadow }) => [vni, vnis, shadow]);
  assert.equal(rows(), [
    [1, [6, 1], undefined],
    [1, [6, 1], undefined],
    [6, [6, 1], true],
  ]);
  assert.equal(
    changes.map(({ name, from, to }) => [name, from.vni, to?.vni]),
    [
      ["n2", 1, 6],
      ["n3", 1, undefined],
    ],
  );
  assert.equal(one.flips.report()?.waiting, ["n3"]);
  one.answer(2);
  one.apply();
  assert.equal([one.entry(0)?.vni, one.entry(1)?.vni], [6, 1]);
  one.others([next, VXLAN], [next]);
  one.apply();
  one.flip();
  one.pass(4);
  assert.equal([one.apply().receives, one.flips.report()], [[next], null]);
  assert.equal(rows(), [
    [6, undefined, undefined],
    [6, undefined, undefined],
  ]);
});

test("a number that is not answered stays, and the agent knows it after a restart", () => {
  const one = new Node1();
  const next: Form = { ...VXLAN, vni: 6 };
  one.set("vxlan", { vni: 6 });
  one.others([next, VXLAN], [VXLAN]);
  one.apply();
  one.answer(3);
  one.apply();
  one.flips = one.start(parseFlipState(flipStateText(one.flips.state())));
  one.apply();
  assert.equal([one.entry(0)?.vni, one.entry(1)?.vni], [1, 6]);
  assert.equal(one.made.receives, [next, VXLAN]);
  one.pass(TRIES_MAX);
  assert.equal(one.flips.report()?.staying, ["n2"]);
});

test("GRE's words go the same way: both keys are taken, one worker before numbers", () => {
  const one = new Node1();
  one.set("gre");
  one.others([GRE, VXLAN], [GRE]);
  one.flips = one.start();
  one.apply();
  one.pass(4);
  assert.equal([one.apply().receives, one.made.ordered, one.made.mtu], [[GRE], false, 1476]);
  const next: Form = { ...GRE, greKey: 7, greChecksum: true, greSequence: true };
  one.set("gre", { greKey: 7, greChecksum: true, greSequence: true });
  one.others([next, GRE], [GRE]);
  const { receives, ordered, mtu, otherPorts } = one.apply();
  assert.equal([receives, ordered, mtu, otherPorts], [[next, GRE], true, 1464, []]);
  const sent = () => one.entry(0)?.gre;
  assert.equal(sent(), { key: null, checksum: false, sequence: false, frames: false });
  assert.equal(one.entry(0)?.greKeys, [7, null]);
  one.flip();
  assert.equal(sent(), { key: 7, checksum: true, sequence: true, frames: false });
  assert.equal(one.entry(0)?.greKeys, [7, null]);
  one.others([next, GRE], [next]);
  one.apply();
  one.pass(4);
  assert.equal([one.apply().receives, one.entry(0)?.greKeys], [[next], undefined]);
});

test("numbers that end keep their worker until the last of them may have come", () => {
  const one = new Node1();
  const numbered: Form = { ...GRE, greSequence: true };
  one.set("gre", { greSequence: true });
  one.others([numbered], [numbered]);
  one.flips = one.start();
  one.apply();
  one.set("gre", { greSequence: false });
  one.others([GRE, numbered], [numbered]);
  assert.ok(one.apply().ordered);
  one.flip();
  assert.equal([one.entry(0)?.gre?.sequence, one.made.ordered], [false, true]);
  one.others([GRE, numbered], [GRE]);
  one.apply();
  one.pass(4);
  assert.not(one.apply().ordered);
});

test("two numbers are received at once: a third closes the oldest", () => {
  const one = new Node1();
  const form = (vni: number): Form => ({ ...VXLAN, vni });
  for (const vni of [6, 7]) {
    one.set("vxlan", { vni });
    one.others([form(6), form(1)], [form(1)]);
    one.apply();
  }
  assert.equal(one.made.receives, [form(7), form(6)]);
  // What the others receive still goes to them.
  assert.equal([one.entry(0)?.vni, one.entry(0)?.vnis], [1, [7, 6]]);
});

test("two keys are received at once, and none beside them", () => {
  const one = new Node1();
  one.set("gre");
  for (const greKey of [null, 5, 6, 7]) {
    one.set("gre", { greKey });
    one.others([GRE], [GRE]);
    one.apply();
  }
  const keys = one.made.receives.map(({ greKey }) => greKey);
  assert.equal(keys, [7, 6, null, undefined]);
  assert.equal(one.entry(0)?.greKeys, [7, 6, null]);
});

test("nodes of earlier versions say no words: they have those of the settings", () => {
  const one = new Node1();
  const bare: Form = { protocol: "vxlan", port: 8472 };
  const state = { confirmed: { [nodeIdOf(2)]: bare, [nodeIdOf(3)]: bare }, open: [bare] };
  one.others([bare], [bare]);
  one.flips = one.start(parseFlipState(JSON.stringify(state)));
  one.apply();
  assert.equal([one.made.receives, one.made.changes], [[VXLAN], []]);
  one.set("vxlan", { vni: 6 });
  assert.equal(one.apply().receives, [{ ...VXLAN, vni: 6 }, VXLAN]);
  assert.equal([one.entry(0)?.vni, one.made.changes], [6, []]);
  one.pass(4);
  assert.equal(one.apply().receives, [{ ...VXLAN, vni: 6 }]);
});

test.run();
