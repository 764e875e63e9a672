// Underlay -> overlay: what is taken off, what is believed, what is answered, what ends.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { D_FLAG_TRUNCATED } from "../../assembly/shared/layout.js";
import { droppedPackets } from "../../src/datapath/counters.js";
import { loadModule } from "../support/module.js";
import {
  contentsOf,
  macOf,
  peerOf,
  podPacket,
  underlayOf,
  vxlanDatagram,
} from "../support/nodes.js";
import { concat, TCP } from "../support/packets.js";
import { assertExact, fromTwo, nodeOne, type Refusal, testRefusals } from "../support/scene.js";

const node1 = () => nodeOne([2, 3]);

for (const version of [4, 6] as const) {
  test(`an IPv${version} packet from a peer reaches TUN unchanged`, async () => {
    const module = await node1();
    const packet = podPacket(version, 2, 1);
    module.feedWire(vxlanDatagram(packet), fromTwo());
    const { wire, tun } = module.run();
    assert.is(wire.length, 0);
    assert.equal(tun[0]?.packet, packet);
    assert.is(tun[0]?.vnet.gsoType, 0);
    assert.is(module.counters().ingress.forwarded, 1);
    assertExact(module);
  });

  test(`Ethernet padding behind an IPv${version} packet is taken off`, async () => {
    const module = await node1();
    const packet = podPacket(version, 2, 1, { payload: new Uint8Array(1) });
    module.feedWire(concat(vxlanDatagram(packet), new Uint8Array(17).fill(0x77)), fromTwo());
    assert.equal(module.run().tun[0]?.packet, packet);
  });

  test(`a train of IPv${version} TCP segments reaches TUN as one super-packet`, async () => {
    const module = await node1();
    const size = 1000;
    const segments = Array.from({ length: 9 }, (_, i) =>
      podPacket(version, 2, 1, {
        protocol: TCP,
        payload: new Uint8Array(i === 8 ? 300 : size).fill(i),
        sequence: 5000 + i * size,
        identification: 1 + i,
      }),
    );
    const train = concat(...segments.map((segment) => vxlanDatagram(segment)));
    const stride = 22 + (segments[0]?.length ?? 0);
    module.feedWire(train, fromTwo({ segment: stride }));
    const { tun } = module.run();
    assert.is(tun.length, 1);
    assert.is(tun[0]?.segments, 9);
    assert.is(tun[0]?.vnet.gsoSize, size);
    assert.equal(tun[0]?.packet.slice(-300), new Uint8Array(300).fill(8));
    assert.is(module.counters().ingress.forwarded, 9);
    assertExact(module);
  });
}

const good = podPacket(4, 2, 1);
const broken = (at: number, value: number): Uint8Array => {
  const packet = Uint8Array.from(good);
  packet[at] = value;
  return packet;
};
const to4 = (...address: number[]) => podPacket(4, 2, 1, { destination: Uint8Array.from(address) });
const GROUP_MAC = Uint8Array.of(1, 0, 0x5e, 0, 0, 5);

