// Geneve on both ways: known answers, the rules of its header and options, and every refusal by its
// reason. What encapsulations have in common is in encap.test.ts and decap.test.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SOCKET_GENEVE, SOCKET_VXLAN } from "../../assembly/shared/layout.js";
import { droppedPackets } from "../../src/datapath/counters.js";
import type { WireInput } from "../support/module.js";
import {
  frameOf,
  geneveDatagram,
  geneveOption,
  macOf,
  peerOf,
  podPacket,
  vxlanDatagram,
} from "../support/nodes.js";
import { ACK, concat, PSH, TCP } from "../support/packets.js";
import { seededRandom } from "../support/random.js";
import { assertExact, fromTwo, nodeOne, type Refusal, testRefusals } from "../support/scene.js";

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const bytes = (count: number) => new Uint8Array(count).fill(0x3c);
const skipped = geneveOption(0x01, bytes(8));
const critical = geneveOption(0x81, bytes(4));

const genevePeer = (node: number) => peerOf(node, { protocol: "geneve", port: 6081 });

const node1 = () => nodeOne([genevePeer(2), genevePeer(3)]);
const from2 = (changes: Partial<WireInput> = {}) => fromTwo({ socket: SOCKET_GENEVE, ...changes });

for (const version of [4, 6] as const) {
  const type = version === 4 ? IPV4 : IPV6;

  test(`an IPv${version} packet leaves as an Ethernet frame in Geneve, byte by byte`, async () => {
    const module = await node1();
    const packet = podPacket(version, 1, 2);
    module.feedTun(packet);
    const [sent] = module.run().wire;
    const frame = frameOf(packet, { to: macOf(2), from: macOf(1) });
    assert.equal(sent?.bytes, geneveDatagram(frame));
    assert.is(sent?.port, 6081);
    assert.is(sent?.innerBytes, packet.length);
    assertExact(module);
  });

  test(`an IPv${version} packet is taken as a frame and bare, behind options or none`, async () => {
    const module = await node1();
    const packet = podPacket(version, 2, 1);
    const frame = frameOf(packet);
    const shapes: Uint8Array[] = [
      geneveDatagram(frame),
      geneveDatagram(packet, { carried: type }),
      geneveDatagram(frame, { options: skipped }),
      geneveDatagram(packet, { carried: type, options: skipped }),
      geneveDatagram(frame, { options: concat(skipped, geneveOption(0, bytes(0)), skipped) }),
      geneveDatagram(frame, { options: concat(geneveOption(2, bytes(124)), skipped) }),
      geneveDatagram(packet, { carried: type, options: geneveOption(2, bytes(124)) }),
    ];
    for (const datagram of shapes) {
      module.feedWire(datagram, from2());
      const { tun, wire } = module.run();
      assert.is(wire.length, 0);
      assert.equal(tun[0]?.packet, packet);
    }
    assert.is(module.counters().ingress.forwarded, shapes.length);
    assertExact(module);
  });
}

test("252 bytes of options are the most there can be, and are skipped", async () => {
  const module = await node1();
  const packet = podPacket(4, 2, 1);
  const options = concat(geneveOption(1, bytes(124)), geneveOption(2, bytes(120)));
  assert.is(options.length, 252);
  module.feedWire(geneveDatagram(frameOf(packet), { options }), from2());
  assert.equal(module.run().tun[0]?.packet, packet);
});

test("reserved bits, C without a critical option and the sender's port play no part", async () => {
  const module = await node1();
  const packet = podPacket(4, 2, 1);
  const datagram = geneveDatagram(frameOf(packet), { flags: 0x7f });
  datagram[7] = 0xee;
  module.feedWire(datagram, from2({ port: 6081 }));
  assert.equal(module.run().tun[0]?.packet, packet);
});

test("a node answers ARP behind options, and without any of its own", async () => {
  const module = await node1();
  const question = concat(
    Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...macOf(2), 10, 244, 2, 1, 0, 0, 0, 0, 0, 0),
    Uint8Array.of(10, 244, 1, 1),
  );
  const frame = frameOf(question, { to: new Uint8Array(6).fill(255), type: 0x0806 });
  module.feedWire(geneveDatagram(frame, { options: skipped }), from2());
  const [answer] = module.run().wire;
  const reply = concat(
    Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 2, ...macOf(1), 10, 244, 1, 1, ...macOf(2)),
    Uint8Array.of(10, 244, 2, 1),
  );
  const expected = frameOf(reply, { to: macOf(2), from: macOf(1), type: 0x0806 });
  assert.equal(answer?.bytes, geneveDatagram(expected));
  assertExact(module);
});

const good = podPacket(4, 2, 1);
const inFrame = frameOf(good);

