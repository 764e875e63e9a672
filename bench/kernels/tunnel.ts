// VXLAN's own part of a packet's way, without lookups: outer headers written, or checked.
import {
  VXLAN_OVERHEAD,
  W_TABLES,
  W_TUN_ARENA,
  W_WIRE_ARENA,
} from "../../assembly/shared/layout.js";
import { P_TEMPLATE, T_PEERS_AT } from "../../assembly/shared/tables.js";
import { podPacket, vxlanDatagram } from "../../test/support/nodes.js";
import { concat } from "../../test/support/packets.js";
import { Random } from "../../test/support/random.js";
import { expected } from "./expected.js";
import type { Loops } from "./loops.js";
import type { Room } from "./room.js";
import { type Subject, sampleCalls } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const COUNT = 64;
/** From one packet to the next; no power of two, which would crowd them into few lines of cache. */
const STRIDE = 2112;
/** As in native/tunnel.c. */
const HEADROOM = 64;
const TEMPLATE_SIZE = 24;
const SIZE = 512;

const random = new Random(11);

/** Address of the one peer's entry in the published tables. */
function peerAt({ module }: Room): number {
  return module.view.getUint32(module.word(W_TABLES) + T_PEERS_AT, true);
}

/** Strides of their own with each packet at an offset, random bytes around. */
function strides(packets: readonly Uint8Array[], offset: number): Uint8Array {
  const all = random.bytes(packets.length * STRIDE);
  packets.forEach((packet, index) => {
    all.set(packet, index * STRIDE + offset);
  });
  return all;
}

/** IPv4 and IPv6 in turn. */
function innerPackets(from: number, to: number): Uint8Array[] {
  return Array.from({ length: COUNT }, (_, index) =>
    podPacket(index % 2 === 0 ? 4 : 6, from, to, { payload: random.bytes(SIZE - 48) }),
  );
}

function encapSubject(room: Room, loops: Loops): Subject {
  const { module } = room;
  const peer = peerAt(room);
  const at = module.base + W_TUN_ARENA;
  const before = strides(innerPackets(1, 2), HEADROOM);
  const template = module.views.bytes.slice(peer + P_TEMPLATE, peer + P_TEMPLATE + TEMPLATE_SIZE);
  const argv = ["encap", `${STRIDE}`, `${COUNT}`];
  const twin = () => runTwin("tunnel", argv, concat(template, before));
  const work = () => loops.encaps(peer, at + HEADROOM, STRIDE, COUNT);
  module.views.bytes.set(before, at);
  work();
  const own = module.views.bytes.slice(at, at + before.length);
  assertEqualOutput("encap VXLAN", own, twin().output);
  return {
    ...{ name: "encap VXLAN", unit: "packet" },
    sample: () => {
      module.views.bytes.set(before, at);
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

function decapSubject(room: Room, loops: Loops): Subject {
  const { module } = room;
  const peer = peerAt(room);
  const at = module.base + W_TUN_ARENA;
  const to = module.base + W_WIRE_ARENA;
  const length = VXLAN_OVERHEAD + SIZE;
  const argv = ["decap", `${length}`, `${STRIDE}`];
  const good = strides(
    innerPackets(2, 1).map((inner) => vxlanDatagram(inner)),
    0,
  );
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

/** Node 2 is the peer, at index 0. */
export function tunnelSubjects(room: Room, loops: Loops): Subject[] {
  return [encapSubject(room, loops), decapSubject(room, loops)];
}
