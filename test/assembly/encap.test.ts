// Overlay -> underlay: headers, routing, marks, sockets, trains and refusals.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ENTROPY_SOCKETS, MAX_SEGMENTS, MAX_SEND } from "../../assembly/shared/layout.js";
import { addressBytes, parseAddress } from "../../src/datapath/address.js";
import { droppedPackets } from "../../src/datapath/counters.js";
import { loadModule } from "../support/module.js";
import {
  contentsOf,
  MTU,
  macOf,
  peerOf,
  pod,
  pod4,
  podPacket,
  underlayOf,
  VXLAN_PORT,
  vxlanDatagram,
} from "../support/nodes.js";
import { ACK, be16, be32, concat, PSH, TCP, UDP } from "../support/packets.js";
import { assertExact, nodeOne } from "../support/scene.js";

const GSO_TCP4 = 1;
const GSO_TCP6 = 4;
const GSO_UDP = 5;

const node1 = () => nodeOne([2, 3]);

/** The datagram node 1 makes of a packet for node 2. */
const expected = (packet: Uint8Array, to = 2) =>
  vxlanDatagram(packet, { to: macOf(to), from: macOf(1) });

for (const version of [4, 6] as const) {
  test(`an IPv${version} packet leaves as a VXLAN datagram, byte by byte`, async () => {
    const module = await node1();
    const packet = podPacket(version, 1, 2);
    module.feedTun(packet);
    const { wire, tun } = module.run();
    assert.is(wire.length, 1);
    assert.is(tun.length, 0);
    assert.equal(wire[0]?.bytes, expected(packet));
    assert.is(wire[0]?.port, VXLAN_PORT);
    assert.is(wire[0]?.family, 4);
    const address = parseAddress(underlayOf(2));
    assert.equal(wire[0]?.peer, address && addressBytes(address));
    assert.is(wire[0]?.innerBytes, packet.length);
    assert.is(module.counters().egress.forwarded, 1);
    assertExact(module);
  });

  test(`an IPv${version} packet goes to the peer with the longest prefix`, async () => {
    const module = await loadModule();
    const narrow = version === 4 ? "10.244.2.9/32" : "fd00:2::9/128";
    module.publish(contentsOf(1, [2, peerOf(3, { prefixes: [narrow] })]));
    module.feedTun(podPacket(version, 1, 2));
    module.feedTun(podPacket(version, 1, 2, { destination: pod(version, 2, 10) }));
    const { wire } = module.run();
    assert.equal(
      wire.map((out) => out.bytes.slice(8, 14)),
      [macOf(3), macOf(2)],
    );
  });
}

test("a peer with an IPv6 underlay address is reached by IPv6", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { address: "2001:db8::2" })]));
  module.feedTun(podPacket(4, 1, 2));
  const { wire } = module.run();
  assert.is(wire[0]?.family, 6);
  const address = parseAddress("2001:db8::2");
  assert.equal(wire[0]?.peer, address && addressBytes(address));
});

test("DSCP is inherited or fixed and ECN always copied", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [2, peerOf(3, { dscp: 10 })]));
  module.feedTun(podPacket(4, 1, 2, { tos: 0xb9 }));
  module.feedTun(podPacket(6, 1, 2, { tos: 0x2a }));
  module.feedTun(podPacket(4, 1, 3, { tos: 0xb9 }));
  const { wire } = module.run();
  assert.equal(
    wire.map((out) => out.tos),
    [0xb9, 0x2a, (10 << 2) | 1],
  );
});

test("an unfinished checksum is completed before the packet leaves", async () => {
  const module = await node1();
  const whole = podPacket(4, 1, 2, { payload: new Uint8Array(101).fill(3) });
  const partial = Uint8Array.from(whole);
  const pseudo = be16(pod4(1, 7), 0) + be16(pod4(1, 7), 2) + be16(pod4(2, 9), 0);
  const sum = pseudo + be16(pod4(2, 9), 2) + UDP + (whole.length - 20);
  const folded = (sum & 0xffff) + (sum >> 16);
  partial.set([folded >> 8, folded & 255], 26);
  module.feedTun(partial, { flags: 1, checksumStart: 20, checksumOffset: 6 });
  assert.equal(module.run().wire[0]?.bytes, expected(whole));
});

