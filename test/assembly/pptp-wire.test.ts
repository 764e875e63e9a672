// Packets of a PPTP call, byte by byte: wire-formats of RFC 2637 section 4.1 and RFC 1661 section 2
// in both directions, and which of them are taken.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SOCKET_GRE, W_PEER_HEARD } from "../../assembly/shared/layout.js";
import { droppedPackets, packetsInFlight } from "../../src/datapath/counters.js";
import { readDropRecords } from "../../src/datapath/drop-records.js";
import { loadModule } from "../support/module.js";
import { contentsOf, podPacket } from "../support/nodes.js";
import { concat } from "../support/packets.js";
import {
  CallRoom,
  callPeer,
  enhanced,
  fromNode,
  ipFrame,
  PEER_ID,
  parsed,
  pppFrame,
} from "../support/pptp.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const ECHO = bytes("09 07 00 08 00 00 00 00");

/** Node 1 with a call to node 2 in phase "network", in the tables. */
async function callOf2(changes: Parameters<typeof callPeer>[2] = {}) {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const call = room.open(2);
  room.set(call.slot, { phase: "network", requireMppe: false });
  room.module.publish(contentsOf(1, [callPeer(2, call.slot, changes), 3]));
  return { room, ...call };
}

function assertIdentity(room: CallRoom): void {
  const { egress, ingress } = room.module.counters();
  assert.is(packetsInFlight(egress), 0);
  assert.is(packetsInFlight(ingress), 0);
}

/** Drops of the underlay's side by reason. */
function drops(room: CallRoom): Record<string, number> {
  const { ingress } = room.module.counters();
  return Object.fromEntries(
    Object.entries(ingress.drops).map(([name, { packets }]) => [name, packets]),
  );
}

test("a frame, a packet and a lone acknowledgment, byte by byte", async () => {
  const { room, slot, localId } = await callOf2();
  assert.ok(room.calls.send(slot, concat(bytes("c0 21"), ECHO)));
  const [frame] = room.run().wire;
  const asDrawn = "3001880b000c123400000000ff03c0210907000800000000";
  assert.is(hex(frame?.bytes ?? new Uint8Array(0)), asDrawn);
  assert.is(frame?.family, 4);
  assert.equal([...(frame?.peer ?? [])].slice(0, 4), [192, 0, 2, 2]);
  room.feed(localId, 2, { sequence: 9, payload: pppFrame(0xc021, ECHO) });
  const inner = podPacket(4, 1, 2);
  room.module.feedTun(inner);
  const [data] = room.run().wire;
  const length = (inner.length + 4).toString(16).padStart(4, "0");
  const head = `3081880b${length}12340000000100000009ff030021`;
  assert.is(hex(data?.bytes ?? new Uint8Array(0)), head + hex(inner));
  assert.is(data?.innerBytes, inner.length);
  room.feed(localId, 2, { sequence: 10, payload: pppFrame(0xc021, ECHO) });
  room.module.now_us += 20_000;
  const [ack] = room.run().wire;
  assert.is(hex(ack?.bytes ?? new Uint8Array(0)), "2081880b000012340000000a");
  assertIdentity(room);
});

test("what a call brings is its peer's sign of life, what is only the link's is not", async () => {
  const { room, localId } = await callOf2();
  const { views, base } = room.module;
  const heard = () => views.words[(base + W_PEER_HEARD) >>> 2];
  room.feed(localId, 2, { sequence: 9, payload: pppFrame(0xc021, ECHO) });
  assert.is(heard(), 0);
  const payload = pppFrame(0x21, podPacket(4, 2, 1));
  assert.is(room.feed(localId, 2, { sequence: 10, payload })[0]?.tun.length, 1);
  assert.is(heard(), 1);
});

test("what PPP allows to be left out is left out, and taken when it is", async () => {
  for (const version of [4, 6] as const) {
    for (const acfc of [false, true]) {
      for (const pfc of [false, true]) {
        const pptp = { slot: 0, encrypted: false, acfc, pfc };
        const { room, localId } = await callOf2({ pptp });
        const came = podPacket(version, 2, 1);
        const [out] = room.feed(localId, 2, { sequence: 1, payload: ipFrame(came, { acfc, pfc }) });
        assert.equal(out?.tun[0]?.packet, came);
        const sent = podPacket(version, 1, 2);
        room.module.feedTun(sent);
        const [packet] = parsed(room.run().wire);
        assert.equal(packet?.payload, ipFrame(sent, { acfc, pfc }));
        assert.is(packet?.ack, 1);
        assertIdentity(room);
      }
    }
  }
});

