// Packets for the node itself that the hot path takes out: probes (shared/layout.ts), ARP requests
// (RFC 826) and neighbour solicitations (RFC 4861) for the VTEP address.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  ARENA_SIZE,
  D_LENGTH,
  PROBE_ICMP_ID,
  PROBE_PORT,
  SOCKET_GENEVE,
  SOCKET_VXLAN,
  W_WIRE_ARENA_USED,
} from "../../assembly/shared/layout.js";
import type { ProtocolName, TablePeer } from "../../src/datapath/types.js";
import { fault } from "../support/judge.js";
import {
  geneveDatagram,
  MTU,
  macOf,
  peerOf,
  pod,
  pod4,
  pod6,
  podPacket,
  vxlanDatagram,
} from "../support/nodes.js";
import {
  be16,
  buildPacket,
  concat,
  pseudoHeader,
  setBe16,
  setBe32,
  slowChecksum,
  slowSum,
  TCP,
  UDP,
} from "../support/packets.js";
import { assertExact, fromTwo, nodeOne } from "../support/scene.js";

const ICMP = 1;
const ICMPV6 = 58;

const node1 = () => nodeOne([2, 3]);

for (const version of [4, 6] as const) {
  test(`a probe request over IPv${version} is answered at once`, async () => {
    const module = await node1();
    for (const size of [20, 21, 64, 1001, 1400]) {
      module.feedWire(vxlanDatagram(probePacket(version, 2, 1, 0, size)), fromTwo());
    }
    const { wire, tun } = module.run();
    assert.is(tun.length, 0);
    // As small as can be, and with our own MTU towards the asker.
    const reply = vxlanDatagram(probePacket(version, 1, 2, 1, 20, MTU), {
      to: macOf(2),
      from: macOf(1),
    });
    const answers = wire.map(({ bytes }) => bytes);
    assert.equal(answers, new Array(5).fill(reply));
    const { ingress } = module.counters();
    assert.equal([ingress.consumed, ingress.generated, ingress.forwarded], [5, 5, 5]);
    assertExact(module);
  });

  test(`a damaged probe request over IPv${version} is not made good by its reply`, async () => {
    const module = await node1();
    for (const at of [3, 14, 25, 59]) {
      const request = probePacket(version, 2, 1, 0);
      const payload = (version === 4 ? 20 : 40) + 8;
      request[payload + 4 + at] = (request[payload + 4 + at] ?? 0) ^ 0x55;
      module.feedWire(vxlanDatagram(request), fromTwo());
      const answer = module.run().wire[0]?.bytes.slice(22) ?? new Uint8Array(0);
      assert.is(answer.length, payload + 20);
      assert.ok(fault(answer) !== undefined, `byte ${at}`);
    }
  });

  test(`probe and echo replies to us over IPv${version} go to the control thread`, async () => {
    const module = await node1();
    const reply = probePacket(version, 2, 1, 1);
    const echo = echoReply(version, PROBE_ICMP_ID);
    const other = echoReply(version, PROBE_ICMP_ID - 1);
    for (const packet of [reply, echo, other]) module.feedWire(vxlanDatagram(packet), fromTwo());
    const { tun } = module.run();
    assert.equal(
      tun.map((out) => out.packet),
      [other],
    );
    const punts = module.punts();
    assert.equal(
      punts.map((punt) => punt.packet),
      [reply, echo],
    );
    assert.ok(punts.every((punt) => punt.peer === 0 && punt.kind === 1));
    assert.is(module.counters().ingress.consumed, 2);
    assertExact(module);
  });
}

/** A probe from node to node, padded to `size` bytes of payload. */
function probePacket(version: 4 | 6, from: number, to: number, kind: number, size = 64, mtu = 0) {
  const payload = new Uint8Array(size);
  payload.set([0x6d, 0x70, 0x72, 0x62, kind]);
  setBe16(payload, 6, mtu);
  setBe32(payload, 8, 77);
  return podPacket(version, from, to, {
    source: pod(version, from, 1),
    destination: pod(version, to, 1),
    sourcePort: PROBE_PORT,
    destinationPort: PROBE_PORT,
    payload,
  });
}

function echoReply(version: 4 | 6, identifier: number): Uint8Array {
  const body = Uint8Array.of(version === 4 ? 0 : 129, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4);
  setBe16(body, 4, identifier);
  return podPacket(version, 2, 1, {
    protocol: version === 4 ? ICMP : ICMPV6,
    destination: pod(version, 1, 1),
    payload: body,
  });
}

