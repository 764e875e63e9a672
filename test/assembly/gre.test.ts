// GRE on both ways: headers with and without their optional words, the rules for each of them, and
// every refusal by its reason. Known answers are in tunnels.test.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SOCKET_GRE, SOCKET_VXLAN, W_WIRE_ARENA } from "../../assembly/shared/layout.js";
import type { GreOptions, TablePeer } from "../../src/datapath/types.js";
import { loadModule, type WireInput } from "../support/module.js";
import {
  contentsOf,
  frameOf,
  type GreChanges,
  grePacket,
  macOf,
  outerIpv4,
  peerOf,
  podPacket,
  underlayOf,
  vxlanDatagram,
} from "../support/nodes.js";
import { ACK, concat, TCP, unfinished } from "../support/packets.js";
import { seededRandom } from "../support/random.js";
import { assertExact, fromTwo, nodeOne, type Refusal, testRefusals } from "../support/scene.js";

const OUTER = outerIpv4(47);
const FRAME = 0x6558;
const KEY = 0xfedcba98;
const FRAMED: GreChanges = { checksum: true, carried: FRAME };
const bytes = (count: number) => new Uint8Array(count).fill(0x3c);

function grePeer(node: number, gre: Partial<GreOptions> = {}, isFramed = false): TablePeer {
  const { vni: _vni, ...rest } = peerOf(node, { protocol: "gre", port: 0 });
  const words = { key: null, checksum: false, sequence: false, ...gre };
  return { ...rest, gre: { ...words, frames: isFramed } };
}

const node1 = (gre?: Partial<GreOptions>, isFramed = false) =>
  nodeOne([grePeer(2, gre, isFramed), grePeer(3, gre, isFramed)]);

const from2 = (changes: Partial<WireInput> = {}) =>
  fromTwo({ socket: SOCKET_GRE, before: OUTER, ...changes });

/** All eight headers there are, as settings and as what stands in the packet. */
const HEADERS: { gre: GreOptions; words: GreChanges }[] = [null, KEY].flatMap((key) =>
  [false, true].flatMap((checksum) =>
    [false, true].map((sequence) => ({
      gre: { key, checksum, sequence },
      words: {
        ...(key === null ? {} : { key }),
        ...(sequence ? { sequence: 0 } : {}),
        checksum,
      },
    })),
  ),
);

const named = ({ key, checksum, sequence }: GreOptions): string =>
  [key !== null && "key", checksum && "checksum", sequence && "number"].filter(Boolean).join(", ");

