// Whole ways through the hot path: a packet or super-packet from TUN to the wire, a datagram or
// train from the wire to TUN, everything on the way included (parse, FIB, marks, counters).
import { FEATURE_TUN_USO, VNET_HEADER_SIZE, W_FEATURES } from "../../assembly/shared/layout.js";
import type { TunOutput } from "../../test/support/module.js";
import { pod4, podPacket, underlayOf, vxlanDatagram } from "../../test/support/nodes.js";
import { ACK, buildPacket, concat, PSH, TCP, UDP } from "../../test/support/packets.js";
import { Random } from "../../test/support/random.js";
import { expected } from "./expected.js";
import type { Room } from "./room.js";
import type { Subject } from "./row.js";
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

function encapSubject(room: Room, size: number): Subject {
  const packet = udpPacket(1, 2, size, 4000);
  const batch = room.prepare("tun", BATCH, VNET_HEADER_SIZE + size, () => {
    for (let i = 0; i < BATCH; i++) room.module.feedTun(packet);
  });
  const sample = () => room.measure(batch, BATCH);
  return { name: `way to the wire, ${size} B, one flow`, unit: "packet", bytes: size, sample };
}

/** Packets that cannot be merged: all of flows of their own, between two pods or as many. */
const MIXTURES = {
  flows: (size: number, i: number) => udpPacket(2, 1, size, 4000 + i),
  pods: (size: number, i: number) =>
    podPacket(4, 2, 1, { payload: random.bytes(size - IP_AND_UDP), source: pod4(2, 10 + i) }),
};

function decapSubject(room: Room, size: number, of: keyof typeof MIXTURES): Subject {
  const datagrams = Array.from({ length: BATCH }, (_, i) => vxlanDatagram(MIXTURES[of](size, i)));
  const batch = room.prepare("wire", BATCH, OUTER + size, () => {
    for (const datagram of datagrams) room.module.feedWire(datagram, { from: underlayOf(2) });
  });
  const sample = () => room.measure(batch, BATCH);
  return { name: `way to TUN, ${size} B, many ${of}`, unit: "packet", bytes: size, sample };
}

/** The outer bytes that the module puts before every packet to node 2. */
function outerBytes(room: Room): Uint8Array {
  room.module.feedTun(udpPacket(1, 2, 64, 4000));
  const [output] = room.module.run().wire;
  if (output === undefined) throw new Error("nothing was sent");
  return output.bytes.slice(0, OUTER);
}

const SEGMENTS = Math.ceil(SUPER_PAYLOAD / SEGMENT);

function segmentSubject(room: Room): Subject {
  const packet = superPacket(1, 2);
  const input = concat(outerBytes(room), packet);
  const twin = () => runTwin("kernels", ["cut", `${SEGMENT}`], input);
  room.module.feedTun(packet, superVnet);
  const own = room.module.run().wire.map((output) => output.bytes);
  assertEqualOutput("segmentation", concat(...own), twin().output);
  const batch = room.prepare("tun", LARGE_BATCH, VNET_HEADER_SIZE + packet.length, () => {
    for (let i = 0; i < LARGE_BATCH; i++) room.module.feedTun(packet, superVnet);
  });
  return {
    ...{ name: "segment 60 KB TCP", unit: "segment", bytes: IP_AND_TCP + SEGMENT },
    sample: () => room.measure(batch, LARGE_BATCH * SEGMENTS),
    sampleTwin: () => twin().ns,
  };
}

/** What is written to TUN: vnet header and packet. */
function written({ vnet, packet }: TunOutput): Uint8Array {
  const header = new DataView(new ArrayBuffer(VNET_HEADER_SIZE));
  header.setUint8(0, vnet.flags);
  header.setUint8(1, vnet.gsoType);
  const { headerLength, gsoSize, checksumStart, checksumOffset } = vnet;
  [headerLength, gsoSize, checksumStart, checksumOffset].forEach((value, index) => {
    header.setUint16(2 + 2 * index, value, true);
  });
  return concat(new Uint8Array(header.buffer), packet);
}

/** A train as another node's segmentation makes it of a super-packet for node 1. */
function coalesceTcpSubject(room: Room): Subject {
  const whole = superPacket(2, 1);
  const header = vxlanDatagram(whole).slice(0, OUTER);
  const train = runTwin("kernels", ["cut", `${SEGMENT}`], concat(header, whole)).output;
  const segment = OUTER + IP_AND_TCP + SEGMENT;
  const batch = room.prepare("wire", LARGE_BATCH, train.length, () => {
    const input = { from: underlayOf(2), segment };
    for (let i = 0; i < LARGE_BATCH; i++) room.module.feedWire(train, input);
  });
  const sample = () => room.measure(batch, LARGE_BATCH * SEGMENTS);
  const twin = () => runTwin("tunnel", ["join", `${segment}`], concat(expected(), train));
  room.module.feedWire(train, { from: underlayOf(2), segment });
  const { tun } = room.module.run();
  assertEqualOutput("coalescing", concat(...tun.map(written)), twin().output);
  return {
    ...{ name: "coalesce 60 KB TCP", unit: "segment", bytes: IP_AND_TCP + SEGMENT, sample },
    sampleTwin: () => twin().ns,
  };
}

function coalesceUdpSubject(room: Room): Subject {
  const size = 64;
  const packet = podPacket(4, 2, 1, { protocol: UDP, payload: random.bytes(size - IP_AND_UDP) });
  const datagram = vxlanDatagram(packet);
  const train = concat(...new Array<Uint8Array>(BATCH).fill(datagram));
  const batch = room.prepare("wire", LARGE_BATCH, train.length, () => {
    const input = { from: underlayOf(2), segment: datagram.length };
    for (let i = 0; i < LARGE_BATCH; i++) room.module.feedWire(train, input);
  });
  const sample = () => {
    room.module.setWord(W_FEATURES, FEATURE_TUN_USO);
    const samples = room.measure(batch, LARGE_BATCH * BATCH);
    room.module.setWord(W_FEATURES, 0);
    return samples;
  };
  return { name: `coalesce ${size} B UDP`, unit: "packet", bytes: size, sample };
}

export function packetSubjects(room: Room): Subject[] {
  return [
    ...SIZES.map((size) => encapSubject(room, size)),
    segmentSubject(room),
    ...SIZES.map((size) => decapSubject(room, size, "flows")),
    decapSubject(room, 64, "pods"),
    coalesceTcpSubject(room),
    coalesceUdpSubject(room),
  ];
}
