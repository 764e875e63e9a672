// A change of the mesh's encapsulation as one node goes through it: records in, questions and
// tables out, on a clock of the test.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseFlipState } from "../../src/agent/flip-state.js";
import { TRIES_MAX } from "../../src/agent/flips.js";
import type { Form } from "../../src/agent/plan/forms.js";
import { GENEVE, IPIP, Node1, replyTo, VXLAN } from "./flip-node.js";
import { member, nodeIdOf } from "./mesh-records.js";

test("a change opens the next form, keeps the old, and asks who has announced it", () => {
  const one = Node1.changing(2);
  const { tables, receives, port, otherPorts, changes } = one.apply();
  assert.equal(receives, [GENEVE, VXLAN]);
  assert.is(port, 6081);
  assert.equal(otherPorts, [{ protocol: "vxlan", port: 8472 }]);
  assert.equal(
    tables?.peers.map(({ protocol, port, vni, shadow = false }) => {
      return { protocol, port, vni, shadow };
    }),
    [
      { ...VXLAN, shadow: false },
      { ...VXLAN, shadow: false },
      { ...GENEVE, shadow: true },
    ],
  );
  assert.equal(tables?.peers[0]?.receives, ["geneve", "vxlan"]);
  assert.equal(tables?.peers[2]?.prefixes, []);
  assert.is(tables?.peers[2]?.address, tables?.peers[0]?.address);
  assert.equal(
    changes.map(({ name, to }) => ({ name, to })),
    [
      { name: "n2", to: GENEVE },
      { name: "n3", to: null },
    ],
  );
  assert.equal(
    one.asked.map(({ index }) => index),
    [2],
  );
  const report = one.flips.report();
  assert.equal([report?.done, report?.total], [0, 2]);
  assert.equal(report?.waiting, ["n3"]);
});

test("a peer gets packets in the next form after its answer, and no other peer does", () => {
  const one = Node1.changing(2, 3);
  one.apply();
  assert.ok(one.answer(2));
  assert.is(one.changes, 1);
  one.apply();
  assert.equal([one.entry(0)?.protocol, one.entry(1)?.protocol], ["geneve", "vxlan"]);
  assert.is(one.entry(2)?.address, one.entry(1)?.address);
  assert.equal(one.flips.report()?.done, 1);
});

test("an answer from another address, or to no question, confirms nothing", () => {
  const one = Node1.changing(2);
  one.apply();
  const [question] = one.asked;
  assert.ok(question !== undefined);
  const foreign = replyTo(question.packet);
  foreign[14] = 99;
  assert.not(one.flips.onPunt(foreign));
  assert.not(one.flips.onPunt(question.packet));
  one.apply();
  assert.is(one.entry(0)?.protocol, "vxlan");
});

test("a peer that does not answer stays, is named, is asked seldom, and flips when it does", () => {
  const one = Node1.changing(2, 3);
  one.apply();
  one.answer(3);
  one.apply();
  assert.equal(one.flips.report()?.staying, []);
  one.pass(TRIES_MAX);
  assert.equal(one.flips.report()?.staying, ["n2"]);
  const before = one.asked.length;
  one.pass(20);
  assert.is(one.asked.length - before, 2);
  assert.is(one.apply().tables?.peers[0]?.protocol, "vxlan");
  one.answer(2);
  one.apply();
  assert.is(one.entry(0)?.protocol, "geneve");
  assert.equal(one.flips.report()?.staying, []);
});

test("a question that finds no room is no try", () => {
  const one = Node1.changing(2);
  one.canAsk = false;
  one.apply();
  one.pass(TRIES_MAX + 2);
  assert.equal(one.flips.report()?.staying, []);
  one.canAsk = true;
  one.pass(1);
  assert.is(one.asked.length, 1);
});

test("the old form is closed when no record says that it is sent, and a little later", () => {
  const one = Node1.changing(2, 3);
  one.apply();
  one.answer(2);
  one.answer(3);
  assert.equal(one.apply().receives, [GENEVE, VXLAN]);
  one.say(2, [GENEVE, VXLAN], [GENEVE]);
  one.apply();
  const calm = one.changes;
  one.pass(60);
  assert.is(one.changes, calm, "nothing to plan anew");
  assert.equal(one.apply().receives, [GENEVE, VXLAN], "n3 still sends it");
  one.say(3, [GENEVE, VXLAN], [GENEVE]);
  assert.equal(one.apply().receives, [GENEVE, VXLAN], "packets may be on their way");
  const before = one.changes;
  one.pass(4);
  assert.ok(one.changes > before);
  const { receives, otherPorts, tables } = one.apply();
  assert.equal([receives, otherPorts], [[GENEVE], []]);
  assert.is(tables?.peers[0]?.receives, undefined);
  assert.is(one.flips.report(), null);
});

