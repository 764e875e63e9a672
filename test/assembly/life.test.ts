// What the hot path counts of each peer: data that came, questions, and what they say of hearing us.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  PROBE_HEARD_AT,
  PROBE_MAGIC,
  PROBE_PORT,
  W_PEER_ASKED,
  W_PEER_SAID,
} from "../../assembly/shared/layout.js";
import { SignReader } from "../../src/datapath/peer-packets.js";
import { fault } from "../support/judge.js";
import { loadModule, type TestModule } from "../support/module.js";
import {
  contentsOf,
  peerOf,
  pod4,
  pod6,
  podPacket,
  underlayOf,
  vxlanDatagram,
} from "../support/nodes.js";
import { ACK, concat, setBe32, TCP } from "../support/packets.js";
import { fromTwo } from "../support/scene.js";

async function node1(workers = 1): Promise<{ module: TestModule; read: () => object }> {
  const module = await loadModule({ workers });
  module.publish(contentsOf(1, [2, 3]));
  const signs = new SignReader(module.views.words, module.views.bases, () => true);
  signs.addresses = [underlayOf(2), underlayOf(3)];
  const read = () => {
    const { sent, heard, asked, saying, said } = signs.read() ?? {};
    const rows = { sent, heard, asked, saying, said };
    return Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, [...(row ?? [])]]));
  };
  return { module, read };
}

const NOTHING = { sent: [0, 0], heard: [0, 0], asked: [0, 0], saying: [0, 0], said: [0, 0] };

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
  test(`questions over IPv${version} count, with what the last one says of hearing us`, async () => {
    const { module, read } = await node1();
    assert.equal(read(), NOTHING);
    for (const said of [7, 255, 3]) {
      module.feedWire(vxlanDatagram(probe(version, 2, 1, 0, said)), fromTwo());
      const [reply] = module.run().wire;
      assert.is(fault(reply?.bytes.slice(22) ?? new Uint8Array(0)), undefined, "answered well");
    }
    assert.equal(read(), { ...NOTHING, asked: [3, 0], saying: [1, 0], said: [3, 0] });
    // Of older nodes, that say nothing; what was said stays as it was.
    module.feedWire(vxlanDatagram(probe(version, 2, 1, 0, 0)), fromTwo());
    module.run();
    assert.equal(read(), { ...NOTHING, asked: [4, 0], saying: [1, 0], said: [3, 0] });
    module.feedWire(vxlanDatagram(probe(version, 2, 1, 0, 3)), fromTwo());
    module.run();
    assert.equal(read(), { ...NOTHING, asked: [5, 0], saying: [2, 0], said: [3, 0] });
  });
}

test("data counts once for a datagram or a train, also where it joins the one before", async () => {
  const { module, read } = await node1();
  module.feedWire(vxlanDatagram(podPacket(4, 2, 1)), fromTwo());
  module.run();
  assert.equal(read(), { ...NOTHING, heard: [1, 0] });
  const payload = new Uint8Array(1000).fill(7);
  const segments = Array.from({ length: 20 }, (_, i) =>
    vxlanDatagram(podPacket(4, 2, 1, { protocol: TCP, payload, flags: ACK, sequence: 1000 * i })),
  );
  const segment = segments[0]?.length ?? 0;
  for (const half of [segments.slice(0, 10), segments.slice(10)]) {
    module.feedWire(concat(...half), { ...fromTwo(), segment });
  }
  assert.is(module.run().tun.length, 1, "the second train follows the first");
  assert.equal(read(), { ...NOTHING, heard: [3, 0] });
  module.feedTun(podPacket(4, 1, 3));
  module.run();
  assert.equal(read(), { ...NOTHING, heard: [3, 0], sent: [0, 1] });
});

test("answers, and what is dropped, are no data: nobody lives for the sake of a forgery", async () => {
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
  assert.equal(read(), NOTHING);
});

test("what several workers heard is one sum, and the newest word is taken", async () => {
  const { module, read } = await node1(2);
  const [, second = 0] = module.views.bases;
  const stride = second - module.base;
  module.feedWire(vxlanDatagram(probe(4, 2, 1, 0, 5)), fromTwo());
  module.run();
  assert.equal(read(), { ...NOTHING, asked: [1, 0], saying: [1, 0], said: [5, 0] });
  // The other worker's words, as its own instance would write them.
  module.views.words[(module.base + stride + W_PEER_ASKED) >>> 2] = 1;
  module.views.words[(module.base + stride + W_PEER_SAID) >>> 2] = 0x100 + 9;
  assert.equal(read(), { ...NOTHING, asked: [2, 0], saying: [2, 0], said: [9, 0] });
});

test("a peer more or less keeps what the others said", async () => {
  const { module } = await node1();
  const signs = new SignReader(module.views.words, [module.base], () => true);
  signs.addresses = [underlayOf(2), underlayOf(3)];
  module.feedWire(vxlanDatagram(probe(4, 2, 1, 0, 5)), fromTwo());
  module.run();
  assert.is(signs.read()?.said[0], 5);
  module.publish(contentsOf(1, [2, 3, peerOf(4)]));
  signs.addresses = [2, 3, 4].map(underlayOf);
  assert.equal([...(signs.read()?.saying ?? [])], [1, 0, 0]);
  signs.addresses = [underlayOf(2)];
  assert.equal([...(signs.read()?.said ?? [])], [5]);
  const waiting = new SignReader(module.views.words, [module.base], () => false);
  assert.is(waiting.read(), undefined, "counts of tables that wait are not the plan's");
});

test.run();