test("a flow keeps its socket and many flows use all but the listening one", async () => {
  const module = await node1();
  const used = new Set<number>();
  for (let port = 1000; port < 1300; port++) {
    module.feedTun(podPacket(4, 1, 2, { sourcePort: port }));
    const first = module.run().wire[0]?.socket;
    module.feedTun(podPacket(4, 1, 2, { sourcePort: port, payload: new Uint8Array(700) }));
    assert.is(module.run().wire[0]?.socket, first);
    used.add(first ?? -1);
  }
  assert.equal(
    [...used].sort(),
    Array.from({ length: ENTROPY_SOCKETS - 1 }, (_, i) => i + 1),
  );
});

test("all fragments of a packet take one socket", async () => {
  const module = await node1();
  const sockets = new Set<number | undefined>();
  for (const [offset, bytes] of [
    [0x2000, 8],
    [0x2001, 16],
    [3, 24],
  ] as const) {
    const packet = podPacket(4, 1, 2, { payload: new Uint8Array(bytes).fill(bytes) });
    packet.set([offset >> 8, offset & 255], 6);
    if (offset !== 0x2000) packet.fill(bytes, 20);
    module.feedTun(packet);
    sockets.add(module.run().wire[0]?.socket);
  }
  assert.is(sockets.size, 1);
});

test("equal packets of one flow leave as one train, a shorter one ends it", async () => {
  const module = await node1();
  const sizes = [100, 100, 100, 60, 100, 120, 120];
  const packets = sizes.map((size, i) =>
    podPacket(4, 1, 2, { payload: new Uint8Array(size).fill(i), identification: i }),
  );
  for (const packet of packets) module.feedTun(packet);
  const { wire } = module.run();
  assert.equal(
    wire.map((out) => out.segments),
    [4, 1, 2],
  );
  const datagrams = wire.flatMap((out) => out.datagrams);
  assert.equal(
    datagrams,
    packets.map((packet) => expected(packet)),
  );
  assert.is(module.counters().egress.forwarded, 7);
  assert.is(module.counters().egress.sends, 3);
  assertExact(module);
});

test("full trains grow in their first packet's slot and touch no other", async () => {
  const module = await node1();
  for (const size of [18, 990, 1400]) {
    const packets = Array.from({ length: 64 }, (_, i) =>
      podPacket(4, 1, 2, { payload: new Uint8Array(size).fill(i + 1), identification: i }),
    );
    for (const packet of packets) module.feedTun(packet);
    const { wire } = module.run();
    const most = Math.min(MAX_SEGMENTS, Math.floor(MAX_SEND / (size + 28 + 22)));
    assert.is(wire[0]?.segments, most);
    assert.equal(
      wire.flatMap((out) => out.datagrams),
      packets.map((packet) => expected(packet)),
    );
  }
  assertExact(module);
});

test("packets of different marks or peers never share a train", async () => {
  const module = await node1();
  const socketOf = (packet: Uint8Array) => {
    module.feedTun(packet);
    return module.run().wire[0]?.socket;
  };
  const marked = podPacket(4, 1, 2, { tos: 2 });
  const socket = socketOf(marked);
  // Only flows that go by one socket could share a train.
  const flows = Array.from({ length: 100 }, (_, i) =>
    podPacket(4, 1, 3, { tos: 2, sourcePort: 1000 + i }),
  );
  const other = flows.find((packet) => socketOf(packet) === socket);
  assert.ok(other);
  for (const packet of [podPacket(4, 1, 2), marked, other]) module.feedTun(packet);
  const { wire } = module.run();
  assert.equal(
    wire.map((out) => [out.socket, out.segments]),
    new Array(3).fill([socket, 1]),
  );
});

function superPacket(version: 4 | 6, payload: number, protocol = TCP): Uint8Array {
  const bytes = Uint8Array.from({ length: payload }, (_, i) => (i * 7) & 255);
  return podPacket(version, 1, 2, { protocol, payload: bytes, flags: ACK | PSH });
}

