// IP in IP on both ways, over both underlay families: known answers, raw sockets by inner version,
// every refusal by its reason, super-packets, and checksums that a sender's kernel left unfinished.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  RAW_SOCKETS,
  SOCKET_IPIP4,
  SOCKET_IPIP6,
  SOCKET_UDP,
} from "../../assembly/shared/layout.js";
import { droppedPackets } from "../../src/datapath/counters.js";
import type { TablePeer } from "../../src/datapath/types.js";
import { loadModule, type TestModule, type WireInput } from "../support/module.js";
import { contentsOf, outerIpv4, peerOf, podPacket, underlayOf } from "../support/nodes.js";
import {
  ACK,
  address4,
  buildPacket,
  concat,
  PSH,
  TCP,
  UDP,
  unfinished,
} from "../support/packets.js";
import { seededRandom } from "../support/random.js";
import { assertExact } from "../support/scene.js";

const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
/** Built with scapy: 10.0.0.1 -> 10.0.0.2 in IPv4 (RFC 2003), and 6in4's header (RFC 4213). */
const IPIP = fromHex(
  "45 00 00 30 12 34 40 00 40 04 a4 92 c0 00 02 01 c0 00 02 02" +
    "45 00 00 1c 00 01 00 00 40 11 66 ce 0a 00 00 01 0a 00 00 02 04 d2 16 2e 00 08 d0 db",
);
const SIT_HEADER = fromHex("45 00 00 44 12 34 40 00 40 29 a4 59 c0 00 02 01 c0 00 02 02");
const SIT_INNER = fromHex(
  "60 00 00 00 00 08 11 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01" +
    "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02 04 d2 16 2e 00 08 89 69",
);
const MTU = 1480;
const PROTOCOLS = { 4: 4, 6: 41 } as const;
const SOCKETS = { 4: SOCKET_IPIP4, 6: SOCKET_IPIP6 } as const;
const UNDERLAY6 = "2001:db8::2";

/** A peer that speaks IP in IP: no MAC, no network number, no port. */
function ipipPeer(node: number, changes: Partial<TablePeer> = {}): TablePeer {
  const { mac: _mac, vni: _vni, ...rest } = peerOf(node, { protocol: "ipip", port: 0, mtu: MTU });
  return { ...rest, ...changes };
}

function contents(self: number, peers: TablePeer[]) {
  const all = contentsOf(self, peers);
  return { ...all, self: { ...all.self, mtu: MTU, udpPort: 0 } };
}

async function node(self: number, ...peers: TablePeer[]): Promise<TestModule> {
  const module = await loadModule();
  module.publish(contents(self, peers));
  return module;
}

/** How a raw socket hands over what node 2 sends. */
function from2(version: 4 | 6, family: 4 | 6 = 4): WireInput {
  const socket = SOCKETS[version];
  if (family === 6) return { from: UNDERLAY6, socket };
  return { from: underlayOf(2), socket, before: outerIpv4(PROTOCOLS[version]) };
}

test("the vectors are taken off, and their inner packets leave as they are", async () => {
  for (const [outer, inner, version] of [
    [IPIP.slice(0, 20), IPIP.slice(20), 4],
    [SIT_HEADER, SIT_INNER, 6],
  ] as const) {
    const prefix = (side: number) =>
      version === 4 ? `10.0.0.${side}/32` : `2001:db8::${side}/128`;
    const self = (side: number) => {
      const other = 3 - side;
      const peer = ipipPeer(other, { prefixes: [prefix(other)] });
      const all = contents(side, [peer]);
      return { ...all, self: { ...all.self, prefixes: [prefix(side)], addresses: [] } };
    };
    const [one, two] = [await loadModule(), await loadModule()];
    one.publish(self(1));
    one.feedTun(inner);
    const [sent] = one.run().wire;
    assert.equal(sent?.bytes, inner);
    assert.is(sent?.socket, RAW_SOCKETS + SOCKETS[version] - SOCKET_IPIP4);
    two.publish(self(2));
    two.feedWire(inner, { from: underlayOf(1), socket: SOCKETS[version], before: outer });
    assert.equal(two.run().tun[0]?.packet, inner);
    assertExact(two);
  }
});

