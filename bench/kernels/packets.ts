// Whole ways through the hot path: a packet or super-packet from TUN to the wire, a datagram or
// train from the wire to TUN, everything on the way included (parse, FIB, marks, counters).
import { FEATURE_TUN_USO, VNET_HEADER_SIZE, W_FEATURES } from "../../assembly/shared/layout.js";
import { pod4, podPacket, underlayOf, vxlanDatagram } from "../../test/support/nodes.js";
import { ACK, buildPacket, concat, PSH, TCP, UDP } from "../../test/support/packets.js";
import { Random } from "../../test/support/random.js";
import type { Room } from "./room.js";
import { type Row, statistics } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const BATCH = 64;
/** Super-packets and trains per run: what an output arena surely holds. */
const LARGE_BATCH = 16;
const SIZES = [64, 512, 1400];
const OUTER = 22;
const IP_AND_UDP = 28;
const IP_AND_TCP = 52;
const SEGMENT = 1398;
const SUPER_PAYLOAD = 43 * SEGMENT + 700;
const GSO_TCP4 = 1;

const random = new Random(7);

function udpPacket(from: number, to: number, size: number, port: number): Uint8Array {
  const payload = random.bytes(size - IP_AND_UDP);
  return podPacket(4, from, to, { payload, sourcePort: port });
}

/** A super-packet of node `from` as Linux gives it: PSH set, time stamps, 44 segments. */
function superPacket(from: number, to: number): Uint8Array {
  return buildPacket({
    ...{ version: 4, protocol: TCP, flags: ACK | PSH },
    ...{ source: pod4(from, 7), destination: pod4(to, 9) },
    tcpOptions: Uint8Array.from([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
    payload: random.bytes(SUPER_PAYLOAD),
  });
}

const vnet = { flags: 1, gsoType: GSO_TCP4, headerLength: IP_AND_TCP, gsoSize: SEGMENT };
const superVnet = { ...vnet, checksumStart: 20, checksumOffset: 16 };

function encapRow(room: Room, size: number): Row {
  const packet = udpPacket(1, 2, size, 4000);
  room.prepare("tun", BATCH, VNET_HEADER_SIZE + size, () => {
    for (let i = 0; i < BATCH; i++) room.module.feedTun(packet);
  });
  const ns = statistics(room.measure(), BATCH);
  return { name: `encap ${size} B, one flow`, unit: "packet", bytes: size, ...ns };
}

/** Datagrams that cannot be merged: all of flows of their own. */
function decapRow(room: Room, size: number): Row {
  const datagrams = Array.from({ length: BATCH }, (_, i) =>
    vxlanDatagram(udpPacket(2, 1, size, 4000 + i)),
  );
  room.prepare("wire", BATCH, OUTER + size, () => {
    for (const datagram of datagrams) room.module.feedWire(datagram, { from: underlayOf(2) });
  });
  const ns = statistics(room.measure(), BATCH);
  return { name: `decap ${size} B, many flows`, unit: "packet", bytes: size, ...ns };
}

/** Datagrams as segmentation makes them of one super-packet. */
function cutBySelf(room: Room): Uint8Array[] {
  room.module.feedTun(superPacket(1, 2), superVnet);
  return room.module.run().wire.flatMap((output) => output.datagrams);
}

function segmentRow(room: Room): Row {
  const packet = superPacket(1, 2);
  const [first] = cutBySelf(room);
  if (first === undefined) throw new Error("nothing was cut");
  room.module.feedTun(packet, superVnet);
  const own = room.module.run().wire.map((output) => output.bytes);
  const twin = runTwin(["cut", `${SEGMENT}`], concat(first.slice(0, OUTER), packet));
  assertEqualOutput("segmentation", concat(...own), twin.output);
  room.prepare("tun", LARGE_BATCH, VNET_HEADER_SIZE + packet.length, () => {
    for (let i = 0; i < LARGE_BATCH; i++) room.module.feedTun(packet, superVnet);
  });
  const segments = Math.ceil(SUPER_PAYLOAD / SEGMENT);
  const ns = statistics(room.measure(), LARGE_BATCH * segments);
  const bytes = IP_AND_TCP + SEGMENT;
  return { name: "segment + encap 60 KB TCP", unit: "segment", bytes, ...ns, twin_ns: twin.ns };
}

/** A train as another node's segmentation makes it: addressed to node 1. */
function trainFor1(): { train: Uint8Array; segment: number; segments: number } {
  const whole = superPacket(2, 1);
  const header = vxlanDatagram(whole).slice(0, OUTER);
  const { output } = runTwin(["cut", `${SEGMENT}`], concat(header, whole));
  const segment = OUTER + IP_AND_TCP + SEGMENT;
  return { train: output, segment, segments: Math.ceil(output.length / segment) };
}

function coalesceTcpRow(room: Room): Row {
  const { train, segment, segments } = trainFor1();
  room.prepare("wire", LARGE_BATCH, train.length, () => {
    const input = { from: underlayOf(2), segment };
    for (let i = 0; i < LARGE_BATCH; i++) room.module.feedWire(train, input);
  });
  const ns = statistics(room.measure(), LARGE_BATCH * segments);
  const bytes = segment - OUTER;
  return { name: "decap + coalesce 60 KB TCP", unit: "segment", bytes, ...ns };
}

function coalesceUdpRow(room: Room): Row {
  const size = 64;
  const packet = podPacket(4, 2, 1, { protocol: UDP, payload: random.bytes(size - IP_AND_UDP) });
  const datagram = vxlanDatagram(packet);
  const train = concat(...new Array<Uint8Array>(BATCH).fill(datagram));
  room.module.setWord(W_FEATURES, FEATURE_TUN_USO);
  room.prepare("wire", LARGE_BATCH, train.length, () => {
    const input = { from: underlayOf(2), segment: datagram.length };
    for (let i = 0; i < LARGE_BATCH; i++) room.module.feedWire(train, input);
  });
  const ns = statistics(room.measure(), LARGE_BATCH * BATCH);
  room.module.setWord(W_FEATURES, 0);
  return { name: `decap + coalesce ${size} B UDP`, unit: "packet", bytes: size, ...ns };
}

export function packetRows(room: Room): Row[] {
  return [
    ...SIZES.map((size) => encapRow(room, size)),
    segmentRow(room),
    ...SIZES.map((size) => decapRow(room, size)),
    coalesceTcpRow(room),
    coalesceUdpRow(room),
  ];
}
