// VXLAN's own part of a packet's way, without lookups: outer headers written, or checked.
import {
  SLOT_SIZE,
  VXLAN_OVERHEAD,
  W_TABLES,
  W_TUN_ARENA,
  W_TUN_SLOTS,
  W_WIRE_ARENA,
} from "../../assembly/shared/layout.js";
import { P_TEMPLATE, PEER_SIZE, T_PEERS_AT } from "../../assembly/shared/tables.js";
import type { TestModule } from "../../test/support/module.js";
import { podPacket, vxlanDatagram } from "../../test/support/nodes.js";
import { concat } from "../../test/support/packets.js";
import { Random } from "../../test/support/random.js";
import { expected } from "./expected.js";
import { type Loops, openLoops } from "./loops.js";
import { Room } from "./room.js";
import { type Subject, sampleCalls } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const COUNT = 64;
/** From one packet to the next; no power of two, which would crowd them into few lines of cache. */
const STRIDE = 2112;
/** As in native/tunnel.c. */
const HEADROOM = 64;
const TEMPLATE_SIZE = 24;
const PEERS = 8;
const SIZE = 512;

const random = new Random(11);

/** Address of the first peer's entry in the published tables. */
function peerAt(module: TestModule): number {
  return module.view.getUint32(module.word(W_TABLES) + T_PEERS_AT, true);
}

/** Datagrams at the begin of strides of their own, random bytes after them. */
function strides(datagrams: readonly Uint8Array[]): Uint8Array {
  const all = random.bytes(datagrams.length * STRIDE);
  datagrams.forEach((datagram, index) => {
    all.set(datagram, index * STRIDE);
  });
  return all;
}

/** IPv4 and IPv6 in turn. */
function innerPackets(from: number, to: number): Uint8Array[] {
  return Array.from({ length: COUNT }, (_, index) =>
    podPacket(index % 2 === 0 ? 4 : 6, from, to, { payload: random.bytes(SIZE - 48) }),
  );
}

/** A packet with what is before it. */
function aroundOf(inner: Uint8Array): Uint8Array {
  return concat(random.bytes(HEADROOM), inner.subarray(0, HEADROOM));
}

/** Packets where the product has them, in the slots of its reads, to several peers by turns. */
function encapSubject({ module }: Room, loops: Loops): Subject {
  const at = module.base + W_TUN_SLOTS;
  const list = module.base + W_TUN_ARENA;
  const first = peerAt(module);
  const indices = Uint32Array.from({ length: COUNT }, () => random.between(0, PEERS - 1));
  const around = innerPackets(1, 2).map(aroundOf);
  const { bytes } = module.views;
  const lay = () => {
    bytes.set(new Uint8Array(indices.map((index) => first + index * PEER_SIZE).buffer), list);
    around.forEach((some, index) => {
      bytes.set(some, at + index * SLOT_SIZE);
    });
  };
  const templates = Array.from({ length: PEERS }, (_, index) => {
    const template = first + index * PEER_SIZE + P_TEMPLATE;
    return bytes.slice(template, template + TEMPLATE_SIZE);
  });
  const input = concat(new Uint8Array(indices.buffer), ...templates, ...around);
  const twin = () => runTwin("tunnel", ["encap", `${SLOT_SIZE}`, `${COUNT}`], input);
  const work = () => loops.encaps(list, at + HEADROOM, SLOT_SIZE, COUNT);
  lay();
  work();
  const before = (index: number) => at + index * SLOT_SIZE;
  const own = around.map((_, index) => bytes.slice(before(index), before(index) + HEADROOM));
  assertEqualOutput("encap VXLAN", concat(...own), twin().output);
  return {
    ...{ name: "encap VXLAN", unit: "packet" },
    sample: () => {
      lay();
      return sampleCalls(work, COUNT);
    },
    sampleTwin: () => twin().ns,
  };
}

/** Ways in which a datagram's outer headers are wrong. */
const DAMAGES: ((datagram: Uint8Array) => void)[] = [
  (datagram) => datagram.set([0], 0),
  (datagram) => datagram.set([7], 6),
  (datagram) => datagram.set([0x88, 0xcc], 20),
  (datagram) => datagram.set([0x15], VXLAN_OVERHEAD),
  (datagram) => datagram.fill(0xff, 8, 14),
  (datagram) => datagram.set([1], 8),
  (datagram) => datagram.set([9], 13),
];

function decapSubject({ module }: Room, loops: Loops): Subject {
  const peer = peerAt(module);
  const at = module.base + W_TUN_ARENA;
  const to = module.base + W_WIRE_ARENA;
  const length = VXLAN_OVERHEAD + SIZE;
  const argv = ["decap", `${length}`, `${STRIDE}`];
  const good = strides(innerPackets(2, 1).map((inner) => vxlanDatagram(inner)));
  const work = () => loops.decaps(peer, at, length, STRIDE, COUNT, to);
  const prove = (datagrams: Uint8Array) => {
    module.views.bytes.set(datagrams, at);
    work();
    const own = module.views.bytes.slice(to, to + 4 * COUNT);
    assertEqualOutput(
      "decap VXLAN",
      own,
      runTwin("tunnel", argv, concat(expected(), datagrams)).output,
    );
  };
  const bad = good.slice();
  for (let i = 0; i < COUNT; i++) {
    DAMAGES[i % (DAMAGES.length + 1)]?.(bad.subarray(i * STRIDE, (i + 1) * STRIDE));
  }
  prove(bad);
  prove(good);
  const input = concat(expected(), good);
  return {
    ...{ name: "decap VXLAN", unit: "packet" },
    sample: () => {
      module.views.bytes.set(good, at);
      return sampleCalls(work, COUNT);
    },
    sampleTwin: () => runTwin("tunnel", argv, input).ns,
  };
}

/** On a room of their own: node 1 of a mesh of nine. */
export async function tunnelSubjects(): Promise<Subject[]> {
  const room = await Room.open(Array.from({ length: PEERS }, (_, index) => index + 2));
  const loops = await openLoops(room.module);
  return [encapSubject(room, loops), decapSubject(room, loops)];
}
