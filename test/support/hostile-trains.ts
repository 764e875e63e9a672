// Trains of a few flows with every kind of odd packet between, for what goes its own way through
// the hot path when it looks like the packet before it.
import { PROBE_MAGIC, PROBE_PORT } from "../../assembly/shared/layout.js";
import { macOf, pod, podPacket, underlayOf, vxlanDatagram } from "./nodes.js";
import {
  ACK,
  CWR,
  concat,
  FIN,
  type PacketOptions,
  PSH,
  SYN,
  setBe32,
  TCP,
  UDP,
} from "./packets.js";
import type { Random } from "./random.js";

/** One datagram off the underlay. */
export interface Segment {
  bytes: Uint8Array;
  node: number;
  tos: number;
}

type Change = Partial<PacketOptions>;

interface Flow {
  node: number;
  size: number;
  options: Change & { version: 4 | 6; protocol: number };
  sequence: number;
  identification: number;
}

const TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
const OTHER_TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 3);
const MSS = Uint8Array.of(2, 4, 9, 0);
const SIZES = [8, 9, 36, 37, 63, 64, 65, 500, 501, 1398, 1399];
const FLAGS = [ACK | PSH, ACK | FIN, ACK | CWR, ACK | 0x40, SYN, ACK | 4, ACK | 32, 0];
const STRANGER = pod(4, 2, 200);

export class HostileTrains {
  constructor(readonly random: Random) {}

