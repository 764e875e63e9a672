// Bare IP in UDP, as flannel's `udp` backend sends it, on both ways. Packets of a train stand
// without a gap, so those that cannot be joined where they are must move.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  ARENA_SIZE,
  BATCH,
  FEATURE_TUN_USO,
  PROBE_MAGIC,
  PROBE_PORT,
  PROBE_SIZE,
  SOCKET_UDP,
  SOCKET_VXLAN,
  W_FEATURES,
  W_WIRE_ARENA,
} from "../../assembly/shared/layout.js";
import { fault } from "../support/judge.js";
import { loadModule, type WireInput } from "../support/module.js";
import { contentsOf, peerOf, pod, podPacket, underlayOf, vxlanDatagram } from "../support/nodes.js";
import { ACK, concat, FIN, PSH, setBe32, TCP, UDP } from "../support/packets.js";
import { seededRandom } from "../support/random.js";
import { assertExact, fromTwo, nodeOne, type Refusal, testRefusals } from "../support/scene.js";
import { comparable, expand } from "../support/worker-room.js";

const udpPeer = (node: number) => {
  const { mac: _mac, vni: _vni, ...rest } = peerOf(node, { protocol: "udp", port: 8285 });
  return rest;
};

const node1 = () => nodeOne([udpPeer(2), udpPeer(3)]);
const from2 = (changes: Partial<WireInput> = {}) => fromTwo({ socket: SOCKET_UDP, ...changes });

for (const version of [4, 6] as const) {
  test(`an IPv${version} packet leaves as it is, and is taken as it is`, async () => {
    const module = await node1();
    const out = podPacket(version, 1, 2);
    module.feedTun(out);
    const [sent] = module.run().wire;
    assert.equal(sent?.bytes, out);
    assert.equal([sent?.port, sent?.innerBytes], [8285, out.length]);
    const back = podPacket(version, 2, 1);
    module.feedWire(back, from2());
    assert.equal(module.run().tun[0]?.packet, back);
    assertExact(module);
  });

  test(`a TCP super-packet of IPv${version} leaves as segments and comes back whole`, async () => {
    const module = await node1();
    const payload = seededRandom("udp").bytes(9 * 1000 + 77);
    const packet = podPacket(version, 1, 2, { protocol: TCP, payload, flags: ACK });
    const header = version === 4 ? 40 : 60;
    const vnet = { flags: 1, gsoType: version === 4 ? 1 : 4, headerLength: header };
    module.feedTun(packet, {
      ...{ ...vnet, gsoSize: 1000, checksumStart: header - 20, checksumOffset: 16 },
    });
    const [sent] = module.run().wire;
    assert.equal([sent?.segment, sent?.segments], [header + 1000, 10]);
    const two = await loadModule();
    two.publish(contentsOf(2, [udpPeer(1)]));
    two.feedWire(sent?.bytes ?? new Uint8Array(0), {
      ...{ from: underlayOf(1), socket: SOCKET_UDP, segment: sent?.segment ?? 0 },
    });
    const [got, ...more] = two.run().tun;
    assert.is(more.length, 0);
    assert.is(got?.segments, 10);
    assert.equal(got?.packet.slice(header), payload);
    assertExact(module);
    assertExact(two);
  });
}

const REFUSALS: Refusal[] = [
  { name: "of no byte", reason: "TOO_SHORT", datagram: new Uint8Array(0) },
  {
    name: "that ends in the header",
    reason: "TOO_SHORT",
    datagram: podPacket(4, 2, 1).slice(0, 19),
  },
  {
    name: "of no IP version",
    reason: "BAD_IP_VERSION",
    datagram: Uint8Array.of(0, ...podPacket(4, 2, 1)),
  },
  {
    name: "that is a VXLAN datagram",
    reason: "BAD_IP_VERSION",
    datagram: vxlanDatagram(podPacket(4, 2, 1)),
  },
  {
    name: "that ends before its packet",
    reason: "BAD_LENGTH",
    datagram: podPacket(6, 2, 1).slice(0, 60),
  },
  { name: "of another peer's pod", reason: "SPOOFED_SOURCE", datagram: podPacket(4, 3, 1) },
  { name: "for another node", reason: "NOT_LOCAL", datagram: podPacket(6, 2, 3) },
  {
    name: "on another encapsulation's port",
    reason: "WRONG_PROTOCOL",
    datagram: podPacket(4, 2, 1),
    input: { socket: SOCKET_VXLAN },
  },
];

testRefusals("a udp datagram", node1, from2, REFUSALS);

function probe(version: 4 | 6, size: number): Uint8Array {
  const payload = new Uint8Array(size).fill(0x70);
  setBe32(payload, 0, PROBE_MAGIC);
  payload[4] = 0;
  const ports = { sourcePort: PROBE_PORT, destinationPort: PROBE_PORT };
  return podPacket(version, 2, 1, { payload, ...ports, destination: pod(version, 1, 1) });
}