test("frames that are not IP come to the control thread, from a two-byte number on", async () => {
  const { room, slot, localId } = await callOf2();
  const ipcp = bytes("01 01 00 04");
  const odd = bytes("01 02 03");
  room.feed(
    localId,
    2,
    { sequence: 0, payload: pppFrame(0x8021, ipcp) },
    { sequence: 1, payload: pppFrame(0xc021, ECHO, { acfc: true }) },
    { sequence: 2, payload: pppFrame(0x2d, odd, { acfc: true, pfc: true }) },
    { sequence: 3, payload: pppFrame(0x2f, odd) },
  );
  assert.equal(
    room.frames.map((one) => [one.slot, hex(one.frame)]),
    [
      [slot, `8021${hex(ipcp)}`],
      [slot, `c021${hex(ECHO)}`],
      [slot, `002d${hex(odd)}`],
      [slot, `002f${hex(odd)}`],
    ],
  );
  assert.is(room.module.counters().ingress.consumed, 4);
  assertIdentity(room);
});

test("before authentication only LCP, PAP and CHAP pass", async () => {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const { slot, localId } = room.open(2);
  room.module.publish(contentsOf(1, [callPeer(2, slot)]));
  const protocols = [0xc021, 0xc023, 0xc223, 0xc025, 0x8021, 0x80fd, 0x21, 0x57, 0xfd];
  protocols.forEach((protocol, sequence) => {
    room.feed(localId, 2, { sequence, payload: pppFrame(protocol, podPacket(4, 2, 1)) });
  });
  const numbers = room.frames.map(({ frame }) => hex(frame.subarray(0, 2)));
  assert.equal(numbers, ["c021", "c023", "c223"]);
  assert.equal(drops(room), { NOT_AUTHENTICATED: 6 });
  room.module.feedTun(podPacket(4, 1, 2));
  assert.is(parsed(room.run().wire).filter(({ payload }) => payload.length > 0).length, 0);
  assert.is(room.module.counters().egress.drops.NO_CALL?.packets, 1);
  assertIdentity(room);
});

test("every hostile packet is a counted drop, by its reason", async () => {
  const { room, localId } = await callOf2();
  const inner = podPacket(4, 2, 1);
  const payload = ipFrame(inner);
  const cases: [string, Uint8Array, number?][] = [
    ["TOO_SHORT", bytes("3001880b0000")],
    ["TOO_SHORT", enhanced(localId, { sequence: 0, payload }).subarray(0, 11)],
    ["BAD_FLAGS", enhanced(localId, { payload: new Uint8Array(0) })],
    ...[0xb001, 0x7001, 0x1001, 0x3801, 0x3101, 0x3041, 0x3009].map((first) => {
      const packet = enhanced(localId, { sequence: 0, payload, first });
      return ["BAD_FLAGS", packet] as [string, Uint8Array];
    }),
    ["BAD_PPP", enhanced(localId, { sequence: 0, payload, type: 0x0800 })],
    ["BAD_LENGTH", enhanced(localId, { sequence: 0, payload }).subarray(0, 20)],
    ["BAD_LENGTH", enhanced(localId, { ack: 0, payload })],
    ["UNKNOWN_CALL", enhanced(localId, { sequence: 0, payload }), 3],
    ["UNKNOWN_CALL", enhanced(localId ^ 0x400, { sequence: 0, payload })],
    ["UNKNOWN_CALL", enhanced(localId + 1, { sequence: 0, payload })],
    ["UNKNOWN_CALL", enhanced(0, { sequence: 0, payload })],
    ["UNKNOWN_CALL", enhanced(PEER_ID, { sequence: 0, payload })],
  ];
  const expected: Record<string, number> = {};
  for (const [reason, packet, node = 2] of cases) {
    expected[reason] = (expected[reason] ?? 0) + 1;
    room.module.feedWire(packet, fromNode(node));
    assert.is(room.run().tun.length, 0, reason);
    assert.equal(drops(room), expected, hex(packet.subarray(0, 16)));
  }
  assertIdentity(room);
});