  #flow(index: number): Flow {
    const { random } = this;
    const version = random.pick([4, 6] as const);
    const node = random.pick([2, 2, 2, 3]);
    const protocol = random.pick([TCP, TCP, TCP, UDP]);
    const isToSelf = random.once(8);
    return {
      ...{ node, size: random.pick(SIZES), sequence: random.bits() },
      identification: random.once(4) ? 65_530 : random.bits() & 0xffff,
      options: {
        ...{ version, protocol, sourcePort: 1000 + index, dontFragment: random.once(2) },
        destinationPort: isToSelf && random.once(2) ? PROBE_PORT : 5201,
        source: pod(version, node, 7),
        destination: pod(version, 1, isToSelf ? 1 : 9),
        tos: random.pick([0, 0, 0, 1, 2, 3, 0xb8]),
        tcpOptions: random.once(2) ? TIMESTAMPS : new Uint8Array(0),
      },
    };
  }

  /** What of a packet may be unlike the packet before it. */
  #change(flow: Flow): Change {
    const { random } = this;
    const { version } = flow.options;
    return random.pick<Change>([
      ...FLAGS.map((flags) => ({ flags })),
      ...[{ tos: 2 }, { tos: 3 }, { ttl: 63 }, { ttl: 0 }, { window: 5 }, { acknowledgment: 9 }],
      ...[{ sequence: flow.sequence + 1 }, { sequence: flow.sequence - flow.size }],
      ...[{ identification: 7 }, { dontFragment: true }, { dontFragment: false }, { urgent: 3 }],
      ...[{ checksum: 0 }, { checksum: 0xffff }, { checksum: 77 }, { flowLabel: 9 }],
      ...[{ tcpOptions: OTHER_TIMESTAMPS }, { tcpOptions: new Uint8Array(0) }],
      ...[{ flags: SYN, tcpOptions: MSS }, { ipOptions: new Uint8Array(4) }],
      ...[{ sourcePort: 1 }, { destinationPort: PROBE_PORT }, { protocol: UDP }, { protocol: 132 }],
      ...[5, 2, 3].map((node) => ({ source: pod(version, node, 7) })),
      ...[1, 8, 300].map((host) => ({ destination: pod(version, 1, host) })),
      { destination: pod(version, 2, 9) },
    ]);
  }

  #packet(flow: Flow): Uint8Array {
    const { random } = this;
    const size = random.once(12) ? random.between(0, 2 * flow.size) : flow.size;
    const payload = random.bytes(size);
    if (random.once(6) && size >= 20) {
      setBe32(payload, 0, PROBE_MAGIC);
      setBe32(payload, 4, random.between(0, 2) << 24);
    }
    const { sequence, identification } = flow;
    flow.sequence = (sequence + size) >>> 0;
    flow.identification = (identification + 1) & 0xffff;
    const odd = random.once(10) ? this.#change(flow) : {};
    return podPacket(flow.options.version, flow.node, 1, {
      ...{ payload, sequence: sequence >>> 0, identification, ...flow.options, ...odd },
    });
  }

  /** Damage that no sender's own code would do. */
  #damage(datagram: Uint8Array): Uint8Array {
    const { random } = this;
    if (random.once(4)) return concat(datagram, random.bytes(random.between(1, 30)));
    if (random.once(4)) return datagram.slice(0, random.between(0, datagram.length));
    const copy = Uint8Array.from(datagram);
    const most = random.once(2) ? Math.min(copy.length, 100) : copy.length;
    copy[random.between(0, most - 1)] = random.bits();
    return copy;
  }

  /** A packet of ICMPv6 or ARP, some of them questions for our VTEP. */
  #question(flow: Flow): Uint8Array {
    const { random } = this;
    if (random.once(3)) {
      const arp = Uint8Array.from([0, 1, 8, 0, 6, 4, 0, 1, ...macOf(2), 10, 244, 2, 1]);
      const asked = Uint8Array.of(0, 0, 0, 0, 0, 0, 10, 244, 1, random.between(1, 2));
      return vxlanDatagram(concat(arp, asked), { type: 0x0806 });
    }
    const body = new Uint8Array(24);
    body[0] = random.pick([128, 135]);
    body.set(pod(6, 1, random.between(1, 2)), 8);
    return vxlanDatagram(
      podPacket(6, flow.node, 1, { protocol: 58, payload: body, ttl: random.pick([64, 255]) }),
    );
  }

  /** `count` datagrams of a few flows, mostly one after the other in order. */
  draw(count: number): Segment[] {
    const { random } = this;
    const flows = Array.from({ length: random.between(1, 3) }, (_, i) => this.#flow(i));
    const spoil = random.pick([4, 12, 1000]);
    let flow = random.pick(flows);
    let tos = random.pick([0, 0, 1, 2, 3]);
    return Array.from({ length: count }, () => {
      if (random.once(8)) flow = random.pick(flows);
      if (random.once(20)) tos = random.between(0, 255);
      const isQuestion = random.once(40);
      const plain = isQuestion ? this.#question(flow) : vxlanDatagram(this.#packet(flow));
      const bytes = random.once(spoil) ? this.#damage(plain) : plain;
      return { bytes, node: flow.node, tos };
    });
  }
}

/** Trains as a read gives them: equal datagrams of one peer, the last may be shorter. */
export function trainsOf(segments: readonly Segment[], random: Random): Segment[][] {
  const trains: Segment[][] = [];
  for (const segment of segments) {
    const train = trains.at(-1);
    const [first] = train ?? [];
    const last = train?.at(-1);
    const fits =
      first !== undefined &&
      first.bytes.length > 0 &&
      last?.bytes.length === first.bytes.length &&
      segment.bytes.length > 0 &&
      segment.bytes.length <= first.bytes.length &&
      segment.node === first.node &&
      segment.tos === first.tos &&
      (train?.length ?? 0) * first.bytes.length + segment.bytes.length < 65_000;
    if (fits && !random.once(12)) train?.push(segment);
    else trains.push([segment]);
  }
  return trains;
}

/** A datagram that has nothing in common with what is before and behind it. */
export function stranger(): Uint8Array {
  const payload = Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0);
  return vxlanDatagram(podPacket(4, 2, 1, { protocol: 1, payload, source: STRANGER }));
}

/** Whether an inner packet is that of `stranger`. */
export function isStranger(packet: Uint8Array): boolean {
  return packet[9] === 1 && Buffer.compare(packet.subarray(12, 16), STRANGER) === 0;
}

export const addressOf = (segment: Segment): string => underlayOf(segment.node);