for (const version of [4, 6] as const) {
  test(`an IPv${version} TCP super-packet leaves as trains of wire-size packets`, async () => {
    const module = await node1();
    const header = version === 4 ? 40 : 60;
    const size = MTU - header;
    const packet = superPacket(version, 60_000);
    module.feedTun(packet, {
      gsoType: version === 4 ? GSO_TCP4 : GSO_TCP6,
      gsoSize: size,
      flags: 1,
    });
    const { wire } = module.run();
    const count = Math.ceil(60_000 / size);
    assert.is(
      wire.reduce((sum, out) => sum + out.segments, 0),
      count,
    );
    for (const out of wire) {
      assert.ok(out.bytes.length <= MAX_SEND && out.segments <= MAX_SEGMENTS);
      assert.is(out.segment, 22 + MTU);
      assert.is(out.datagrams.length, out.segments);
    }
    const inner = wire.flatMap((out) => out.datagrams).map((one) => one.slice(22));
    const sequence = be32(packet, header - 20 + 4);
    inner.forEach((one, i) => {
      assert.is(be32(one, header - 20 + 4), sequence + i * size);
    });
    assert.equal(concat(...inner.map((one) => one.slice(header))), packet.slice(header));
    const { egress } = module.counters();
    assert.is(egress.received, count);
    assert.is(egress.forwarded, count);
    assert.is(egress.super, 1);
    assertExact(module);
  });
}

test("a TCP super-packet is cut smaller where the peer's path takes less", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { mtu: 1280 })]));
  module.feedTun(superPacket(4, 10_000), { gsoType: GSO_TCP4, gsoSize: 1410, flags: 1 });
  const { wire, tun } = module.run();
  const inner = wire.flatMap((out) => out.datagrams);
  assert.is(tun.length, 0);
  assert.is(inner.length, Math.ceil(10_000 / 1240));
  assert.ok(inner.every((one) => one.length <= 22 + 1280));
  assertExact(module);
});

test("a UDP super-packet of too large datagrams is too big, and its sender is told", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { mtu: 1280 })]));
  module.feedTun(superPacket(4, 4200, UDP), { gsoType: GSO_UDP, gsoSize: 1400, flags: 1 });
  const { wire, tun } = module.run();
  assert.is(wire.length, 0);
  assert.is(tun.length, 1);
  const { egress } = module.counters();
  assert.is(egress.drops.TOO_BIG?.packets, 3);
  assert.is(egress.generated, 1);
  assertExact(module);
});

interface Refusal {
  name: string;
  reason: string;
  packet: Uint8Array;
  /** ICMP type and code of the answer, if one is due. */
  answer?: [number, number];
}

const REFUSALS: Refusal[] = [
  { name: "nowhere", reason: "NO_ROUTE", packet: podPacket(4, 1, 99), answer: [3, 0] },
  { name: "nowhere (IPv6)", reason: "NO_ROUTE", packet: podPacket(6, 1, 99), answer: [1, 0] },
  { name: "to ourselves", reason: "LOOP", packet: podPacket(4, 1, 1), answer: [3, 0] },
  { name: "from elsewhere", reason: "FOREIGN_SOURCE", packet: podPacket(4, 9, 2) },
  { name: "from a peer's pod", reason: "FOREIGN_SOURCE", packet: podPacket(6, 3, 2) },
  {
    name: "out of time",
    reason: "TTL_EXPIRED",
    packet: podPacket(4, 1, 2, { ttl: 0 }),
    answer: [11, 0],
  },
  {
    name: "too large",
    reason: "TOO_BIG",
    packet: podPacket(4, 1, 2, { payload: new Uint8Array(1430) }),
    answer: [3, 4],
  },
  {
    name: "too large (IPv6)",
    reason: "TOO_BIG",
    packet: podPacket(6, 1, 2, { payload: new Uint8Array(1430) }),
    answer: [2, 0],
  },
  {
    name: "to a group",
    reason: "MULTICAST",
    packet: podPacket(4, 1, 2, { destination: Uint8Array.of(224, 0, 0, 5) }),
  },
  {
    name: "to a group (IPv6)",
    reason: "MULTICAST",
    packet: podPacket(6, 1, 2, { destination: Uint8Array.of(255, 2, ...new Array(14).fill(1)) }),
  },
  {
    name: "to all",
    reason: "BROADCAST",
    packet: podPacket(4, 1, 2, { destination: Uint8Array.of(255, 255, 255, 255) }),
  },
  { name: "empty", reason: "TOO_SHORT", packet: new Uint8Array(0) },
  { name: "of half a header", reason: "TOO_SHORT", packet: podPacket(4, 1, 2).slice(0, 19) },
  { name: "of half an IPv6 header", reason: "TOO_SHORT", packet: podPacket(6, 1, 2).slice(0, 39) },
  { name: "cut short", reason: "BAD_LENGTH", packet: podPacket(4, 1, 2).slice(0, 40) },
  { name: "cut short (IPv6)", reason: "BAD_LENGTH", packet: podPacket(6, 1, 2).slice(0, 60) },
  { name: "of version 5", reason: "BAD_IP_VERSION", packet: Uint8Array.of(0x50, ...new Array(30)) },
  {
    name: "with a header of 16 bytes",
    reason: "BAD_IP_HEADER",
    packet: Uint8Array.of(0x44, ...podPacket(4, 1, 2).slice(1)),
  },
];