for (const family of [4, 6] as const) {
  for (const version of [4, 6] as const) {
    const name = `IPv${version} in IPv${family}`;
    const peer = family === 4 ? ipipPeer(2) : ipipPeer(2, { address: UNDERLAY6 });

    test(`${name}: to TUN without the outer header, whatever options that has`, async () => {
      const module = await node(1, peer);
      const packet = podPacket(version, 2, 1);
      module.feedWire(packet, from2(version, family));
      if (family === 4) {
        const before = outerIpv4(PROTOCOLS[version], new Uint8Array(12).fill(1));
        module.feedWire(packet, { ...from2(version), before });
      }
      const padded = concat(packet, new Uint8Array(9));
      module.feedWire(padded, from2(version, family));
      const { tun } = module.run();
      assert.is(tun.length, family === 4 ? 3 : 2);
      for (const one of tun) assert.equal(one.packet, packet);
      assertExact(module);
    });

    test(`${name}: a segment a message, and at the other end a super-packet again`, async () => {
      const payload = seededRandom(name).bytes(9 * 1300 + 99);
      const packet = podPacket(version, 1, 2, { protocol: TCP, payload, flags: ACK | PSH });
      const start = version === 4 ? 20 : 40;
      const module = await node(1, peer);
      module.feedTun(packet, {
        ...{ flags: 1, gsoType: version === 4 ? 1 : 4, headerLength: start + 20, gsoSize: 1300 },
        ...{ checksumStart: start, checksumOffset: 16 },
      });
      const { wire } = module.run();
      assert.is(wire.length, 10);
      const back = await node(2, ipipPeer(1, family === 4 ? {} : { address: UNDERLAY6 }));
      for (const sent of wire) {
        assert.equal([sent.segment, sent.segments], [0, 1]);
        assert.is(sent.port, 0, "a raw socket of IPv6 takes no port");
        const input = from2(version, family);
        back.feedWire(sent.bytes, family === 4 ? { ...input, from: underlayOf(1) } : input);
      }
      const { tun } = back.run();
      assert.is(tun.length, 1);
      assert.is(tun[0]?.segments, 10);
      assert.is(tun[0]?.isInArena, false, "it grew in the first one's slot");
      assert.equal(tun[0]?.packet.slice(start + 20), payload);
      assertExact(module);
      assertExact(back);
    });
  }
}

test("small packets of one flow are no train: a raw socket has none", async () => {
  const module = await node(1, ipipPeer(2));
  for (let i = 0; i < 5; i++) module.feedTun(podPacket(4, 1, 2));
  const { wire } = module.run();
  assert.equal(
    wire.map(({ segments, socket }) => [segments, socket]),
    Array(5).fill([1, RAW_SOCKETS]),
  );
});

test("outer marks join the inner ones, and a mark that cannot be is a drop", async () => {
  const module = await node(1, ipipPeer(2));
  module.feedWire(podPacket(4, 2, 1, { tos: 2 }), { ...from2(4), tos: 3 });
  module.feedWire(podPacket(4, 2, 1, { tos: 0 }), { ...from2(4), tos: 3 });
  const { tun } = module.run();
  assert.is(tun.length, 1);
  assert.is((tun[0]?.packet[1] ?? 0) & 3, 3);
  assert.is(module.counters().ingress.drops.ECN_ILLEGAL?.packets, 1);
});

