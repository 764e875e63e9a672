// The encapsulations' own part of a packet's way, without lookups: outer headers written or
// checked.
import {
  SLOT_SIZE,
  VXLAN_OVERHEAD,
  W_TABLES,
  W_TUN_ARENA,
  W_TUN_SLOTS,
  W_WIRE_ARENA,
} from "../../assembly/shared/layout.js";
import {
  P_TEMPLATE,
  PEER_SIZE,
  T_PEERS_AT,
  TEMPLATE6_BEHIND,
} from "../../assembly/shared/tables.js";
import type { TestModule } from "../../test/support/module.js";
import {
  frameOf,
  geneveDatagram,
  geneveOption,
  peerOf,
  podPacket,
  vxlanDatagram,
} from "../../test/support/nodes.js";
import { concat } from "../../test/support/packets.js";
import { Random } from "../../test/support/random.js";
import { expected } from "./expected.js";
import { type DecapLoops, type Loops, openDecapLoops, openLoops } from "./loops.js";
import { Room } from "./room.js";
import { type Subject, sampleCalls } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const COUNT = 64;
/** Of all packets per call: the twin, too, looks at the clock after 16. */
const ROUNDS = 16;
/** From one packet to the next; no power of two, which would crowd them into few lines of cache. */
const STRIDE = 2112;
/** As in native/tunnel.c. */
const HEADROOM = 64;
const PEERS = 8;
const SIZE = 512;

const random = new Random(11);

type Damage = (datagram: Uint8Array) => void;

/** An encapsulation with headers of its own. */
interface Tunnel {
  name: string;
  /** Also the twin's word for its decapsulation. */
  protocol: "vxlan" | "geneve";
  decaps: "decapsVxlan" | "decapsGeneve";
  datagram(inner: Uint8Array): Uint8Array;
  /** Ways in which a datagram's outer headers are wrong, or right in a rare way. */
  damages: readonly Damage[];
}

/**
 * What may be wrong with the Ethernet frame behind 8 bytes of header. All damages of a tunnel and
 * no damage are an odd number: each meets IPv4 and IPv6.
 */
const FRAME_DAMAGES: readonly Damage[] = [
  (datagram) => datagram.set([0x88, 0xcc], 20),
  (datagram) => datagram.set([0x15], VXLAN_OVERHEAD),
  (datagram) => datagram.fill(0xff, 8, 14),
  (datagram) => datagram.set([1], 8),
  (datagram) => datagram.set([9], 13),
];

/**
 * A further encapsulation is an entry here, its loops in module/loops.ts and its twin in
 * native/tunnel.c. IP in IP and IP in UDP have no header of their own: nothing to time.
 */
const TUNNELS: readonly Tunnel[] = [
  {
    ...{ name: "VXLAN", protocol: "vxlan", decaps: "decapsVxlan" },
    datagram: (inner) => vxlanDatagram(inner),
    damages: [
      (datagram) => datagram.set([0], 0),
      (datagram) => datagram.set([0xff], 0),
      (datagram) => datagram.set([7], 6),
      ...FRAME_DAMAGES,
    ],
  },
  {
    ...{ name: "Geneve", protocol: "geneve", decaps: "decapsGeneve" },
    datagram: (inner) => geneveDatagram(frameOf(inner)),
    damages: [
      (datagram) => datagram.set([0x40], 0),
      // Options as far as into the payload.
      (datagram) => datagram.set([0x3f], 0),
      (datagram) => datagram.set([0x80], 1),
      (datagram) => datagram.set([7], 6),
      // IP where the frame would be: by its type, and a type of nothing.
      (datagram) => datagram.set(withoutFrame(datagram)),
      (datagram) => datagram.set([0x88, 0xcc], 2),
      // One option of four bytes: harmless, critical, or longer than all options.
      (datagram) => datagram.set(withOption(datagram, 1, 0)),
      (datagram) => datagram.set(withOption(datagram, 0x81, 0)),
      (datagram) => datagram.set(withOption(datagram, 1, 1)),
      ...FRAME_DAMAGES,
    ],
  },
];

