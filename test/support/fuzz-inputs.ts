// What the fuzz test feeds: well-formed packets of the fuzz mesh in both directions, and those that
// break one rule of it.
import type { ProtocolName } from "../../src/datapath/types.js";
import type { WireMeta } from "./fuzz-driver.js";
import {
  type FuzzPeer,
  metaOf,
  outerOf,
  PEERS,
  PLAIN_VNET,
  podAddress,
  SELF_NET,
  type Shape,
  vnetOf,
  wrap,
  wrapFrame,
} from "./fuzz-mesh.js";
import { slowSegment } from "./judge.js";
import type { PacketOptions } from "./packets.js";
import {
  ACK,
  address4,
  address6,
  buildPacket,
  CWR,
  concat,
  FIN,
  PSH,
  pseudoHeader,
  SYN,
  setBe16,
  slowChecksum,
  slowSum,
  TCP,
  UDP,
  unfinished,
} from "./packets.js";
import type { Random } from "./random.js";

const TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
const empty = new Uint8Array(0);

export interface Egress {
  peer: FuzzPeer;
  vnet: Uint8Array;
  packet: Uint8Array;
  /** The inner packets that must come out at the underlay. */
  expected: Uint8Array[];
}

export interface Ingress {
  bytes: Uint8Array;
  meta: WireMeta;
  expected: Uint8Array[];
}

/** Makes inputs for the peers of one encapsulation, with some of the others among them. */
export class FuzzInputs {
  readonly #own: readonly FuzzPeer[];
  constructor(
    readonly random: Random,
    readonly protocol: ProtocolName,
  ) {
    this.#own = PEERS.filter((peer) => peer.protocol === protocol);
  }

  /** Mostly one of the encapsulation's own. */
  peer(): FuzzPeer {
    return this.random.pick(this.random.once(8) ? PEERS : this.#own);
  }

  /** A payload length: mostly small. */
  #size(most: number): number {
    const { random } = this;
    return random.once(3) ? random.between(0, most) : random.between(0, Math.min(120, most));
  }

  #options(from: number, to: number, most: number): PacketOptions {
    const { random } = this;
    const version = random.pick([4, 6] as const);
    const protocol = random.pick([TCP, TCP, UDP, version === 4 ? 1 : 58]);
    const headers = (version === 4 ? 28 : 40) + (protocol === TCP ? 32 : 8);
    return {
      ...{ version, protocol, payload: random.bytes(this.#size(most - headers)) },
      source: podAddress(version, from, random.between(2, 9)),
      destination: podAddress(version, to, random.between(2, 9)),
      ...{ sourcePort: random.between(1000, 1009), destinationPort: 5201 },
      ...{ tos: random.between(0, 255), ttl: random.between(1, 255) },
      ...{ identification: random.bits() & 0xffff, dontFragment: random.once(2) },
      ...{ sequence: random.bits(), flags: ACK | (random.once(4) ? PSH : 0) },
      tcpOptions: protocol === TCP && random.once(2) ? TIMESTAMPS : empty,
      ipOptions: version === 4 && random.once(30) ? new Uint8Array(8) : empty,
    };
  }

  build(o: PacketOptions): Uint8Array {
    if (o.protocol === TCP || o.protocol === UDP) return buildPacket(o);
    // An echo request; its checksum covers a pseudo-header in IPv6 only.
    const payload = concat(
      Uint8Array.of(o.version === 4 ? 8 : 128, 0, 0, 0, 0, 7, 0, 9),
      o.payload,
    );
    const packet = buildPacket({ ...o, payload });
    const pseudo = o.version === 4 ? empty : pseudoHeader(packet, 58, payload.length);
    setBe16(packet, packet.length - payload.length + 2, slowChecksum(concat(pseudo, payload)));
    return packet;
  }

  /** How a sender does it: with options or none, a checksum or none, Ethernet or bare IP. */
  #shape(): Shape {
    const { random } = this;
    const options = Array.from({ length: random.once(2) ? 0 : random.between(1, 3) }, () => {
      const words = random.between(0, 4);
      const head = Uint8Array.of(0xff, random.bits(), random.between(0, 127), words);
      return concat(head, random.bytes(4 * words));
    });
    const hasChecksum = random.once(2);
    return { options: concat(...options), isBare: random.once(2), hasChecksum };
  }

  /** One packet from a pod to a peer's pod, with or without its checksum done. */
  egressSingle(): Egress {
    const { random } = this;
    const peer = this.peer();
    const options = this.#options(SELF_NET, peer.net, Math.min(peer.mtu, 1450));
    const packet = this.build(options);
    const isPlain = options.protocol !== TCP && options.protocol !== UDP;
    if (isPlain || random.once(2)) return { peer, vnet: PLAIN_VNET, packet, expected: [packet] };
    const start = options.version === 4 ? 20 + (options.ipOptions?.length ?? 0) : 40;
    const vnet = vnetOf(0, 0, 0, start, options.protocol === TCP ? 16 : 6);
    return { peer, vnet, packet: unfinished(packet, options), expected: [packet] };
  }