const REFUSALS: Refusal[] = [
  { name: "empty", reason: "TOO_SHORT", datagram: new Uint8Array(0) },
  { name: "of 21 bytes", reason: "TOO_SHORT", datagram: vxlanDatagram(good).slice(0, 21) },
  { name: "without a packet", reason: "TOO_SHORT", datagram: vxlanDatagram(good).slice(0, 22) },
  { name: "of half an IP header", reason: "TOO_SHORT", datagram: vxlanDatagram(good).slice(0, 40) },
  { name: "cut short", reason: "BAD_LENGTH", datagram: vxlanDatagram(good).slice(0, 60) },
  {
    name: "cut by the kernel",
    reason: "TRUNCATED",
    datagram: vxlanDatagram(good),
    input: { flags: D_FLAG_TRUNCATED },
  },
  {
    name: "of a stranger",
    reason: "UNKNOWN_PEER",
    datagram: vxlanDatagram(good),
    input: { from: "192.0.2.99" },
  },
  {
    name: "of a stranger (IPv6)",
    reason: "UNKNOWN_PEER",
    datagram: vxlanDatagram(good),
    input: { from: "2001:db8::2" },
  },
  {
    name: "on another kind of socket",
    reason: "WRONG_PROTOCOL",
    datagram: vxlanDatagram(good),
    input: { socket: 5 },
  },
  {
    name: "without the I flag",
    reason: "BAD_FLAGS",
    datagram: vxlanDatagram(good, { flags: 0xf7 }),
  },
  { name: "of another network", reason: "WRONG_VNI", datagram: vxlanDatagram(good, { vni: 43 }) },
  {
    name: "of network 42 shifted",
    reason: "WRONG_VNI",
    datagram: vxlanDatagram(good, { vni: 42 << 8 }),
  },
  { name: "to another MAC", reason: "WRONG_MAC", datagram: vxlanDatagram(good, { to: macOf(3) }) },
  { name: "to a group MAC", reason: "MULTICAST", datagram: vxlanDatagram(good, { to: GROUP_MAC }) },
  {
    name: "to all MACs",
    reason: "BROADCAST",
    datagram: vxlanDatagram(good, { to: new Uint8Array(6).fill(255) }),
  },
  {
    name: "of another ethertype",
    reason: "NOT_IP",
    datagram: vxlanDatagram(good, { type: 0x8100 }),
  },
  {
    name: "of the wrong IP version",
    reason: "BAD_IP_VERSION",
    datagram: vxlanDatagram(good, { type: 0x86dd }),
  },
  {
    name: "with a bad IP checksum",
    reason: "BAD_IP_HEADER",
    datagram: vxlanDatagram(broken(10, 0)),
  },
  {
    name: "with a short IP header",
    reason: "BAD_IP_HEADER",
    datagram: vxlanDatagram(broken(0, 0x44)),
  },
  { name: "with a lying IP length", reason: "BAD_LENGTH", datagram: vxlanDatagram(broken(2, 9)) },
  {
    name: "out of time",
    reason: "TTL_EXPIRED",
    datagram: vxlanDatagram(podPacket(4, 2, 1, { ttl: 0 })),
  },
  {
    name: "out of hops",
    reason: "TTL_EXPIRED",
    datagram: vxlanDatagram(podPacket(6, 2, 1, { ttl: 0 })),
  },
  {
    name: "of another peer's pod",
    reason: "SPOOFED_SOURCE",
    datagram: vxlanDatagram(podPacket(4, 3, 1)),
  },
  { name: "of our own pod", reason: "SPOOFED_SOURCE", datagram: vxlanDatagram(podPacket(4, 1, 1)) },
  {
    name: "of nobody's pod",
    reason: "SPOOFED_SOURCE",
    datagram: vxlanDatagram(podPacket(6, 77, 1)),
  },
  { name: "for another node", reason: "NOT_LOCAL", datagram: vxlanDatagram(podPacket(4, 2, 3)) },
  { name: "for nobody", reason: "NOT_LOCAL", datagram: vxlanDatagram(podPacket(6, 2, 88)) },
  { name: "to an IP group", reason: "MULTICAST", datagram: vxlanDatagram(to4(239, 1, 1, 1)) },
  {
    name: "to all addresses",
    reason: "BROADCAST",
    datagram: vxlanDatagram(to4(255, 255, 255, 255)),
  },
  {
    name: "marked against its will",
    reason: "ECN_ILLEGAL",
    datagram: vxlanDatagram(good),
    input: { tos: 3 },
  },
];

testRefusals("a datagram", node1, fromTwo, REFUSALS);

test("a peer may send from its longest prefixes only", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [2, peerOf(3, { prefixes: ["10.244.2.7/32"] })]));
  module.feedWire(vxlanDatagram(good), fromTwo());
  module.feedWire(vxlanDatagram(good), { from: underlayOf(3) });
  assert.is(module.run().tun.length, 1);
  assert.is(module.counters().ingress.drops.SPOOFED_SOURCE?.packets, 1);
});

