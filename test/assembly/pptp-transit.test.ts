// Dial-in clients reach the mesh and are reached without this node's kernel: clients among each
// other, a client and a member, both ways; a hop less, cut to size, refused with a word.
//
//   node 1: this one   nodes 3, 4: members, VXLAN   clients 10.244.1.201, .202: both by 192.0.2.2
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadModule, type WireOutput } from "../support/module.js";
import { contentsOf, pod4, podPacket, underlayOf, vxlanDatagram } from "../support/nodes.js";
import {
  ACK,
  be16,
  concat,
  type PacketOptions,
  setBe16,
  slowChecksum,
  TCP,
} from "../support/packets.js";
import {
  CallRoom,
  callPeer,
  enhanced,
  fromNode,
  ipFrame,
  PPTP_MTU,
  parsed,
  pppFrame,
} from "../support/pptp.js";
import { assertExact } from "../support/scene.js";

const CLIENTS = [201, 202] as const;
const NAT = 2;

/** Node 1 with two clients, each of which has been heard, and two members. */
async function gateway() {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const calls = CLIENTS.map((host, i) => ({
    host,
    ...room.open(NAT, { peerId: 0x1111 * (i + 1) }),
  }));
  for (const { slot, localId } of calls) {
    room.set(slot, { phase: "network", requireMppe: false });
    room.feed(localId, NAT, { sequence: 0, payload: pppFrame(0xc021, new Uint8Array(4)) });
  }
  const clients = calls.map(({ host, slot }) =>
    callPeer(NAT, slot, { prefixes: [`10.244.1.${host}/32`], dialsIn: true }),
  );
  room.module.publish(contentsOf(1, [3, 4, ...clients]));
  const sent = [0, 0];
  /** A packet that a client sends; what comes out of it. */
  const fromClient = (index: number, packet: Uint8Array) => {
    const call = calls[index];
    if (call === undefined) throw new RangeError(`no client ${index}`);
    const sequence = (sent[index] ?? 0) + 1;
    sent[index] = sequence;
    const [out] = room.feed(call.localId, NAT, { sequence, payload: ipFrame(packet) });
    return out ?? { tun: [], wire: [] };
  };
  const fromMember = (node: number, ...packets: Uint8Array[]) => {
    const train = concat(...packets.map((packet) => vxlanDatagram(packet)));
    const segment = packets.length > 1 ? 22 + (packets[0]?.length ?? 0) : 0;
    room.module.feedWire(train, { from: underlayOf(node), segment });
    return room.run();
  };
  return { room, calls, fromClient, fromMember };
}

/** A packet of hosts by address; clients are hosts of net 1. */
function between(from: Uint8Array, to: Uint8Array, changes: Partial<PacketOptions> = {}) {
  return podPacket(4, 0, 0, { source: from, destination: to, ...changes });
}

const drops = (room: CallRoom) =>
  Object.fromEntries(
    Object.entries(room.module.counters().ingress.drops).map(([name, one]) => [name, one.packets]),
  );

/** The packets in VXLAN datagrams. */
const inVxlan = (wire: WireOutput[]) =>
  wire.flatMap(({ datagrams }) => datagrams.map((bytes) => bytes.subarray(22)));

/** The IP packets in calls. */
const inCalls = (wire: WireOutput[]) =>
  parsed(wire).flatMap(({ callId, payload }) =>
    payload.length === 0 ? [] : [{ callId, packet: payload.subarray(4) }],
  );

const CLIENT1 = pod4(1, 201);
const CLIENT2 = pod4(1, 202);

test("a client's packet for a member goes there, a hop less", async () => {
  const { room, fromClient } = await gateway();
  const { wire, tun } = fromClient(0, between(CLIENT1, pod4(3, 9), { ttl: 64 }));
  assert.is(tun.length, 0);
  assert.equal(inVxlan(wire), [between(CLIENT1, pod4(3, 9), { ttl: 63 })]);
  assert.equal([...(wire[0]?.peer ?? [])].slice(0, 4), [192, 0, 2, 3]);
  assert.equal(drops(room), {});
  assertExact(room.module);
});

test("a member's packet for a client goes by that client's call, alone or in a train", async () => {
  const { room, fromMember } = await gateway();
  const one = fromMember(3, between(pod4(3, 9), CLIENT2, { ttl: 10 }));
  assert.equal(inCalls(one.wire), [
    { callId: 0x2222, packet: between(pod4(3, 9), CLIENT2, { ttl: 9 }) },
  ]);
  const train = Array.from({ length: 9 }, (_, i) =>
    between(pod4(3, 9), CLIENT1, {
      protocol: TCP,
      sequence: i * 500,
      payload: new Uint8Array(500),
    }),
  );
  const all = inCalls(fromMember(3, ...train).wire);
  assert.equal(
    all.map(({ callId, packet }) => [callId, packet.length, slowChecksum(packet.subarray(0, 20))]),
    train.map((packet) => [0x1111, packet.length, 0]),
  );
  assert.is(room.module.counters().ingress.forwarded, 10);
  assertExact(room.module);
});

test("clients behind one address reach each other", async () => {
  const { room, fromClient } = await gateway();
  for (const [from, to, index, callId] of [
    [CLIENT1, CLIENT2, 0, 0x2222],
    [CLIENT2, CLIENT1, 1, 0x1111],
  ] as const) {
    const { wire } = fromClient(index, between(from, to, { ttl: 2 }));
    assert.equal(inCalls(wire), [{ callId, packet: between(from, to, { ttl: 1 }) }]);
  }
  assertExact(room.module);
});

