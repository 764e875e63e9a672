// What is accepted beside what is sent: the old and the next network number or key while a word of
// the headers changes, and nothing else.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_MIXED,
  SOCKET_VXLAN,
} from "../../assembly/shared/layout.js";
import { droppedPackets } from "../../src/datapath/counters.js";
import type { TablePeer } from "../../src/datapath/types.js";
import {
  frameOf,
  geneveDatagram,
  geneveOption,
  grePacket,
  outerIpv4,
  peerOf,
  podPacket,
  vxlanDatagram,
} from "../support/nodes.js";
import { assertExact, fromTwo, nodeOne } from "../support/scene.js";

const packet = podPacket(4, 2, 1);
const GRE = { key: 5, checksum: false, sequence: false };
const { vni: _vni, ...bare } = peerOf(2, { protocol: "gre", port: 0 });

interface Case {
  what: string;
  peer: TablePeer;
  socket: number;
  before?: Uint8Array;
  taken: Uint8Array[];
  refused: Uint8Array[];
  reason: "WRONG_VNI" | "WRONG_KEY";
  /** Bytes that our own packets begin with. */
  sent: number[];
}

const withKey = (key?: number) => grePacket(packet, key === undefined ? {} : { key });
const gre = { socket: SOCKET_GRE, before: outerIpv4(47), reason: "WRONG_KEY" } as const;

const CASES: Case[] = [
  {
    ...{ what: "VXLAN's numbers", socket: SOCKET_VXLAN, reason: "WRONG_VNI" },
    peer: peerOf(2, { vni: 42, vnis: [7, 42] }),
    taken: [7, 42].map((vni) => vxlanDatagram(packet, { vni })),
    refused: [0, 8, 43].map((vni) => vxlanDatagram(packet, { vni })),
    sent: [0x08, 0, 0, 0, 0, 0, 42, 0],
  },
  {
    ...{ what: "a VXLAN number that is no longer sent", socket: SOCKET_VXLAN },
    ...{ peer: peerOf(2, { vni: 42, vnis: [7] }), reason: "WRONG_VNI" },
    taken: [vxlanDatagram(packet, { vni: 7 })],
    refused: [vxlanDatagram(packet, { vni: 42 }), vxlanDatagram(packet, { vni: 0 })],
    sent: [0x08, 0, 0, 0, 0, 0, 42, 0],
  },
  {
    ...{ what: "Geneve's numbers", socket: SOCKET_GENEVE, reason: "WRONG_VNI" },
    peer: peerOf(2, { protocol: "geneve", port: 6081, vni: 42, vnis: [42, 0xffffff] }),
    taken: [42, 0xffffff].map((vni) => geneveDatagram(frameOf(packet), { vni })),
    refused: [0, 43].map((vni) => geneveDatagram(frameOf(packet), { vni })),
    sent: [0, 0, 0x65, 0x58, 0, 0, 42, 0],
  },
  {
    ...{ what: "two GRE keys", ...gre },
    peer: { ...bare, gre: GRE, greKeys: [0, 5] },
    taken: [withKey(0), withKey(5)],
    refused: [withKey(), withKey(6)],
    sent: [0x20, 0, 0x08, 0, 0, 0, 0, 5],
  },
  {
    ...{ what: "a GRE key and none", ...gre },
    peer: { ...bare, gre: { ...GRE, key: null }, greKeys: [6, null] },
    taken: [withKey(), withKey(6)],
    refused: [withKey(0), withKey(5)],
    sent: [0, 0, 0x08, 0],
  },
  {
    ...{ what: "two GRE keys and none", ...gre },
    peer: { ...bare, gre: GRE, greKeys: [6, null, 5] },
    taken: [withKey(), withKey(5), withKey(6)],
    refused: [withKey(0), withKey(7)],
    sent: [0x20, 0, 0x08, 0, 0, 0, 0, 5],
  },
];

for (const { what, peer, socket, before, taken, refused, reason, sent } of CASES) {
  test(`${what}: those agreed are taken, others are ${reason}, one is sent`, async () => {
    const module = await nodeOne([peer]);
    const from = fromTwo({ socket, ...(before === undefined ? {} : { before }) });
    // Each twice: the second may pass for being like the first.
    for (const datagram of taken) {
      module.feedWire(datagram, from);
      module.feedWire(datagram, from);
      const { tun } = module.run();
      const count = tun.reduce((sum, { segments }) => sum + segments, 0);
      assert.is(count, 2);
    }
    for (const datagram of refused) module.feedWire(datagram, from);
    assert.is(module.run().tun.length, 0);
    assert.is(module.counters().ingress.drops[reason]?.packets, refused.length);
    module.feedTun(podPacket(4, 1, 2));
    const [out] = module.run().wire;
    assert.equal([...(out?.bytes ?? [])].slice(0, sent.length), sent);
    assertExact(module);
  });
}

test("on a port of several encapsulations each datagram says itself which it is", async () => {
  const receives = ["vxlan", "geneve", "udp"] as const;
  const module = await nodeOne([peerOf(2, { receives })]);
  const from = fromTwo({ socket: SOCKET_MIXED });
  const six = podPacket(6, 2, 1);
  // A traffic class whose first bit stands where VXLAN has its flag.
  six[0] = 0x6b;
  const inner = [packet, six];
  const datagrams = [...inner.map((one) => vxlanDatagram(one)), ...inner];
  datagrams.push(...inner.map((one) => geneveDatagram(frameOf(one))));
  for (const datagram of datagrams) module.feedWire(datagram, from);
  assert.equal(
    module.run().tun.map((one) => one.packet),
    [...inner, ...inner, ...inner],
  );
  const options = geneveDatagram(frameOf(packet), { options: geneveOption(1, new Uint8Array(28)) });
  for (const refused of [new Uint8Array(0), options]) module.feedWire(refused, from);
  assert.is(module.run().tun.length, 0);
  assert.is(droppedPackets(module.counters().ingress), 2);
  assertExact(module);
});

test("what a peer does not send is refused on a port of several, too", async () => {
  const module = await nodeOne([peerOf(2, { receives: ["vxlan"] })]);
  const from = fromTwo({ socket: SOCKET_MIXED });
  for (const one of [packet, geneveDatagram(frameOf(packet))]) module.feedWire(one, from);
  assert.is(module.run().tun.length, 0);
  assert.is(module.counters().ingress.drops.WRONG_PROTOCOL?.packets, 2);
});

test("more than two numbers or keys are refused before a byte is written", async () => {
  const module = await nodeOne([2]);
  const peers: TablePeer[] = [
    peerOf(2, { vnis: [1, 2, 3] }),
    peerOf(2, { vnis: [1 << 24] }),
    { ...bare, gre: GRE, greKeys: [1, 2, null, 3] },
    { ...bare, gre: GRE, greKeys: [2 ** 32] },
  ];
  const self = { mac: "02:00:00:00:00:01", vni: 42, mtu: 1450, udpPort: 8472 };
  for (const peer of peers) {
    const contents = { self: { ...self, addresses: [], prefixes: [] }, peers: [peer] };
    assert.throws(() => module.publish(contents), /TABLE_INVALID|at most 2|whole number/);
  }
});

test.run();