test("probes of a train are answered, each small, and spoil nothing between them", async () => {
  const module = await node1();
  const size = 600;
  const data = (i: number) => podPacket(4, 2, 1, { payload: new Uint8Array(size).fill(i) });
  const train = [data(1), probe(4, size), data(2), probe(4, size), data(3)];
  module.feedWire(concat(...train), from2({ segment: train[0]?.length ?? 0 }));
  const { tun, wire } = module.run();
  const sent = wire.flatMap((one) => one.datagrams);
  assert.is(sent.length, 2);
  for (const answer of sent) {
    assert.is(fault(answer), undefined);
    assert.is(answer[32], 1, "a reply");
    assert.is(answer.length, 28 + PROBE_SIZE);
    assert.equal(answer.slice(36), train[1]?.slice(36, 28 + PROBE_SIZE));
  }
  const got = tun.map((one) => one.packet.slice(28));
  assert.equal(
    got,
    [data(1), data(2), data(3)].map((packet) => packet.slice(28)),
  );
  assertExact(module);
});

test("trains whose packets must all move take no more of the arena than there is", async () => {
  const module = await node1();
  const next = module.base + W_WIRE_ARENA;
  module.views.bytes.fill(0xa5, next, next + ARENA_SIZE);
  // No flow's packet follows its own; moved, with their gaps, they are more than it holds.
  const [size, count] = [595, 110];
  const trains = Array.from({ length: BATCH }, (_, i) =>
    Array.from({ length: count }, (_, k) =>
      podPacket(4, 2, 1, {
        ...{ payload: new Uint8Array(size - 28).fill(i + k), sourcePort: 1000 + (k & 1) },
        ...{ identification: i * count + k },
      }),
    ),
  );
  for (const train of trains) module.feedWire(concat(...train), from2({ segment: size }));
  const { tun, wire, runs } = module.run();
  assert.ok(runs > 1, "what one run has no room for is left to the next");
  assert.is(wire.length, 0);
  const behind = module.views.bytes.subarray(next, next + ARENA_SIZE);
  assert.ok(
    behind.every((byte) => byte === 0xa5),
    "nothing is written behind the arena",
  );
  const sent = trains.flat();
  assert.is(tun.length, sent.length);
  assert.ok(tun.every(({ packet }, i) => Buffer.compare(packet, sent[i] ?? packet) === 0));
  assertExact(module);
});

test("whatever follows whatever in a train, each flow comes out whole and in order", async () => {
  const random = seededRandom("udp-trains");
  const module = await node1();
  for (let round = 0; round < 1000; round++) {
    module.setWord(W_FEATURES, round & 1 ? FEATURE_TUN_USO : 0);
    const flows = Array.from({ length: random.between(1, 4) }, (_, i) => ({
      ...{ version: random.pick([4, 6] as const), protocol: random.pick([TCP, TCP, UDP]) },
      ...{ sequence: random.bits(), sourcePort: 1000 + i, identification: 7 },
    }));
    const length = random.between(60, 400);
    const packets: Uint8Array[] = [];
    const count = random.between(1, 40);
    for (let i = 0; i < count; i++) {
      const flow = flows[random.once(3) ? random.between(0, flows.length - 1) : 0];
      if (flow === undefined) continue;
      const header = (flow.version === 4 ? 20 : 40) + (flow.protocol === TCP ? 20 : 8);
      const whole = i + 1 === count ? random.between(header, length) : Math.max(length, header);
      const payload = random.bytes(whole - header);
      const flags = random.once(8) ? ACK | random.pick([PSH, FIN]) : ACK;
      packets.push(podPacket(flow.version, 2, 1, { ...flow, payload, flags }));
      flow.sequence = (flow.sequence + payload.length) % 2 ** 32;
      flow.identification += 1;
    }
    module.feedWire(concat(...packets), from2({ segment: packets[0]?.length ?? 0 }));
    const out = module.run().tun.flatMap((one) => {
      const vnet = Uint8Array.of(one.vnet.flags, one.vnet.gsoType, 0, 0, 0, 0, 0, 0, 0, 0);
      const view = new DataView(vnet.buffer);
      view.setUint16(2, one.vnet.headerLength, true);
      view.setUint16(4, one.vnet.gsoSize, true);
      view.setUint16(6, one.vnet.checksumStart, true);
      view.setUint16(8, one.vnet.checksumOffset, true);
      return expand({ ...one, vnet, address: 0, socket: 0, isInArena: true });
    });
    const portOf = (packet: Uint8Array) => {
      const at = (packet[0] ?? 0) >> 4 === 4 ? 20 : 40;
      return ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
    };
    for (const { sourcePort } of flows) {
      const own = (list: Uint8Array[]) =>
        list.filter((packet) => portOf(packet) === sourcePort).map(comparable);
      assert.equal(own(out), own(packets), `round ${round}`);
    }
  }
  assertExact(module);
});

test.run();