test("what cannot be is a counted drop", async () => {
  const packet = podPacket(4, 2, 1);
  const six = podPacket(6, 2, 1);
  const spoofed = buildPacket({
    ...{ version: 4, protocol: UDP, payload: new Uint8Array(3) },
    ...{ source: address4(10, 9, 9, 9), destination: address4(10, 244, 1, 9) },
  });
  const cases: [string, Uint8Array, WireInput][] = [
    ["UNKNOWN_PEER", packet, { ...from2(4), from: "192.0.2.99" }],
    ["BAD_IP_VERSION", six, from2(4)],
    ["BAD_IP_VERSION", packet, from2(6)],
    ["TOO_SHORT", new Uint8Array(0), from2(4)],
    ["TOO_SHORT", packet.slice(0, 12), { ...from2(4), before: new Uint8Array(0) }],
    ["BAD_LENGTH", packet, { ...from2(4), before: Uint8Array.of(0x44, ...new Uint8Array(19)) }],
    ["BAD_LENGTH", new Uint8Array(4), { ...from2(4), before: outerIpv4(4).fill(0x4f, 0, 1) }],
    ["SPOOFED_SOURCE", spoofed, from2(4)],
    ["NOT_LOCAL", podPacket(4, 2, 3), from2(4)],
    ["WRONG_PROTOCOL", packet, { from: underlayOf(2), socket: SOCKET_UDP }],
    ["TRUNCATED", packet, { ...from2(4), flags: 1 }],
  ];
  for (const [reason, bytes, input] of cases) {
    const module = await node(1, ipipPeer(2));
    module.feedWire(bytes, input);
    assert.is(module.run().tun.length, 0, reason);
    assert.equal(Object.keys(module.counters().ingress.drops), [reason]);
    assert.is(droppedPackets(module.counters().ingress), 1);
    assertExact(module);
  }
});

test("a peer that is sent something else is heard, when its table entry says so", async () => {
  const packet = podPacket(4, 2, 1);
  const both = peerOf(2, { receives: ["vxlan", "ipip"] });
  const module = await node(1, both);
  module.feedWire(packet, from2(4));
  assert.equal(module.run().tun[0]?.packet, packet);
  const one = await node(1, peerOf(2));
  one.feedWire(packet, from2(4));
  assert.is(one.run().tun.length, 0);
  assert.is(one.counters().ingress.drops.WRONG_PROTOCOL?.packets, 1);
});

for (const version of [4, 6] as const) {
  const start = version === 4 ? 20 : 40;

  test(`IPv${version}: a checksum that was left for a card is finished`, async () => {
    for (const protocol of [TCP, UDP]) {
      const payload = seededRandom(`${protocol}`).bytes(333);
      const packet = podPacket(version, 2, 1, { protocol, payload });
      const module = await node(1, ipipPeer(2));
      module.feedWire(unfinished(packet, { version, protocol }), from2(version));
      assert.equal(module.run().tun[0]?.packet, packet);
      assertExact(module);
    }
  });

  test(`IPv${version}: a wrong checksum stays wrong, for the receiver to refuse`, async () => {
    const packet = podPacket(version, 2, 1, { protocol: TCP, payload: new Uint8Array(50) });
    packet[start + 17] = (packet[start + 17] ?? 0) ^ 1;
    const module = await node(1, ipipPeer(2));
    module.feedWire(packet, from2(version));
    const [got] = module.run().tun;
    assert.equal(got?.packet, packet);
    assert.is(got?.vnet.flags, 0, "no word that it was checked");
  });

  test(`IPv${version}: segments that nobody cut go to TUN as a super-packet`, async () => {
    const payload = seededRandom("whole").bytes(30_000);
    const packet = podPacket(version, 2, 1, { protocol: TCP, payload, flags: ACK });
    const module = await node(1, ipipPeer(2));
    const first = podPacket(version, 2, 1, { protocol: TCP, payload: payload.slice(0, 200) });
    module.feedWire(first, from2(version));
    module.feedWire(unfinished(packet, { version, protocol: TCP }), from2(version));
    const { tun } = module.run();
    assert.equal(
      tun.map(({ packet: one }) => one.length),
      [first.length, packet.length],
    );
    assert.equal(tun[1]?.vnet, {
      ...{ flags: 1, gsoType: version === 4 ? 1 : 4, headerLength: start + 20 },
      ...{ gsoSize: 1280 - start - 20, checksumStart: start, checksumOffset: 16 },
    });
    assertExact(module);
  });

  test(`IPv${version}: datagrams in one piece of unknown size are a counted drop`, async () => {
    const packet = podPacket(version, 2, 1, { protocol: UDP, payload: new Uint8Array(5000) });
    const module = await node(1, ipipPeer(2));
    module.feedWire(unfinished(packet, { version, protocol: UDP }), from2(version));
    assert.is(module.run().tun.length, 0);
    assert.is(module.counters().ingress.drops.BAD_OFFLOAD?.packets, 1);
    assertExact(module);
  });
}

test.run();