test("reserved bits and the sender's port play no part", async () => {
  const module = await node1();
  const datagram = vxlanDatagram(good, { flags: 0xff });
  datagram.set([1, 2, 3], 1);
  datagram[7] = 0xee;
  module.feedWire(datagram, fromTwo({ port: 1 }));
  assert.equal(module.run().tun[0]?.packet, good);
});

test("congestion marks of the outer header reach the inner packet (RFC 6040)", async () => {
  const module = await node1();
  for (const version of [4, 6] as const) {
    for (let inner = 0; inner < 4; inner++) {
      for (let outer = 0; outer < 4; outer++) {
        const tos = 0xb8 | inner;
        const packet = podPacket(version, 2, 1, { tos });
        module.feedWire(vxlanDatagram(packet), fromTwo({ tos: outer }));
        const got = module.run().tun[0]?.packet;
        const expected = [
          [0, 0, 0, -1],
          [1, 1, 1, 3],
          [2, 1, 2, 3],
          [3, 3, 3, 3],
        ][inner]?.[outer];
        const marked = podPacket(version, 2, 1, { tos: 0xb8 | (expected ?? 0) });
        assert.equal(got, expected === -1 ? undefined : marked, `${inner} under ${outer}`);
      }
    }
  }
});

test("one bad datagram of a train ends alone", async () => {
  const module = await node1();
  const bad = vxlanDatagram(good, { vni: 1 });
  const datagram = vxlanDatagram(good);
  const train = concat(datagram, bad, datagram, datagram.slice(0, 30));
  module.feedWire(train, fromTwo({ segment: datagram.length }));
  module.run();
  const { ingress } = module.counters();
  assert.equal([ingress.received, ingress.forwarded, droppedPackets(ingress)], [4, 2, 2]);
  assertExact(module);
});

test("lengths and segments that no kernel writes are drops, never a trap", async () => {
  const module = await node1();
  const long = module.feedWire(vxlanDatagram(good), fromTwo());
  module.view.setUint32(long + 8, 0xffff_ffff, true);
  const tiny = module.feedWire(new Uint8Array(65_000), fromTwo({ segment: 1 }));
  assert.ok(tiny > 0);
  module.feedWire(vxlanDatagram(good), fromTwo({ segment: 65_535 }));
  module.run();
  const { ingress } = module.counters();
  assert.is(ingress.drops.BAD_LENGTH?.packets, 1);
  assert.is(ingress.drops.TOO_SHORT?.packets, 65_000);
  assert.is(ingress.forwarded, 1);
  assertExact(module);
});

test("what node 1 sends, node 2 receives unchanged", async () => {
  const one = await node1();
  const two = await loadModule();
  two.publish(contentsOf(2, [1, 3]));
  for (const version of [4, 6] as const) {
    for (const size of [0, 1, 18, 500, 1370]) {
      const packet = podPacket(version, 1, 2, { payload: new Uint8Array(size).fill(size) });
      one.feedTun(packet);
      const [sent] = one.run().wire;
      two.feedWire(sent?.bytes ?? new Uint8Array(0), { from: underlayOf(1), tos: sent?.tos ?? 0 });
      assert.equal(two.run().tun[0]?.packet, packet);
    }
  }
});

for (const version of [4, 6] as const) {
  test(`new tables end what was proven of an IPv${version} source by the old ones`, async () => {
    const module = await node1();
    const datagram = vxlanDatagram(podPacket(version, 2, 1));
    // The second of its kind is remembered, and the third would pass for being like it.
    for (let i = 0; i < 3; i++) module.feedWire(datagram, fromTwo());
    assert.is(module.run().tun.length, 3);
    module.publish(contentsOf(1, [peerOf(2, { prefixes: [] }), 3]));
    module.feedWire(datagram, fromTwo());
    assert.is(module.run().tun.length, 0);
    assert.is(module.counters().ingress.drops.SPOOFED_SOURCE?.packets, 1);
    assertExact(module);
  });
}

test.run();