for (const { name, reason, packet, answer } of REFUSALS) {
  test(`a packet ${name} is counted as ${reason}`, async () => {
    const module = await node1();
    module.feedTun(packet);
    const { wire, tun } = module.run();
    const { egress } = module.counters();
    assert.is(wire.length, 0);
    assert.equal(Object.keys(egress.drops), [reason]);
    assert.is(droppedPackets(egress), 1);
    if (answer !== undefined) {
      const reply = tun[0]?.packet ?? new Uint8Array(0);
      const at = (reply[0] ?? 0) >> 4 === 4 ? 20 : 40;
      assert.equal([reply[at], reply[at + 1]], answer);
      assert.is(egress.generated, 1);
    }
    assertExact(module);
  });
}

test("offload headers that contradict their packet are refused", async () => {
  const module = await node1();
  const tcp = superPacket(4, 5000);
  module.feedTun(tcp, { gsoType: 77, gsoSize: 1000 });
  module.feedTun(tcp, { gsoType: GSO_TCP4, gsoSize: 0 });
  module.feedTun(tcp, { gsoType: GSO_TCP4, gsoSize: 1 });
  module.feedTun(tcp, { gsoType: GSO_TCP6, gsoSize: 1000 });
  module.feedTun(tcp, { gsoType: GSO_UDP, gsoSize: 1000 });
  module.feedTun(podPacket(4, 1, 2), { flags: 1, checksumStart: 60_000, checksumOffset: 6 });
  module.run();
  assert.is(module.counters().egress.drops.BAD_OFFLOAD?.packets, 6);
  assertExact(module);
});

test("a descriptor longer than its slot or outside of it is dropped", async () => {
  const module = await node1();
  const long = module.feedTun(podPacket(4, 1, 2));
  module.view.setUint32(long + 8, 0xffff_fff0, true);
  const far = module.feedTun(podPacket(4, 1, 2));
  module.view.setUint32(far, 0xffff_fff0, true);
  const low = module.feedTun(podPacket(4, 1, 2));
  module.view.setUint32(low, 65536, true);
  module.run();
  assert.is(module.counters().egress.drops.BAD_LENGTH?.packets, 3);
  assertExact(module);
});

test("an injected packet takes the same way and counts as generated", async () => {
  const module = await node1();
  const probe = podPacket(4, 1, 2, { source: pod4(1, 1), destination: pod4(2, 1) });
  const large = podPacket(4, 1, 2, { payload: new Uint8Array(4000) });
  assert.ok(module.inject(probe));
  assert.ok(module.inject(large));
  assert.ok(module.inject(podPacket(4, 1, 99)));
  const { wire, tun } = module.run();
  assert.equal(
    wire.map((out) => out.bytes),
    [expected(probe), expected(large)],
  );
  assert.is(tun.length, 0);
  const { egress } = module.counters();
  assert.is(egress.generated, 3);
  assert.is(egress.drops.NO_ROUTE?.packets, 1);
  assertExact(module);
});

test("a batch of the largest super-packets is worked off in several runs", async () => {
  const module = await node1();
  const packet = superPacket(4, 65_000);
  for (let i = 0; i < 64; i++)
    module.feedTun(packet, { gsoType: GSO_TCP4, gsoSize: 100, flags: 1 });
  const { wire, runs } = module.run();
  assert.ok(runs > 1);
  assert.is(
    wire.reduce((sum, out) => sum + out.segments, 0),
    64 * 650,
  );
  assertExact(module);
});

test.run();