test("frames that are none, or whose packet is none of the call's, are counted drops", async () => {
  const { room, localId } = await callOf2();
  const cases: [string, Uint8Array][] = [
    ["BAD_PPP", bytes("")],
    ["BAD_PPP", bytes("ff 03")],
    ["BAD_PPP", bytes("ff 03 00")],
    ["BAD_PPP", bytes("c0")],
    ["BAD_PPP", bytes("c0 20 01")],
    ["TOO_SHORT", bytes("ff 03 00 21")],
    ["BAD_IP_VERSION", concat(bytes("ff 03 00 57"), podPacket(4, 2, 1))],
    ["BAD_IP_VERSION", concat(bytes("21"), podPacket(6, 2, 1))],
    ["TOO_SHORT", concat(bytes("21"), podPacket(4, 2, 1).subarray(0, 10))],
    ["BAD_LENGTH", concat(bytes("21"), podPacket(4, 2, 1).subarray(0, 30))],
    ["SPOOFED_SOURCE", ipFrame(podPacket(4, 3, 1))],
    ["NOT_LOCAL", ipFrame(podPacket(4, 2, 3))],
    ["MPPE_NO_KEY", pppFrame(0xfd, bytes("90 00 12 34"))],
  ];
  const expected: Record<string, number> = {};
  cases.forEach(([reason, payload], sequence) => {
    expected[reason] = (expected[reason] ?? 0) + 1;
    const [out] = room.feed(localId, 2, { sequence, payload });
    assert.is(out?.tun.length, 0);
    assert.equal(drops(room), expected, hex(payload.subarray(0, 8)));
  });
  assert.is(room.calls.statistics(0).badFrames, cases.length);
  assertIdentity(room);
});

test("an underlay of IPv6 carries a call as well", async () => {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const address = "2001:db8::2";
  const { slot, localId } = room.open(2, { address });
  room.set(slot, { phase: "network", requireMppe: false });
  room.module.publish(contentsOf(1, [callPeer(2, slot, { address })]));
  const came = podPacket(6, 2, 1);
  const packet = enhanced(localId, { sequence: 0, payload: ipFrame(came) });
  // A raw socket of IPv6 hands over what is behind the outer header.
  room.module.feedWire(packet, { from: address, socket: SOCKET_GRE });
  room.module.feedWire(packet, { from: "2001:db8::3", socket: SOCKET_GRE });
  assert.equal(
    room.run().tun.map((one) => one.packet),
    [came],
  );
  room.module.feedTun(podPacket(4, 1, 2));
  const [out] = room.run().wire;
  assert.equal([out?.family, out?.peer[0], out?.peer[15], out?.port], [6, 0x20, 2, 0]);
  assert.equal(drops(room), { UNKNOWN_CALL: 1 });
  assertIdentity(room);
});

test("a dropped packet is kept as PPTP's, without a guess at what is inside", async () => {
  const { room, localId } = await callOf2();
  room.module.feedWire(
    enhanced(localId + 1, { sequence: 0, payload: bytes("45 00") }),
    fromNode(2),
  );
  room.run();
  const [record] = readDropRecords(room.module.views, [room.module.base]);
  const { reason, protocol, from, source } = record ?? {};
  assert.equal([reason, protocol, from, source], ["UNKNOWN_CALL", "pptp", "192.0.2.2", null]);
});

test("a flood of control frames leaves half of the ring to others", async () => {
  const { room, localId } = await callOf2();
  for (let sequence = 0; sequence < 300; sequence++) {
    room.module.feedWire(
      enhanced(localId, { sequence, payload: pppFrame(0xc021, ECHO) }),
      fromNode(2),
    );
    room.module.run();
  }
  assert.is(room.module.punts().length, 32);
  const { ingress } = room.module.counters();
  assert.is(ingress.drops.RING_FULL?.packets, 300 - 32);
  assert.is(droppedPackets(ingress), 300 - 32);
  assertIdentity(room);
});

test("a closed call takes and sends nothing, and its slot comes back with another id", async () => {
  const { room, slot, localId } = await callOf2();
  room.feed(localId, 2, { sequence: 0, payload: ipFrame(podPacket(4, 2, 1)) });
  assert.is(room.calls.statistics(slot).receivedPackets, 1);
  room.calls.close(slot);
  room.run();
  assert.is(room.calls.statistics(slot).receivedPackets, 1, "counters stay");
  assert.not(room.calls.send(slot, concat(bytes("c0 21"), ECHO)));
  room.feed(localId, 2, { sequence: 1, payload: ipFrame(podPacket(4, 2, 1)) });
  assert.is(drops(room).UNKNOWN_CALL, 1);
  room.module.feedTun(podPacket(4, 1, 2));
  assert.is(room.run().wire.length, 0);
  assert.is(room.module.counters().egress.drops.NO_CALL?.packets, 1);
  const ids = new Set([localId]);
  const slots: number[] = [];
  for (let i = 0; i < 200; i++) {
    const next = room.calls.reserve();
    assert.not(ids.has(next.localId));
    ids.add(next.localId);
    slots.push(next.slot);
    room.calls.close(next.slot);
  }
  assert.ok(slots.includes(slot), "used again");
  assertIdentity(room);
});

test.run();