for (const { gre, words } of HEADERS) {
  const header = named(gre) || "no word";

  for (const version of [4, 6] as const) {
    test(`IPv${version} leaves bare and in a frame, and is taken so: ${header}`, async () => {
      const out = podPacket(version, 1, 2);
      const back = podPacket(version, 2, 1);
      const bare = await node1(gre);
      bare.feedTun(out);
      const [sent] = bare.run().wire;
      assert.equal(sent?.bytes, grePacket(out, words));
      assert.is(sent?.innerBytes, out.length);
      const framed = await node1(gre, true);
      framed.feedTun(out);
      const frame = frameOf(out, { to: macOf(2), from: macOf(1) });
      assert.equal(framed.run().wire[0]?.bytes, grePacket(frame, { ...words, carried: FRAME }));
      for (const module of [bare, framed]) {
        const inFrame = { ...words, ...(gre.sequence ? { sequence: 1 } : {}), carried: FRAME };
        module.feedWire(grePacket(back, words), from2());
        module.feedWire(grePacket(frameOf(back), inFrame), from2());
        assert.equal(
          module.run().tun.map((one) => one.packet),
          [back, back],
        );
        assertExact(module);
      }
    });

    test(`an IPv${version} super-packet leaves as segments: ${header}`, async () => {
      const module = await node1(gre);
      // What stands behind the last segment, which is short, is in no checksum.
      const arena = module.base + W_WIRE_ARENA;
      module.views.bytes.fill(0x5a, arena, arena + 16_384);
      const payload = seededRandom("gre").bytes(5 * 1000 + 77);
      const packet = podPacket(version, 1, 2, { protocol: TCP, payload, flags: ACK });
      const size = version === 4 ? 40 : 60;
      module.feedTun(packet, {
        ...{ flags: 1, gsoType: version === 4 ? 1 : 4, headerLength: size, gsoSize: 1000 },
        ...{ checksumStart: size - 20, checksumOffset: 16 },
      });
      const sent = module.run().wire.flatMap(({ datagrams }) => datagrams);
      assert.is(sent.length, 6);
      const two = await loadModule();
      two.publish(contentsOf(2, [grePeer(1, gre)]));
      sent.forEach((one, i) => {
        const inner = one.slice(one.length - (i === 5 ? 77 : 1000) - size);
        const number = gre.sequence ? { sequence: i } : {};
        assert.equal(one, grePacket(inner, { ...words, ...number }));
        two.feedWire(one, from2({ from: underlayOf(1) }));
      });
      const [got, ...more] = two.run().tun;
      assert.is(more.length, 0);
      assert.is(got?.segments, 6);
      assert.equal(got?.packet.slice(size), payload);
      assertExact(two);
    });
  }

  test(`a node answers ARP by GRE: ${header}`, async () => {
    const question = concat(
      Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...macOf(2), 10, 244, 2, 1, 0, 0, 0, 0, 0, 0),
      Uint8Array.of(10, 244, 1, 1),
    );
    const asked = frameOf(question, { to: new Uint8Array(6).fill(255), type: 0x0806 });
    const reply = concat(
      Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 2, ...macOf(1), 10, 244, 1, 1, ...macOf(2)),
      Uint8Array.of(10, 244, 2, 1),
    );
    const answer = frameOf(reply, { to: macOf(2), from: macOf(1), type: 0x0806 });
    for (const isFramed of [false, true]) {
      const module = await node1(gre, isFramed);
      module.feedWire(grePacket(asked, { ...words, carried: FRAME }), from2());
      const [sent] = module.run().wire;
      assert.equal(sent?.bytes, grePacket(answer, { ...words, carried: FRAME }));
      assertExact(module);
    }
  });
}

test("a checksum is checked and a number is passed over where none was agreed", async () => {
  const module = await node1();
  const packet = podPacket(4, 2, 1);
  const shapes: GreChanges[] = [
    { checksum: true },
    ...[{ sequence: 7 }, { sequence: 7 }, { sequence: 6 }],
    { checksum: true, sequence: 0xffffffff },
  ];
  for (const shape of shapes) {
    module.feedWire(grePacket(packet, shape), from2());
    assert.equal(module.run().tun[0]?.packet, packet);
  }
  assertExact(module);
});

for (const version of [4, 6] as const) {
  test(`IPv${version}: where the kernel joined TCP the checksum is the first one's`, async () => {
    const module = await node1({ checksum: true });
    const options = { protocol: TCP, payload: seededRandom("joined").bytes(9000), flags: ACK };
    const joined = unfinished(podPacket(version, 2, 1, options), { version, protocol: TCP });
    const frame = frameOf(joined);
    const stale = [grePacket(joined, { checksum: true }), grePacket(frame, FRAMED)];
    for (const one of stale) {
      one[4] = (one[4] ?? 0) ^ 0x55;
      module.feedWire(one, from2());
      const [got, ...more] = module.run().tun;
      assert.is(more.length, 0);
      assert.equal(got?.packet, joined);
      assert.is(got?.vnet.gsoType, version === 4 ? 1 : 4);
    }
    const damaged = [
      grePacket(podPacket(version, 2, 1, options), { checksum: true }),
      grePacket(podPacket(version, 2, 1), { checksum: true }),
      grePacket(joined.slice(0, version === 4 ? 39 : 59), { checksum: true }),
      grePacket(new Uint8Array(0), { checksum: true }),
    ];
    for (const one of damaged) {
      one[4] = (one[4] ?? 0) ^ 0x55;
      module.feedWire(one, from2());
    }
    assert.is(module.run().tun.length, 0);
    assert.is(module.counters().ingress.drops.BAD_CHECKSUM?.packets, damaged.length);
    assertExact(module);
  });
}