test("only ICMP counts as an echo reply, whatever another protocol's bytes look like", async () => {
  const module = await node1();
  const lookalikes = ([4, 6] as const).flatMap((version) =>
    [TCP, UDP, version === 4 ? ICMPV6 : ICMP].map((protocol) =>
      podPacket(version, 2, 1, {
        ...{ protocol, destination: pod(version, 1, 1), payload: new Uint8Array(20) },
        ...{ sourcePort: (version === 4 ? 0 : 129) << 8, sequence: PROBE_ICMP_ID << 16 },
      }),
    ),
  );
  for (const packet of lookalikes) {
    const offset = (packet[0] ?? 0) >> 4 === 4 ? 20 : 40;
    packet[offset] = offset === 20 ? 0 : 129;
    setBe16(packet, offset + 4, PROBE_ICMP_ID);
    module.feedWire(vxlanDatagram(packet), fromTwo());
  }
  assert.is(module.run().tun.length, lookalikes.length);
  assert.is(module.punts().length, 0);
});

test("a full ring to the control thread drops probes and counts them", async () => {
  const module = await node1();
  for (let batch = 0; batch < 2; batch++) {
    for (let i = 0; i < 40; i++) module.feedWire(vxlanDatagram(probePacket(4, 2, 1, 1)), fromTwo());
    module.run();
  }
  const { ingress } = module.counters();
  assert.equal([ingress.consumed, ingress.drops.RING_FULL?.packets], [64, 16]);
  assert.is(module.punts().length, 64);
  assertExact(module);
});

test("a probe without checksum is answered without one", async () => {
  const module = await node1();
  const request = probePacket(4, 2, 1, 0);
  request.fill(0, 26, 28);
  module.feedWire(vxlanDatagram(request), fromTwo());
  const reply = module.run().wire[0]?.bytes ?? new Uint8Array(0);
  assert.is(be16(reply, 22 + 26), 0);
});

/** An ARP request inside VXLAN, as a kernel's device broadcasts it (RFC 826). */
function arpRequest(target: Uint8Array): Uint8Array {
  const kind = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1);
  const arp = concat(kind, macOf(2), pod4(2, 1), new Uint8Array(6), target);
  return vxlanDatagram(arp, { to: new Uint8Array(6).fill(255), type: 0x0806 });
}

test("an ARP request for our VTEP address is answered through the tunnel", async () => {
  const module = await node1();
  module.feedWire(arpRequest(pod4(1, 1)), fromTwo());
  module.feedWire(arpRequest(pod4(1, 2)), fromTwo());
  const { wire } = module.run();
  assert.is(wire.length, 1);
  const kind = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 2);
  const arp = concat(kind, macOf(1), pod4(1, 1), macOf(2), pod4(2, 1));
  assert.equal(wire[0]?.bytes, vxlanDatagram(arp, { to: macOf(2), from: macOf(1), type: 0x0806 }));
  const { ingress } = module.counters();
  assert.equal([ingress.consumed, ingress.generated, ingress.forwarded], [1, 1, 1]);
  assert.is(ingress.drops.BROADCAST?.packets, 1);
  assertExact(module);
});

test("a question that is cut short is not answered, whatever stands behind it", async () => {
  const module = await node1();
  const asker = Uint8Array.of(0xfe, 0x80, ...new Array(13).fill(0), 2);
  for (const [question, size] of [
    [arpRequest(pod4(1, 1)), 50],
    [solicitation(asker, pod6(1, 1)), 86],
  ] as const) {
    for (let length = 8; length < size; length++) {
      const descriptor = module.feedWire(question, fromTwo());
      module.view.setUint32(descriptor + D_LENGTH, length, true);
      assert.is(module.run().wire.length, 0, `${length} of ${question.length} bytes`);
    }
  }
});

/** A neighbour solicitation inside VXLAN to the solicited-node group (RFC 4861 section 4.3). */
function solicitation(source: Uint8Array, target: Uint8Array, ttl = 255): Uint8Array {
  const body = concat(
    Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0),
    target,
    Uint8Array.of(1, 1),
    macOf(2),
  );
  const group = Uint8Array.of(255, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 255, ...target.slice(13));
  const options = { version: 6 as const, protocol: ICMPV6, ttl, source, destination: group };
  const packet = buildPacket({ ...options, payload: body });
  setBe16(body, 2, slowChecksum(concat(pseudoHeader(packet, ICMPV6, body.length), body)));
  const inner = buildPacket({ ...options, payload: body });
  return vxlanDatagram(inner, { to: Uint8Array.of(0x33, 0x33, 255, ...target.slice(13)) });
}

