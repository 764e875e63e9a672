// What the hot path counts of each peer: data, questions, and what they say of hearing us.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  PROBE_HEARD_AT,
  PROBE_MAGIC,
  PROBE_PORT,
  W_PEER_ASKED,
  W_PEER_HEARD,
  W_PEER_SAID,
} from "../../assembly/shared/layout.js";
import { type PeerSign, SignReader } from "../../src/datapath/peer-packets.js";
import { fault } from "../support/judge.js";
import { loadModule, type TestModule } from "../support/module.js";
import { contentsOf, pod4, pod6, podPacket, underlayOf, vxlanDatagram } from "../support/nodes.js";
import { ACK, concat, setBe32, TCP } from "../support/packets.js";
import { fromTwo } from "../support/scene.js";

type Row = Partial<PeerSign> & { index: number };

async function node1(workers = 1): Promise<{ module: TestModule; read: () => Row[] }> {
  const module = await loadModule({ workers });
  module.publish(contentsOf(1, [2, 3]));
  const signs = new SignReader(module.views.words, module.views.bases, () => true);
  signs.published([underlayOf(2), underlayOf(3)]);
  signs.read();
  return { module, read: () => signs.read() ?? [] };
}

/** All that was counted of one peer. */
function row(index: number, what: Partial<PeerSign>): Row {
  const nothing = { isSent: false, isHeard: false, isAsked: false, said: null };
  return { index, address: underlayOf(index + 2), ...nothing, ...what };
}

/** A probe from node to node; kind 0 asks, 1 answers. */
function probe(version: 4 | 6, from: number, to: number, kind: number, said: number): Uint8Array {
  const payload = new Uint8Array(20);
  setBe32(payload, 0, PROBE_MAGIC);
  payload[4] = kind;
  payload[PROBE_HEARD_AT] = said;
  const pod = version === 4 ? pod4 : pod6;
  const ends = { source: pod(from, 1), destination: pod(to, 1) };
  return podPacket(version, from, to, {
    ...ends,
    ...{ payload, sourcePort: PROBE_PORT, destinationPort: PROBE_PORT },
  });
}

for (const version of [4, 6] as const) {
  test(`questions over IPv${version} count, with what the last says of hearing us`, async () => {
    const { module, read } = await node1();
    const ask = (...saying: number[]) => {
      for (const said of saying) {
        module.feedWire(vxlanDatagram(probe(version, 2, 1, 0, said)), fromTwo());
      }
      return module.run().wire;
    };
    assert.equal(read(), []);
    for (const { bytes } of ask(7, 255, 3)) {
      assert.is(fault(bytes.slice(22)), undefined, "answered well");
    }
    assert.equal(read(), [row(0, { isAsked: true, said: 3 })]);
    assert.equal(read(), [], "once");
    ask(0);
    assert.equal(read(), [row(0, { isAsked: true })], "of an older node, that says nothing");
    ask(3, 0);
    assert.equal(read(), [row(0, { isAsked: true, said: 3 })], "the same word again");
  });
}

test("data counts for a datagram and a train, also where it joins the one before", async () => {
  const { module, read } = await node1();
  const words = (at: number) => module.views.words[(module.base + at) >>> 2];
  module.feedWire(vxlanDatagram(podPacket(4, 2, 1)), fromTwo());
  module.run();
  assert.equal(read(), [row(0, { isHeard: true })]);
  const payload = new Uint8Array(1000).fill(7);
  const segments = Array.from({ length: 20 }, (_, i) =>
    vxlanDatagram(podPacket(4, 2, 1, { protocol: TCP, payload, flags: ACK, sequence: 1000 * i })),
  );
  const segment = segments[0]?.length ?? 0;
  for (const half of [segments.slice(0, 10), segments.slice(10)]) {
    module.feedWire(concat(...half), { ...fromTwo(), segment });
  }
  assert.is(module.run().tun.length, 1, "the second train follows the first");
  assert.is(words(W_PEER_HEARD), 2, "once for what comes in a row");
  assert.equal(read(), [row(0, { isHeard: true })]);
  // Nothing is left of a train that only follows.
  module.feedWire(vxlanDatagram(podPacket(4, 3, 1)), { from: underlayOf(3) });
  for (const half of [segments.slice(0, 10), segments.slice(10)]) {
    module.feedWire(concat(...half), { ...fromTwo(), segment });
  }
  module.run();
  assert.equal(read(), [row(0, { isHeard: true }), row(1, { isHeard: true })]);
  module.feedTun(podPacket(4, 1, 3));
  module.run();
  assert.equal(read(), [row(1, { isSent: true })]);
});

test("answers, and what is dropped, are no data: nobody lives by a forgery", async () => {
  const { module, read } = await node1();
  const forged = [
    vxlanDatagram(probe(4, 2, 1, 1, 0)),
    vxlanDatagram(podPacket(4, 3, 1)),
    vxlanDatagram(podPacket(4, 2, 1), { vni: 7 }),
    vxlanDatagram(probe(4, 3, 1, 0, 9)),
    vxlanDatagram(podPacket(4, 2, 3)),
    new Uint8Array(0),
  ];
  for (const datagram of forged) module.feedWire(datagram, fromTwo());
  module.feedWire(vxlanDatagram(podPacket(4, 2, 1)), { from: underlayOf(9) });
  module.run();
  assert.equal(read(), []);
});

test("what any of several workers heard counts, and its word is taken", async () => {
  const { module, read } = await node1(2);
  const [, second = 0] = module.views.bases;
  module.feedWire(vxlanDatagram(probe(4, 2, 1, 0, 5)), fromTwo());
  module.run();
  assert.equal(read(), [row(0, { isAsked: true, said: 5 })]);
  // The other worker's words, as its own instance would write them.
  module.views.words[(second + W_PEER_ASKED) >>> 2] = 1;
  module.views.words[(second + W_PEER_SAID) >>> 2] = 0x100 + 9;
  assert.equal(read(), [row(0, { isAsked: true, said: 9 })]);
});

test("what was counted for one peer is not told of another that takes its place", async () => {
  const { module } = await node1();
  let isSettled = true;
  const signs = new SignReader(module.views.words, [module.base], () => isSettled);
  signs.published([underlayOf(2), underlayOf(3)]);
  signs.read();
  const hear = () => {
    module.feedWire(vxlanDatagram(probe(4, 2, 1, 0, 5)), fromTwo());
    module.feedTun(podPacket(4, 1, 3));
    module.run();
  };
  hear();
  signs.published([underlayOf(9), underlayOf(3), underlayOf(4)]);
  isSettled = false;
  assert.is(signs.read(), undefined, "the workers may still use the tables before");
  isSettled = true;
  assert.equal(signs.read(), [row(1, { isSent: true })]);
  hear();
  const [first] = signs.read() ?? [];
  assert.equal(first, { ...row(0, { isAsked: true, said: 5 }), address: underlayOf(9) });
});

test.run();
