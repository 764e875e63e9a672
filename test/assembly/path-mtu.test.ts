// Peers whose path takes less than the device's MTU: what is cut, what is refused and how, and the
// marks that say to whom packets go.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FRAGMENT_SOCKETS } from "../../assembly/shared/layout.js";
import { SignReader } from "../../src/datapath/peer-packets.js";
import { fault, slowSegment } from "../support/judge.js";
import { loadModule, type TestModule } from "../support/module.js";
import { contentsOf, MTU, peerOf, podPacket } from "../support/nodes.js";
import { ACK, be32, FIN, PSH, SYN, TCP, UDP } from "../support/packets.js";
import { assertExact } from "../support/scene.js";

const OUTER = 22;
const URG = 32;
const narrow = 1230;

async function node1(): Promise<TestModule> {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { mtu: narrow }), 3]));
  return module;
}

function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 11) & 255);
}

for (const version of [4, 6] as const) {
  const header = version === 4 ? 40 : 60;

  test(`a lone IPv${version} TCP packet that is too large is cut, and nobody is told`, async () => {
    const module = await node1();
    const payload = bytes(MTU - header);
    const packet = podPacket(version, 1, 2, { protocol: TCP, payload, flags: ACK | PSH | FIN });
    module.feedTun(packet);
    const { wire, tun } = module.run();
    const pieces = wire.flatMap((out) => out.datagrams).map((one) => one.slice(OUTER));
    assert.is(tun.length, 0);
    assert.equal(pieces, slowSegment(packet, narrow - header));
    for (const piece of pieces) assert.is(fault(piece), undefined);
    const { egress } = module.counters();
    assert.equal([egress.received, egress.forwarded, egress.super], [2, 2, 0]);
    assertExact(module);
  });

  test(`an IPv${version} packet that cannot be cut is too big, and it is told`, async () => {
    const payload = bytes(MTU - header);
    const damaged = podPacket(version, 1, 2, { protocol: TCP, payload, flags: ACK });
    damaged[100] = (damaged[100] ?? 0) ^ 1;
    const packets = [
      damaged,
      podPacket(version, 1, 2, { protocol: TCP, payload, flags: ACK | URG }),
      podPacket(version, 1, 2, { protocol: TCP, payload, flags: SYN }),
      podPacket(version, 1, 2, { protocol: UDP, payload }),
    ];
    for (const packet of packets) {
      const module = await node1();
      module.feedTun(packet);
      const { wire, tun } = module.run();
      assert.is(wire.length, 0);
      assert.is(module.counters().egress.drops.TOO_BIG?.packets, 1);
      const answer = tun[0]?.packet ?? new Uint8Array(0);
      assert.is(fault(answer), undefined);
      const at = version === 4 ? 20 : 40;
      assert.equal([...answer.slice(at, at + 2)], version === 4 ? [3, 4] : [2, 0]);
      const told = be32(answer, at + 4);
      // No IPv6 sender believes in less (RFC 8201 section 4).
      assert.is(told, version === 4 ? narrow : 1280);
      assertExact(module);
    }
  });
}

test("IPv6 up to 1280 bytes goes in outer fragments where a peer needs it, alone", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { mtu: narrow, fragments: true }), 3]));
  const six = (size: number) => podPacket(6, 1, 2, { payload: bytes(size - 48) });
  for (const size of [narrow + 1, 1280, 1280]) module.feedTun(six(size));
  module.feedTun(podPacket(6, 1, 3, { payload: bytes(1280 - 48) }));
  module.feedTun(six(narrow));
  const { wire, tun } = module.run();
  assert.is(tun.length, 0);
  const isPieced = ({ socket }: { socket: number }) => socket > FRAGMENT_SOCKETS;
  assert.equal(wire.map(isPieced), [true, true, true, false, false]);
  assert.ok(wire.every(({ segments }) => segments === 1));
  assert.equal(
    wire.map((out) => out.bytes.slice(OUTER).length),
    [narrow + 1, 1280, 1280, 1280, narrow],
  );
  for (const packet of [six(1281), podPacket(4, 1, 2, { payload: bytes(1280 - 28) })]) {
    module.feedTun(packet);
    const refused = module.run();
    assert.is(refused.wire.length, 0);
    const answer = refused.tun[0]?.packet ?? new Uint8Array(0);
    const isIPv4 = packet.length === 1280;
    assert.is(be32(answer, isIPv4 ? 24 : 44), isIPv4 ? narrow : 1280);
  }
  assertExact(module);
});

test("TCP over IPv6 is cut to the path and needs no fragments, UDP super-packets do", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { mtu: narrow, fragments: true })]));
  const tcp = podPacket(6, 1, 2, { protocol: TCP, payload: bytes(5000), flags: ACK });
  module.feedTun(tcp, { gsoType: 4, gsoSize: 1220, flags: 1 });
  module.feedTun(podPacket(6, 1, 2, { protocol: TCP, payload: bytes(1220), flags: ACK }));
  const cut = module.run().wire;
  assert.ok(cut.every(({ socket }) => socket < FRAGMENT_SOCKETS));
  const sizes = cut.flatMap((out) => out.datagrams).map((one) => one.length - OUTER);
  assert.is(Math.max(...sizes), narrow);
  module.feedTun(podPacket(6, 1, 2, { payload: bytes(3000) }), {
    ...{ gsoType: 5, gsoSize: 1232, flags: 1 },
  });
  const pieced = module.run().wire;
  assert.is(pieced.length, 3);
  assert.ok(pieced.every(({ socket, segments }) => socket > FRAGMENT_SOCKETS && segments === 1));
  for (const out of pieced) assert.is(fault(out.bytes.slice(OUTER)), undefined);
  assertExact(module);
});

test("packets from TUN count for their peer, those of our own do not", async () => {
  const module = await node1();
  const signs = new SignReader(module.views.words, [module.base], () => true);
  const counted = () => [...signs.packetsTo(2)];
  assert.equal(counted(), [0, 0]);
  module.inject(podPacket(4, 1, 2));
  module.run();
  assert.equal(counted(), [0, 0]);
  module.feedTun(podPacket(6, 1, 3));
  module.feedTun(podPacket(4, 1, 3));
  module.run();
  assert.equal(counted(), [0, 2]);
  const packet = podPacket(4, 1, 2, { protocol: TCP, payload: bytes(9000), flags: ACK });
  module.feedTun(packet, { gsoType: 1, gsoSize: 1400, flags: 1 });
  module.run();
  assert.equal(counted(), [1, 2]);
});

test.run();