const REFUSALS: Refusal[] = [
  { name: "of no byte", reason: "TOO_SHORT", datagram: new Uint8Array(0) },
  { name: "that ends in the header", reason: "TOO_SHORT", datagram: bytes(7).fill(0) },
  {
    name: "that ends in the options",
    reason: "TOO_SHORT",
    datagram: geneveDatagram(new Uint8Array(0), { options: skipped }).slice(0, 16),
  },
  {
    name: "that ends in the frame's header",
    reason: "TOO_SHORT",
    datagram: geneveDatagram(inFrame.slice(0, 13)),
  },
  {
    name: "that ends behind the frame's header",
    reason: "TOO_SHORT",
    datagram: geneveDatagram(inFrame.slice(0, 14)),
  },
  {
    name: "of bare IP without a byte",
    reason: "TOO_SHORT",
    datagram: geneveDatagram(new Uint8Array(0), { carried: IPV4 }),
  },
  {
    name: "of version 1",
    reason: "BAD_VERSION",
    datagram: geneveDatagram(inFrame, { version: 1 }),
  },
  {
    name: "for the endpoint itself",
    reason: "CONTROL_PACKET",
    datagram: geneveDatagram(inFrame, { flags: 0x80 }),
  },
  {
    name: "of another network",
    reason: "WRONG_VNI",
    datagram: geneveDatagram(inFrame, { vni: 43 }),
  },
  {
    name: "with a critical option",
    reason: "UNKNOWN_OPTION",
    datagram: geneveDatagram(inFrame, { options: critical, flags: 0x40 }),
  },
  {
    name: "with a critical option that the header does not announce",
    reason: "UNKNOWN_OPTION",
    datagram: geneveDatagram(inFrame, { options: concat(skipped, critical) }),
  },
  {
    name: "whose option is longer than all of them",
    reason: "BAD_OPTIONS",
    datagram: geneveDatagram(inFrame, { options: geneveOption(1, bytes(4), 2) }),
  },
  {
    name: "whose last option is longer than what is left",
    reason: "BAD_OPTIONS",
    datagram: geneveDatagram(inFrame, {
      options: concat(skipped, geneveOption(1, bytes(0), 31)),
    }),
  },
  {
    name: "of another ethertype",
    reason: "NOT_IP",
    datagram: geneveDatagram(inFrame, { carried: 0x8847 }),
  },
  {
    name: "with a frame of another ethertype",
    reason: "NOT_IP",
    datagram: geneveDatagram(frameOf(good, { type: 0x8100 })),
  },
  {
    name: "of bare IP of the other version",
    reason: "BAD_IP_VERSION",
    datagram: geneveDatagram(good, { carried: IPV6 }),
  },
  {
    name: "for another VTEP",
    reason: "WRONG_MAC",
    datagram: geneveDatagram(frameOf(good, { to: macOf(3) })),
  },
  {
    name: "of another peer's pod",
    reason: "SPOOFED_SOURCE",
    datagram: geneveDatagram(podPacket(4, 3, 1), { carried: IPV4 }),
  },
  {
    name: "on the port of another encapsulation",
    reason: "WRONG_PROTOCOL",
    datagram: vxlanDatagram(good),
    input: { socket: SOCKET_VXLAN },
  },
];

testRefusals("a Geneve datagram", node1, from2, REFUSALS);

test("each datagram of a train is looked at, however like the one before it is", async () => {
  const module = await node1();
  const segment = (i: number, options: Uint8Array) => {
    const tcp = { protocol: TCP, payload: bytes(400).fill(i), sequence: 1000 + 400 * i };
    return geneveDatagram(frameOf(podPacket(4, 2, 1, tcp)), { options });
  };
  const plain = geneveOption(1, bytes(8));
  const other = geneveOption(1, bytes(8).fill(1));
  const bad = geneveOption(0x81, bytes(8));
  const two = concat(geneveOption(1, bytes(0)), geneveOption(2, bytes(4)));
  const long = geneveOption(1, bytes(8), 3);
  const options = [plain, plain, other, bad, two, plain, long];
  const train = options.map((one, i) => segment(i, one));
  module.feedWire(concat(...train), from2({ segment: train[0]?.length ?? 0 }));
  const { tun } = module.run();
  const { ingress } = module.counters();
  assert.is(ingress.drops.UNKNOWN_OPTION?.packets, 1);
  assert.is(ingress.drops.BAD_OPTIONS?.packets, 1);
  assert.is(ingress.forwarded, 5);
  assert.is(ingress.received, options.length);
  const packets = tun.reduce((sum, one) => sum + one.segments, 0);
  assert.is(packets + droppedPackets(ingress), options.length);
  assertExact(module);
});

test("a train of bare IP, eight bytes apart, is joined as one with room is", async () => {
  const random = seededRandom("geneve");
  const module = await node1();
  for (let round = 0; round < 200; round++) {
    const flows = random.between(1, 3);
    const sequences = Array.from({ length: flows }, () => 5000);
    const packets = Array.from({ length: 20 }, () => {
      const flow = random.between(0, flows - 1);
      const sequence = sequences[flow] ?? 0;
      sequences[flow] = sequence + 300;
      return podPacket(4, 2, 1, {
        ...{ protocol: TCP, payload: random.bytes(300), sequence, sourcePort: 1000 + flow },
        flags: random.once(6) ? ACK | PSH : ACK,
      });
    });
    const train = packets.map((packet) => geneveDatagram(packet, { carried: IPV4 }));
    const framed = packets.map((packet) => geneveDatagram(frameOf(packet)));
    module.feedWire(concat(...train), from2({ segment: train[0]?.length ?? 0 }));
    const bare = module.run().tun;
    module.feedWire(concat(...framed), from2({ segment: framed[0]?.length ?? 0 }));
    const spaced = module.run().tun;
    const payloads = (list: typeof bare) => list.map((one) => Buffer.from(one.packet.slice(40)));
    const joined = (list: typeof bare) => Buffer.concat(payloads(list)).toString("hex");
    assert.is(joined(bare).length, joined(spaced).length);
    for (let flow = 0; flow < flows; flow++) {
      const own = (list: typeof bare) =>
        joined(list.filter((one) => one.packet[21] === ((1000 + flow) & 255)));
      assert.is(own(bare), own(spaced), `round ${round} flow ${flow}`);
    }
  }
  assertExact(module);
});

test.run();
