// A change of the mesh's encapsulation as one node goes through it: records in, questions and
// tables out, on a clock of the test.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { PROBE_KIND_AT, PROBE_REPLY } from "../../assembly/shared/layout.js";
import type { MeshConfig } from "../../control/index.js";
import { flipStateText, parseFlipState } from "../../src/agent/flip-state.js";
import { Flips, type FlipsOptions, TRIES_MAX } from "../../src/agent/flips.js";
import { plan } from "../../src/agent/plan.js";
import type { Form } from "../../src/agent/plan-forms.js";
import type { Plan } from "../../src/agent/plan-types.js";
import { facts, member, mesh, node, nodeIdOf } from "./mesh-records.js";

const VXLAN: Form = { protocol: "vxlan", port: 8472, vni: 1 };
const GENEVE: Form = { protocol: "geneve", port: 6081, vni: 1 };
const GRE: Form = {
  ...{ protocol: "gre", port: 0 },
  ...{ greKey: null, greChecksum: false, greSequence: false },
};
const UDP_HEADER = 8;
const IPIP: Form = { protocol: "ipip", port: 0 };

/** Node 1 of three, which all speak vxlan and say so. */
class Node1 {
  now_ms = 1_000_000;
  readonly snapshot = mesh(3);
  readonly asked: { packet: Uint8Array; index: number }[] = [];
  changes = 0;
  canAsk = true;
  flips: Flips;
  made: Plan;

  constructor() {
    for (const index of [1, 2, 3]) this.say(index, [VXLAN], [VXLAN]);
    this.flips = this.start();
    this.made = this.apply();
  }

  /** The mesh's setting is geneve by now, and these peers have announced that they receive it. */
  static changing(...peers: number[]): Node1 {
    const one = new Node1();
    one.set("geneve");
    for (const peer of peers) one.say(peer, [GENEVE, VXLAN], [VXLAN]);
    return one;
  }

  start(saved?: FlipsOptions["saved"]): Flips {
    const flips = new Flips({
      ask: (packet, index) => {
        if (this.canAsk) this.asked.push({ packet, index });
        return this.canAsk;
      },
      now: () => this.now_ms,
      ...(saved === undefined ? {} : { saved }),
    });
    flips.onChange = () => {
      this.changes++;
    };
    return flips;
  }

  /** What another node's record says. */
  say(index: number, receives: Form[], sends: Form[]): void {
    const protocols = ["vxlan", "geneve", "ipip"];
    this.snapshot.nodes.set(nodeIdOf(index), node(index, { protocols, receives, sends }));
  }

  set(tunnelProtocol: MeshConfig["tunnelProtocol"], words: Partial<MeshConfig> = {}): void {
    this.snapshot.config = { ...this.snapshot.config, tunnelProtocol, ...words };
  }

  /** The other two receive these forms, and send the first of `sends`. */
  others(receives: Form[], sends: Form[]): void {
    for (const index of [2, 3]) this.say(index, receives, sends);
  }

  /** Both others answer in the next form, and its tables are in force. */
  flip(): void {
    for (const [at, entry] of (this.made.tables?.peers ?? []).entries()) {
      if (entry.shadow === true) this.answer(at);
    }
    this.apply();
  }

  apply(): Plan {
    const change = this.flips.facts(this.snapshot, nodeIdOf(1));
    this.made = plan({ snapshot: this.snapshot, local: facts(1), change });
    this.flips.applied(this.made);
    return this.made;
  }

  /** Seconds go by, each with its beat. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.now_ms += 1000;
      this.flips.tick();
    }
  }

  /** The peer answers the question that was asked last by the table's entry `index`. */
  answer(index: number): boolean {
    const question = this.asked.findLast((one) => one.index === index);
    assert.ok(question !== undefined, `nobody asked by entry ${index}`);
    return this.flips.onPunt(replyTo(question.packet));
  }

  entry(index: number) {
    return this.made.tables?.peers[index];
  }
}

/** As the peer's hot path turns a request round: addresses and kind; nothing else is looked at. */
function replyTo(request: Uint8Array): Uint8Array {
  const reply = Uint8Array.from(request);
  const isFour = (request[0] ?? 0) >> 4 === 4;
  const [at, size, header] = isFour ? [12, 4, 20] : [8, 16, 40];
  reply.set(request.subarray(at + size, at + 2 * size), at);
  reply.set(request.subarray(at, at + size), at + size);
  reply[header + UDP_HEADER + PROBE_KIND_AT] = PROBE_REPLY;
  return reply;
}

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

test("two encapsulations do not share a port: the old one is closed at once", () => {
  const one = new Node1();
  one.snapshot.config = { ...one.snapshot.config, tunnelProtocol: "geneve", tunnelPort: 8472 };
  const { receives, otherPorts } = one.apply();
  assert.equal(receives, [{ ...GENEVE, port: 8472 }]);
  assert.equal(otherPorts, []);
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

test("GRE's words go the same way: old and new keys are taken, one worker before the numbers", () => {
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