test("a neighbour solicitation for our VTEP address is answered through the tunnel", async () => {
  const module = await node1();
  const asker = Uint8Array.of(0xfe, 0x80, ...new Array(13).fill(0), 2);
  module.feedWire(solicitation(asker, pod6(1, 1)), fromTwo());
  const { wire } = module.run();
  const frame = wire[0]?.bytes.slice(8) ?? new Uint8Array(0);
  assert.equal(frame.slice(0, 12), concat(macOf(2), macOf(1)));
  const packet = frame.slice(14);
  assert.equal(packet.slice(8, 40), concat(pod6(1, 1), asker));
  assert.is(packet[7], 255);
  assert.equal(packet.slice(40, 42), Uint8Array.of(136, 0));
  assert.equal(packet.slice(44, 48), Uint8Array.of(0xe0, 0, 0, 0));
  assert.equal(packet.slice(48), concat(pod6(1, 1), Uint8Array.of(2, 1), macOf(1)));
  assert.is(slowSum(concat(pseudoHeader(packet, ICMPV6, 32), packet.slice(40))), 0xffff);
  assertExact(module);
});

test("a solicitation without a source is answered to all nodes", async () => {
  const module = await node1();
  module.feedWire(solicitation(new Uint8Array(16), pod6(1, 1)), fromTwo());
  const frame = module.run().wire[0]?.bytes.slice(8) ?? new Uint8Array(0);
  assert.equal(frame.slice(0, 6), Uint8Array.of(0x33, 0x33, 0, 0, 0, 1));
  assert.equal(frame.slice(14 + 24, 14 + 40), Uint8Array.of(255, 2, ...new Array(13).fill(0), 1));
  assert.equal(frame.slice(14 + 44, 14 + 48), Uint8Array.of(0xa0, 0, 0, 0));
});

test("probes and questions of one train never take more of the arena than there is", async () => {
  const module = await node1();
  const asker = Uint8Array.of(0xfe, 0x80, ...new Array(13).fill(0), 2);
  const probe = vxlanDatagram(probePacket(4, 2, 1, 0, 1350));
  const question = new Uint8Array(1400);
  question.set(solicitation(asker, pod6(1, 1)));
  const train = concat(...[...Array(46).keys()].map((i) => (i < 20 ? probe : question)));
  for (let room = 1024; room < 300_000; room += 1024) {
    module.feedWire(train, fromTwo({ segment: 1400 }));
    module.setWord(W_WIRE_ARENA_USED, ARENA_SIZE - room);
    module.hot.run(0);
    const used = module.word(W_WIRE_ARENA_USED);
    assert.ok(
      used <= ARENA_SIZE,
      `with ${room} bytes free ${used - ARENA_SIZE} too many are taken`,
    );
    module.hot.settle();
    module.run();
  }
  assertExact(module);
});

test("solicitations that are forwarded, damaged or for others are drops", async () => {
  const module = await node1();
  const asker = Uint8Array.of(0xfe, 0x80, ...new Array(13).fill(0), 2);
  const damaged = solicitation(asker, pod6(1, 1));
  damaged[damaged.length - 1] = 99;
  module.feedWire(solicitation(asker, pod6(1, 1), 64), fromTwo());
  module.feedWire(damaged, fromTwo());
  module.feedWire(solicitation(asker, pod6(1, 2)), fromTwo());
  assert.is(module.run().wire.length, 0);
  const { drops } = module.counters().ingress;
  assert.equal([drops.BAD_NEIGHBOUR?.packets, drops.MULTICAST?.packets], [2, 1]);
  assertExact(module);
});

/** Node 2 while it changes over to us: it sends VXLAN and Geneve still, and is sent `protocol`. */
function changingPeer(protocol: ProtocolName): TablePeer {
  const receives = ["vxlan", "geneve", protocol] as const;
  if (protocol === "vxlan" || protocol === "geneve") return peerOf(2, { protocol, receives });
  const bare = peerOf(2, { protocol, receives });
  const gre = { key: null, checksum: false, sequence: false };
  return protocol === "gre" ? { ...bare, gre } : bare;
}

for (const protocol of ["vxlan", "geneve", "udp", "ipip", "gre"] as const) {
  test(`a peer that is sent ${protocol} has questions by that answered and no others`, async () => {
    const asker = Uint8Array.of(0xfe, 0x80, ...new Array(13).fill(0), 2);
    const questions = [arpRequest(pod4(1, 1)), solicitation(asker, pod6(1, 1))];
    for (const kind of ["vxlan", "geneve"] as const) {
      const module = await nodeOne([changingPeer(protocol)]);
      for (const question of questions) {
        if (kind === "vxlan") module.feedWire(question, fromTwo({ socket: SOCKET_VXLAN }));
        else module.feedWire(geneveDatagram(question.slice(8)), fromTwo({ socket: SOCKET_GENEVE }));
      }
      const { wire, tun } = module.run();
      assert.equal([wire.length, tun.length], [kind === protocol ? 2 : 0, 0]);
      const drops = Object.keys(module.counters().ingress.drops).sort();
      assert.equal(drops, kind === protocol ? [] : ["BROADCAST", "MULTICAST"]);
      assertExact(module);
    }
  });
}

test.run();