test("reserved bits 6 to 12 play no part (RFC 2784 section 2.3)", async () => {
  const module = await node1();
  const packet = podPacket(6, 2, 1);
  for (let bit = 3; bit <= 9; bit++) {
    module.feedWire(grePacket(packet, { flags: 1 << bit }), from2());
    assert.equal(module.run().tun[0]?.packet, packet, `bit ${15 - bit}`);
  }
});

const good = podPacket(4, 2, 1);
const inFrame = frameOf(good);
const spoiled = grePacket(good, { key: KEY, checksum: true });
spoiled[40] = (spoiled[40] ?? 0) ^ 4;

const REFUSALS: Refusal[] = [
  { name: "of no byte", reason: "TOO_SHORT", datagram: bytes(0) },
  { name: "that ends in the header", reason: "TOO_SHORT", datagram: bytes(3).fill(0) },
  {
    name: "that ends in the optional words",
    reason: "TOO_SHORT",
    datagram: grePacket(bytes(0), { key: KEY, checksum: true, sequence: 1 }).slice(0, 15),
  },
  {
    name: "without payload",
    reason: "TOO_SHORT",
    datagram: grePacket(bytes(0), { key: KEY, carried: 0x0800 }),
  },
  {
    name: "that ends in the frame's header",
    reason: "TOO_SHORT",
    datagram: grePacket(inFrame.slice(0, 13), { key: KEY, carried: FRAME }),
  },
  {
    name: "of version 1, which is PPTP's, of no call",
    reason: "UNKNOWN_CALL",
    datagram: grePacket(good, { key: 0x1234, flags: 0x81, carried: 0x880b }),
  },
  {
    name: "of version 7",
    reason: "BAD_VERSION",
    datagram: grePacket(good, { key: KEY, flags: 7 }),
  },
  ...[0x4000, 0x0800, 0x0400].map((flags) => ({
    name: `with the reserved bit ${flags.toString(16)}`,
    ...{ reason: "BAD_FLAGS", datagram: grePacket(good, { key: KEY, flags }) },
  })),
  { name: "without a key", reason: "WRONG_KEY", datagram: grePacket(good) },
  {
    name: "with another key",
    reason: "WRONG_KEY",
    datagram: grePacket(good, { key: KEY - 1, checksum: true }),
  },
  { name: "that was damaged", reason: "BAD_CHECKSUM", datagram: spoiled },
  {
    name: "of another ethertype",
    reason: "NOT_IP",
    datagram: grePacket(good, { key: KEY, carried: 0x8847 }),
  },
  {
    name: "of bare ARP",
    reason: "NOT_IP",
    datagram: grePacket(good, { key: KEY, carried: 0x0806 }),
  },
  {
    name: "of IP of the other version",
    reason: "BAD_IP_VERSION",
    datagram: grePacket(good, { key: KEY, carried: 0x86dd }),
  },
  {
    name: "with a frame for another MAC address",
    reason: "WRONG_MAC",
    datagram: grePacket(frameOf(good, { to: macOf(3) }), { key: KEY, carried: FRAME }),
  },
  {
    name: "of another peer's pod",
    reason: "SPOOFED_SOURCE",
    datagram: grePacket(podPacket(4, 3, 1), { key: KEY }),
  },
  {
    name: "for another node",
    reason: "NOT_LOCAL",
    datagram: grePacket(podPacket(6, 2, 3), { key: KEY }),
  },
  {
    name: "of nobody we know",
    reason: "UNKNOWN_PEER",
    datagram: grePacket(good, { key: KEY }),
    input: { from: underlayOf(9) },
  },
  {
    name: "by the socket of another encapsulation",
    reason: "WRONG_PROTOCOL",
    datagram: vxlanDatagram(good),
    input: { socket: SOCKET_VXLAN, before: bytes(0) },
  },
];

testRefusals("a GRE packet", () => node1({ key: KEY }), from2, REFUSALS);