  /** Segments that nobody cut, as raw sockets hand over what a kernel on this machine sent. */
  whole(peer: FuzzPeer): { bytes: Uint8Array; meta: WireMeta } {
    const { random } = this;
    const plain = { ...this.#options(peer.net, SELF_NET, 100), ipOptions: empty };
    const protocol = random.pick([TCP, TCP, UDP]);
    const options = { ...plain, protocol, payload: random.bytes(random.between(1000, 9000)) };
    const packet = this.build(options);
    const spoiled = random.once(2) ? mutated(random, packet) : unfinished(packet, options);
    return { bytes: spoiled, meta: metaOf(peer, options.version) };
  }

  /** A super-packet to a peer's pod. */
  egressSuper(): Egress {
    const { random } = this;
    const peer = this.peer();
    const plain = { ...this.#options(SELF_NET, peer.net, 100), ipOptions: empty };
    const protocol = random.pick([TCP, TCP, UDP]);
    const header = (plain.version === 4 ? 20 : 40) + (protocol === TCP ? 32 : 8);
    // TCP may ask for more than the path carries and is cut smaller; a datagram may not.
    const most = protocol === TCP ? 9000 : peer.mtu - header;
    const size = random.once(3) ? random.between(8, 200) : random.between(200, most);
    const limit = random.once(4) ? 16_000 : 3000;
    const payload = random.bytes(random.between(1, Math.min(limit, size * 20)));
    const tcpOptions = protocol === TCP ? TIMESTAMPS : empty;
    const flags = ACK | random.pick([0, PSH, FIN, CWR]);
    const packet = buildPacket({ ...plain, protocol, payload, flags, tcpOptions });
    const start = plain.version === 4 ? 20 : 40;
    const kind = protocol === UDP ? 5 : plain.version === 4 ? 1 : 4;
    const type = flags & CWR && protocol === TCP ? kind | 0x80 : kind;
    const vnet = vnetOf(type, header, size, start, protocol === TCP ? 16 : 6);
    return { peer, vnet, packet, expected: slowSegment(packet, Math.min(size, peer.mtu - header)) };
  }

  /** One datagram from a peer to a pod of ours. */
  ingressSingle(): Ingress {
    const peer = this.peer();
    const options = this.#options(peer.net, SELF_NET, Math.min(peer.mtu, 1450));
    const packet = this.build(options);
    const meta = { ...metaOf(peer, options.version), tos: (options.tos ?? 0) & 3 };
    const hasSum = options.protocol === TCP || options.protocol === UDP;
    const isLeft = peer.protocol === "ipip" && hasSum && this.random.once(2);
    const sent = isLeft ? unfinished(packet, options) : packet;
    return { bytes: wrap(peer, sent, this.#shape()), meta, expected: [packet] };
  }

  /**
   * A train of equal datagrams, the last may be shorter: one flow, or several through each other.
   */
  ingressTrain(): Ingress {
    const { random } = this;
    const peer = this.peer();
    const count = random.between(2, 24);
    const version = random.pick([4, 6] as const);
    const flows = Array.from({ length: random.between(1, 3) }, () => {
      const protocol = random.pick([TCP, UDP]);
      const o = { ...this.#options(peer.net, SELF_NET, 100), protocol, ipOptions: empty };
      return { ...o, tcpOptions: empty, tos: 2, version };
    }).map((o) => ({
      ...{ ...o, source: podAddress(version, peer.net, random.between(2, 9)) },
      destination: podAddress(version, SELF_NET, random.between(2, 9)),
    }));
    const header = version === 4 ? 20 : 40;
    const length = random.between(header + 40, random.once(4) ? 1450 : 200);
    const packets = Array.from({ length: count }, (_, i) => {
      const flow = random.pick(flows);
      const isLast = i + 1 === count;
      const whole = isLast ? random.between(header + 28, length) : length;
      const payload = random.bytes(whole - header - (flow.protocol === TCP ? 20 : 8));
      const packet = buildPacket({ ...flow, payload });
      flow.sequence = ((flow.sequence ?? 0) + payload.length) % 2 ** 32;
      flow.identification = ((flow.identification ?? 0) + 1) & 0xffff;
      return packet;
    });
    const shape = this.#shape();
    const bytes = concat(...packets.map((packet) => wrap(peer, packet, shape)));
    const meta = { ...metaOf(peer, version), segment: outerOf(peer, shape) + length, tos: 2 };
    return { bytes, meta, expected: packets };
  }

  /** A packet that breaks one rule of the mesh. */
  strayOptions(from: number, to: number): PacketOptions {
    const { random } = this;
    const o = this.#options(from, to, 300);
    const v = o.version;
    const foreign = v === 4 ? address4(192, 168, 9, 9) : address6(999, 1);
    const group =
      v === 4
        ? random.pick([address4(224, 0, 0, 9), address4(255, 255, 255, 255)])
        : address6(0, 1);
    if (v === 6) group[0] = 0xff;
    const changes: (() => Partial<PacketOptions>)[] = [
      ...[() => ({ source: foreign }), () => ({ destination: foreign })],
      ...[() => ({ destination: group }), () => ({ source: group }), () => ({ ttl: 0 })],
      () => ({ source: podAddress(v, to, 3) }),
      () => ({ destination: podAddress(v, from, 3) }),
      () => ({ destination: podAddress(v, to, 1) }),
      () => ({ source: new Uint8Array(v === 4 ? 4 : 16) }),
      () => {
        const tcpOptions = random.bytes(4 * random.between(1, 10));
        return { protocol: TCP, flags: SYN, tcpOptions };
      },
      () => ({ protocol: 132 }),
      () => {
        const addresses = { source: address6(from, 3), destination: address6(to, 4) };
        return { version: 6, ...addresses, extensions: this.#chain() };
      },
      () => ({ payload: random.bytes(random.between(1451, 9200)) }),
    ];
    return { ...o, ...random.pick(changes)() };
  }

  /** IPv6 extension headers, half of them nonsense. */
  #chain(): { kind: number; bytes: Uint8Array }[] {
    const { random } = this;
    return Array.from({ length: random.between(1, 10) }, () => {
      const bytes = random.bytes(8 * random.between(1, 3));
      if (random.once(2)) bytes[1] = bytes.length / 8 - 1;
      return { kind: random.pick([0, 43, 44, 60, 51, 50, 59, 255]), bytes };
    });
  }

  /** An ARP request or neighbour solicitation, mostly for our own address. */
  question(peer: FuzzPeer): Uint8Array {
    const { random } = this;
    if (random.once(2)) return this.#solicitation(peer);
    const asked = random.once(3) ? random.bytes(4) : address4(10, 244, 1, 1);
    const arp = concat(
      ...[Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1), peer.mac, address4(10, 244, peer.net, 1)],
      ...[new Uint8Array(6), asked],
    );
    const head = concat(new Uint8Array(6).fill(255), peer.mac, Uint8Array.of(8, 6));
    return wrapFrame(peer, concat(head, arp), this.#shape());
  }

  #solicitation(peer: FuzzPeer): Uint8Array {
    const { random } = this;
    const target = random.once(3) ? random.bytes(16) : address6(1, 1);
    const group = concat(
      Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff),
      target.slice(13),
    );
    const source = random.once(4) ? new Uint8Array(16) : address6(peer.net, 1);
    const asked = concat(Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0), target);
    const payload = random.once(2) ? asked : concat(asked, Uint8Array.of(1, 1), peer.mac);
    const o = { version: 6, protocol: 58, payload, source, destination: group } as const;
    const packet = buildPacket({ ...o, ttl: random.once(6) ? 64 : 255 });
    const pseudo = slowSum(pseudoHeader(packet, 58, payload.length));
    setBe16(packet, 42, slowChecksum(payload, pseudo));
    const to = concat(Uint8Array.of(0x33, 0x33), group.slice(12));
    const frame = concat(to, peer.mac, Uint8Array.of(0x86, 0xdd), packet);
    return wrapFrame(peer, frame, this.#shape());
  }

  probe(peer: FuzzPeer): Uint8Array {
    const { random } = this;
    const version = random.pick([4, 6] as const);
    const payload = concat(
      Uint8Array.of(0x6d, 0x70, 0x72, 0x62, random.between(0, 3)),
      random.bytes(random.between(10, 40)),
    );
    return buildPacket({
      ...{ version, protocol: UDP, payload, sourcePort: 51_997, destinationPort: 51_997 },
      source: version === 4 ? address4(10, 244, peer.net, 1) : address6(peer.net, 1),
      destination: version === 4 ? address4(10, 244, 1, 1) : address6(1, 1),
    });
  }
}

/** Flips, overwrites, cuts or stretches a copy. */
export function mutated(random: Random, bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const span = random.once(2) ? Math.min(copy.length, 80) : copy.length;
  for (let i = random.between(1, 4); i > 0 && span > 0; i--) {
    const at = random.between(0, span - 1);
    copy[at] = random.once(2) ? random.bits() : (copy[at] ?? 0) ^ (1 << random.between(0, 7));
  }
  if (random.once(4)) return copy.subarray(0, random.between(0, copy.length));
  return random.once(8) ? concat(copy, random.bytes(random.between(1, 60))) : copy;
}