test("a removed member keeps nothing open, one that is away does", () => {
  const one = new Node1();
  one.set("geneve");
  one.say(2, [GENEVE, VXLAN], [GENEVE]);
  one.apply();
  one.pass(60);
  assert.equal(one.apply().receives, [GENEVE, VXLAN]);
  one.snapshot.members.set(nodeIdOf(3), member(3, { state: "removed" }));
  one.apply();
  one.pass(4);
  assert.equal(one.apply().receives, [GENEVE]);
});

test("the device's MTU is that of the larger headers until the old form is closed", () => {
  const one = new Node1();
  one.set("ipip");
  for (const peer of [2, 3]) one.say(peer, [IPIP, VXLAN], [VXLAN]);
  assert.is(one.apply().mtu, 1450);
  one.answer(2);
  one.answer(3);
  for (const peer of [2, 3]) one.say(peer, [IPIP, VXLAN], [IPIP]);
  assert.is(one.apply().mtu, 1450);
  one.pass(4);
  assert.is(one.apply().mtu, 1480);
  one.set("vxlan");
  assert.is(one.apply().mtu, 1450);
});

test("a restart in the middle sends as before it, and asks again", () => {
  const one = Node1.changing(2, 3);
  one.apply();
  one.answer(2);
  one.apply();
  const text = JSON.stringify(one.flips.state());
  one.flips = one.start(parseFlipState(text));
  one.asked.length = 0;
  const { receives } = one.apply();
  assert.equal(receives, [GENEVE, VXLAN]);
  assert.equal([one.entry(0)?.protocol, one.entry(1)?.protocol], ["geneve", "vxlan"]);
  assert.equal(
    one.asked.map(({ index }) => index),
    [2],
  );
});

test("without what was known, and to new members, packets go in the mesh's form", () => {
  const one = Node1.changing(2, 3);
  for (const text of [null, "", "{", "[]", '{"confirmed":{"x":{"protocol":"gre"}},"open":7}']) {
    one.flips = one.start(parseFlipState(text));
    one.apply();
    assert.is(one.entry(0)?.protocol, "geneve");
  }
});

test("a member that has not opened the mesh's form is sent what it receives", () => {
  const one = new Node1();
  one.set("geneve");
  one.flips = one.start();
  one.apply();
  assert.equal([one.entry(0)?.protocol, one.entry(0)?.port], ["vxlan", 8472]);
  assert.equal(one.asked, []);
});

test("a port that changes goes the same way", () => {
  const one = new Node1();
  const next: Form = { ...VXLAN, port: 4789 };
  one.snapshot.config = { ...one.snapshot.config, tunnelPort: 4789 };
  one.say(2, [next, VXLAN], [VXLAN]);
  assert.equal(one.apply().receives, [next, VXLAN]);
  assert.is(one.entry(0)?.port, 8472);
  one.answer(2);
  one.apply();
  assert.is(one.entry(0)?.port, 4789);
});

test("two encapsulations are received on one port", () => {
  const one = new Node1();
  one.snapshot.config = { ...one.snapshot.config, tunnelProtocol: "geneve", tunnelPort: 8472 };
  const { receives, otherPorts } = one.apply();
  assert.equal(receives, [{ ...GENEVE, port: 8472 }, VXLAN]);
  assert.equal(otherPorts, [{ protocol: "vxlan", port: 8472 }]);
});

test("a change back in the middle ends where it began", () => {
  const one = Node1.changing(2, 3);
  one.apply();
  one.answer(2);
  one.apply();
  one.set("vxlan");
  for (const peer of [2, 3]) one.say(peer, [VXLAN, GENEVE], [VXLAN, GENEVE]);
  assert.equal(one.apply().receives, [VXLAN, GENEVE]);
  assert.equal([one.entry(0)?.protocol, one.entry(1)?.protocol], ["geneve", "vxlan"]);
  one.answer(2);
  one.apply();
  assert.is(one.entry(0)?.protocol, "vxlan");
  for (const peer of [2, 3]) one.say(peer, [VXLAN, GENEVE], [VXLAN]);
  one.apply();
  one.pass(4);
  assert.equal(one.apply().receives, [VXLAN]);
});

test.run();