test("over IPv6 no outer header comes with a packet, over IPv4 one does", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [{ ...grePeer(2), address: "2001:db8::2" }, grePeer(3)]));
  const packet = podPacket(6, 2, 1);
  module.feedWire(grePacket(packet), { from: "2001:db8::2", socket: SOCKET_GRE });
  assert.equal(module.run().tun[0]?.packet, packet);
  const before = outerIpv4(47, bytes(40).fill(1));
  module.feedWire(grePacket(podPacket(6, 3, 1)), from2({ from: underlayOf(3), before }));
  assert.equal(module.run().tun[0]?.packet, podPacket(6, 3, 1));
  assertExact(module);
});

test("a key where none was agreed is refused, whatever it is", async () => {
  const module = await node1();
  for (const key of [0, KEY]) module.feedWire(grePacket(good, { key }), from2());
  assert.is(module.run().tun.length, 0);
  assert.is(module.counters().ingress.drops.WRONG_KEY?.packets, 2);
});

test("packets of one flow are each looked at, however like the one before they are", async () => {
  const random = seededRandom("gre-run");
  const module = await node1({ key: KEY });
  const sum = { count: 0, damaged: 0, keyless: 0 };
  let sequence = 5000;
  for (let i = 0; i < 64; i++) {
    const inner = podPacket(4, 2, 1, { protocol: TCP, payload: random.bytes(400), sequence });
    sequence += 400;
    const packet = grePacket(inner, {
      key: KEY,
      checksum: i % 8 === 7 ? i % 16 === 7 : random.once(2),
    });
    // Every eighth surely, of both kinds: neither may be missing by chance.
    if (i % 8 === 7 || random.once(6)) {
      // Behind the inner packet's own headers: only GRE's checksum can tell in time.
      const isChecked = ((packet[0] ?? 0) & 0x80) !== 0;
      if (!isChecked) packet[7] = (packet[7] ?? 0) ^ 1;
      else packet[packet.length - 1] = (packet[packet.length - 1] ?? 0) ^ 1;
      sum[isChecked ? "damaged" : "keyless"] += 1;
    } else {
      sum.count += 1;
    }
    module.feedWire(packet, from2());
  }
  const { tun } = module.run();
  const { drops } = module.counters().ingress;
  assert.is(
    tun.reduce((total, one) => total + one.segments, 0),
    sum.count,
  );
  assert.ok(sum.damaged > 0 && sum.keyless > 0);
  assert.is(drops.BAD_CHECKSUM?.packets, sum.damaged);
  assert.is(drops.WRONG_KEY?.packets, sum.keyless);
  assertExact(module);
});

test("a number that comes twice is dropped also where its packet would follow", async () => {
  const module = await node1({ sequence: true });
  const part = (i: number) =>
    podPacket(4, 2, 1, {
      ...{ protocol: TCP, payload: bytes(400), sequence: 400 * i, identification: 7 + i },
    });
  // Numbered, without a number, and then with the number of before: equal headers, the next bytes.
  for (const [i, sequence] of [5, 6, undefined, 6, undefined, 6, 7].entries()) {
    module.feedWire(grePacket(part(i), sequence === undefined ? {} : { sequence }), from2());
  }
  const { tun } = module.run();
  assert.is(
    tun.reduce((sum, { segments }) => sum + segments, 0),
    5,
  );
  assert.is(module.counters().ingress.drops.OLD_SEQUENCE?.packets, 2);
  assertExact(module);
});

for (const key of [null, KEY]) {
  test(`a bulk flow grows into super-packets, ${key === null ? "bare" : "keyed"}`, async () => {
    const module = await node1({ key });
    const payload = seededRandom("gre-bulk").bytes(40 * 1000);
    for (let i = 0; i < 40; i++) {
      const part = payload.slice(i * 1000, (i + 1) * 1000);
      const inner = podPacket(4, 2, 1, {
        ...{ protocol: TCP, payload: part, sequence: 1000 * i, identification: 7 + i },
      });
      module.feedWire(grePacket(inner, key === null ? {} : { key }), from2());
    }
    const { tun } = module.run();
    assert.ok(tun.length <= 2, `${tun.length} super-packets`);
    assert.equal(concat(...tun.map((one) => one.packet.slice(40))), payload);
    assertExact(module);
  });
}

test.run();