test("a client reaches this node's pods by TUN, and they reach it", async () => {
  const { room, fromClient } = await gateway();
  const packet = between(CLIENT1, pod4(1, 9));
  assert.equal(
    fromClient(0, packet).tun.map((one) => one.packet),
    [packet],
  );
  const back = between(pod4(1, 9), CLIENT1);
  room.module.feedTun(back);
  assert.equal(inCalls(room.run().wire), [{ callId: 0x1111, packet: back }]);
  assertExact(room.module);
});

test("members do not pass packets through this node, nor clients those of others", async () => {
  const { room, fromClient, fromMember } = await gateway();
  assert.is(fromMember(3, between(pod4(3, 9), pod4(4, 9))).wire.length, 0);
  assert.is(fromClient(0, between(CLIENT2, pod4(3, 9))).wire.length, 0);
  assert.is(fromClient(0, between(CLIENT1, CLIENT1)).wire.length, 0);
  assert.is(fromMember(3, between(pod4(4, 9), CLIENT1)).wire.length, 0);
  assert.equal(drops(room), { NOT_LOCAL: 2, SPOOFED_SOURCE: 2 });
  assertExact(room.module);
});

/** The one ICMP error in a call: type, code, the field behind its checksum, and its sums. */
function icmpOf(packet: Uint8Array) {
  assert.is(slowChecksum(packet.subarray(0, 20)) + slowChecksum(packet.subarray(20)), 0);
  assert.equal([...packet.subarray(12, 16)], [10, 244, 1, 1]);
  return { type: packet[20], code: packet[21], mtu: be16(packet, 26) };
}

test("a client is told by its call when hops or routes end", async () => {
  const { room, fromClient } = await gateway();
  const expired = inCalls(fromClient(0, between(CLIENT1, pod4(3, 9), { ttl: 1 })).wire);
  assert.equal(
    expired.map(({ callId, packet }) => [callId, icmpOf(packet)]),
    [[0x1111, { type: 11, code: 0, mtu: 0 }]],
  );
  const nowhere = inCalls(fromClient(1, between(CLIENT2, Uint8Array.of(8, 8, 8, 8))).wire);
  assert.equal(
    nowhere.map(({ callId, packet }) => [callId, icmpOf(packet)]),
    [[0x2222, { type: 3, code: 0, mtu: 0 }]],
  );
  assert.equal(drops(room), { TTL_EXPIRED: 1, NO_ROUTE: 1 });
  assertExact(room.module);
});

test("what is too large for a client is cut where it is TCP, else its sender hears", async () => {
  const { room, fromMember } = await gateway();
  const payload = Uint8Array.from({ length: 1410 }, (_, i) => i);
  const large = between(pod4(3, 9), CLIENT1, { protocol: TCP, payload, flags: ACK });
  const pieces = inCalls(fromMember(3, large).wire);
  assert.equal(
    pieces.map(({ packet }) => packet.length),
    [PPTP_MTU, 1450 - PPTP_MTU + 40],
  );
  assert.equal(concat(...pieces.map(({ packet }) => packet.subarray(40))), payload);
  const told = inVxlan(fromMember(3, between(pod4(3, 9), CLIENT1, { payload })).wire);
  assert.equal(told.map(icmpOf), [{ type: 3, code: 4, mtu: PPTP_MTU }]);
  assert.equal(drops(room), { TOO_BIG: 1 });
  assertExact(room.module);
});

test("the MSS that a client and a member agree on fits both ways", async () => {
  const { fromClient } = await gateway();
  const tcpOptions = Uint8Array.of(2, 4, 0x23, 0);
  const flags = 2;
  const syn = between(CLIENT1, CLIENT2, { protocol: TCP, flags, tcpOptions });
  const [out] = inCalls(fromClient(0, syn).wire);
  assert.is(be16(out?.packet ?? new Uint8Array(64), 42), PPTP_MTU - 40);
});

test("nothing passes between clients and a network where this node dialled in", async () => {
  const { room, calls, fromClient } = await gateway();
  const out = room.open(5, { peerId: 0x5555 });
  room.set(out.slot, { phase: "network", requireMppe: false });
  room.feed(out.localId, 5, { sequence: 0, payload: pppFrame(0xc021, new Uint8Array(4)) });
  const clients = calls.map(({ host, slot }) =>
    callPeer(NAT, slot, { prefixes: [`10.244.1.${host}/32`], dialsIn: true }),
  );
  const there = callPeer(5, out.slot, { prefixes: ["10.9.0.0/16"], foreign: true });
  room.module.publish(contentsOf(1, [3, there, ...clients]));
  const host = Uint8Array.of(10, 9, 0, 1);
  assert.is(fromClient(0, between(CLIENT1, host)).wire.length, 0);
  const payload = ipFrame(between(host, CLIENT1));
  assert.is(room.feed(out.localId, 5, { sequence: 1, payload })[0]?.wire.length, 0);
  assert.equal(drops(room), { NOT_LOCAL: 2 });
  room.module.feedTun(between(pod4(1, 9), host));
  assert.equal(inCalls(room.run().wire), [{ callId: 0x5555, packet: between(pod4(1, 9), host) }]);
  assertExact(room.module);
});

test("a packet that is not whole goes nowhere", async () => {
  const { room, fromClient } = await gateway();
  const packet = between(CLIENT1, pod4(3, 9));
  setBe16(packet, 10, be16(packet, 10) ^ 1);
  assert.is(fromClient(0, packet).wire.length, 0);
  room.module.feedWire(enhanced(1, { sequence: 0 }), fromNode(NAT));
  room.run();
  assert.equal(drops(room), { BAD_IP_HEADER: 1, UNKNOWN_CALL: 1 });
  assertExact(room.module);
});

test.run();