/** Address of the first peer's entry in the published tables. */
function peerAt(module: TestModule): number {
  return module.view.getUint32(module.word(W_TABLES) + T_PEERS_AT, true);
}

/** The begin of a Geneve datagram with what is in its frame, and 0x0800 as type of that. */
function withoutFrame(datagram: Uint8Array): Uint8Array {
  return geneveDatagram(datagram.slice(VXLAN_OVERHEAD, 100), { carried: 0x0800 });
}

/** The begin of a Geneve datagram with one option in it, which says that it has `words` of data. */
function withOption(datagram: Uint8Array, kind: number, words: number): Uint8Array {
  const option = geneveOption(kind, new Uint8Array(0), words);
  return geneveDatagram(datagram.slice(8, 100), { options: option });
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
function encapSubject(tunnel: Tunnel, { module }: Room, loops: Loops): Subject {
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
    return bytes.slice(template, template + 2 * TEMPLATE6_BEHIND);
  });
  const input = concat(new Uint8Array(indices.buffer), ...templates, ...around);
  const twin = () => runTwin("tunnel", ["encap", `${SLOT_SIZE}`, `${COUNT}`], input);
  const work = () => loops.encaps(list, at + HEADROOM, SLOT_SIZE, COUNT, ROUNDS);
  lay();
  work();
  const before = (index: number) => at + index * SLOT_SIZE;
  const own = around.map((_, index) => bytes.slice(before(index), before(index) + HEADROOM));
  const name = `encap ${tunnel.name}`;
  assertEqualOutput(name, concat(...own), twin().output);
  return {
    ...{ name, unit: "packet" },
    sample: () => {
      lay();
      return sampleCalls(work, COUNT * ROUNDS);
    },
    sampleTwin: () => twin().ns,
  };
}

function decapSubject(tunnel: Tunnel, { module }: Room, loops: DecapLoops): Subject {
  const peer = peerAt(module);
  const at = module.base + W_TUN_ARENA;
  const to = module.base + W_WIRE_ARENA;
  const length = VXLAN_OVERHEAD + SIZE;
  const argv = [tunnel.protocol, `${length}`, `${STRIDE}`];
  const name = `decap ${tunnel.name}`;
  const good = strides(innerPackets(2, 1).map(tunnel.datagram));
  const work = () => loops[tunnel.decaps](peer, at, length, STRIDE, COUNT, to, ROUNDS);
  const prove = (datagrams: Uint8Array) => {
    module.views.bytes.set(datagrams, at);
    work();
    const own = module.views.bytes.slice(to, to + 4 * COUNT);
    assertEqualOutput(name, own, runTwin("tunnel", argv, concat(expected(), datagrams)).output);
  };
  const bad = good.slice();
  for (let i = 0; i < COUNT; i++) {
    tunnel.damages[i % (tunnel.damages.length + 1)]?.(bad.subarray(i * STRIDE, (i + 1) * STRIDE));
  }
  prove(bad);
  prove(good);
  const input = concat(expected(), good);
  return {
    ...{ name, unit: "packet" },
    sample: () => {
      module.views.bytes.set(good, at);
      return sampleCalls(work, COUNT * ROUNDS);
    },
    sampleTwin: () => runTwin("tunnel", argv, input).ns,
  };
}

/** On rooms of their own: node 1 of meshes of nine. */
export async function tunnelSubjects(): Promise<Subject[]> {
  const subjects: Subject[] = [];
  for (const tunnel of TUNNELS) {
    const { protocol } = tunnel;
    const peers = Array.from({ length: PEERS }, (_, index) => peerOf(index + 2, { protocol }));
    const room = await Room.open(peers);
    const loops = await openLoops(room.module);
    subjects.push(encapSubject(tunnel, room, loops));
    subjects.push(decapSubject(tunnel, room, await openDecapLoops(room.module)));
  }
  return subjects;
}
