// Table contents of small meshes for tests of the hot path: node I has 10.244.I.0/24, fd00:I::/64,
// underlay address 192.0.2.I, node addresses 10.244.I.1 and fd00:I::1, VTEP MAC 02:00:00:00:00:0I.
import type { TableContents, TablePeer } from "../../src/datapath/types.js";
import {
  buildPacket,
  concat,
  type PacketOptions,
  setBe16,
  setBe32,
  slowChecksum,
  UDP,
} from "./packets.js";

export const VNI = 42;
export const MTU = 1450;
export const VXLAN_PORT = 8472;

export const underlayOf = (node: number): string => `192.0.2.${node}`;

export function macOf(node: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, 0, node);
}

export function macText(node: number): string {
  return Array.from(macOf(node), (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

export function peerOf(node: number, changes: Partial<TablePeer> = {}): TablePeer {
  return {
    protocol: "vxlan",
    address: underlayOf(node),
    port: VXLAN_PORT,
    mac: macText(node),
    vni: VNI,
    mtu: MTU,
    prefixes: [`10.244.${node}.0/24`, `fd00:${node}::/64`],
    ...changes,
  };
}

/** What node `self` knows of a mesh of these peers. */
export function contentsOf(self: number, peers: readonly (number | TablePeer)[]): TableContents {
  return {
    self: {
      mac: macText(self),
      vni: VNI,
      mtu: MTU,
      addresses: [`10.244.${self}.1`, `fd00:${self}::1`],
      prefixes: [`10.244.${self}.0/24`, `fd00:${self}::/64`],
      udpPort: VXLAN_PORT,
    },
    peers: peers.map((peer) => (typeof peer === "number" ? peerOf(peer) : peer)),
  };
}

/** 10.244.<node>.<host> */
export function pod4(node: number, host: number): Uint8Array {
  return Uint8Array.of(10, 244, node, host);
}

/** fd00:<node>::<host> */
export function pod6(node: number, host: number): Uint8Array {
  const out = new Uint8Array(16);
  out.set([0xfd, 0, 0, node]);
  setBe16(out, 14, host);
  return out;
}

export function pod(version: 4 | 6, node: number, host: number): Uint8Array {
  return version === 4 ? pod4(node, host) : pod6(node, host);
}

/** A packet from a pod of one node to a pod of another; UDP with 18 bytes unless said otherwise. */
export function podPacket(
  version: 4 | 6,
  from: number,
  to: number,
  changes: Partial<PacketOptions> = {},
): Uint8Array {
  return buildPacket({
    version,
    protocol: UDP,
    payload: new Uint8Array(18).fill(0x5a),
    source: pod(version, from, 7),
    destination: pod(version, to, 9),
    ...changes,
  });
}

export interface FrameChanges {
  vni?: number;
  to?: Uint8Array;
  from?: Uint8Array;
  type?: number;
}

/** The Ethernet frame from node 2's VTEP to node 1's, unless said otherwise. */
export function frameOf(inner: Uint8Array, changes: FrameChanges = {}): Uint8Array {
  const header = new Uint8Array(14);
  header.set(changes.to ?? macOf(1));
  header.set(changes.from ?? macOf(2), 6);
  const isV6 = (inner[0] ?? 0) >> 4 === 6;
  setBe16(header, 12, changes.type ?? (isV6 ? 0x86dd : 0x0800));
  return concat(header, inner);
}

/** One Geneve option (RFC 8926 section 3.5); `words` says another length than it has. */
export function geneveOption(kind: number, data: Uint8Array, words?: number): Uint8Array {
  const length = words ?? data.length / 4;
  return concat(Uint8Array.of(0xff, 0x01, kind, length), data);
}

/**
 * A Geneve datagram as another implementation would write it, field by field (RFC 8926 section
 * 3.4): `payload` of ethertype `carried`, behind the options.
 */
export function geneveDatagram(
  payload: Uint8Array,
  changes: {
    carried?: number;
    options?: Uint8Array;
    words?: number;
    flags?: number;
    version?: number;
    vni?: number;
  } = {},
): Uint8Array {
  const options = changes.options ?? new Uint8Array(0);
  const header = new Uint8Array(8);
  const vni = changes.vni ?? VNI;
  header[0] = ((changes.version ?? 0) << 6) | (changes.words ?? options.length / 4);
  header[1] = changes.flags ?? 0;
  setBe16(header, 2, changes.carried ?? 0x6558);
  header.set([vni >> 16, (vni >> 8) & 255, vni & 255], 4);
  return concat(header, options, payload);
}

/** The outer IPv4 header (RFC 791) that a raw socket hands over with a packet, from node 2. */
export function outerIpv4(protocol: number, options = new Uint8Array(0)): Uint8Array {
  const header = new Uint8Array(20);
  header.set([0x45 + options.length / 4, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol]);
  header.set([192, 0, 2, 2, 192, 0, 2, 1], 12);
  return concat(header, options);
}

export interface GreChanges {
  /** Ethertype of the payload; that of the IP packet unless said otherwise. */
  carried?: number;
  key?: number;
  checksum?: boolean;
  sequence?: number;
  /** Bits that are set beside those. */
  flags?: number;
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  setBe32(bytes, 0, value);
  return bytes;
}

/** A GRE packet as another implementation would write it, word by word (RFC 2890 section 2). */
export function grePacket(payload: Uint8Array, changes: GreChanges = {}): Uint8Array {
  const { key, checksum = false, sequence, flags = 0 } = changes;
  const bits =
    (checksum ? 0x8000 : 0) |
    (key === undefined ? 0 : 0x2000) |
    (sequence === undefined ? 0 : 0x1000);
  const head = new Uint8Array(4);
  setBe16(head, 0, bits | flags);
  setBe16(head, 2, changes.carried ?? ((payload[0] ?? 0) >> 4 === 6 ? 0x86dd : 0x0800));
  const words = [checksum ? 0 : undefined, key, sequence].filter((one) => one !== undefined);
  const packet = concat(head, ...words.map(word), payload);
  if (checksum) setBe16(packet, 4, slowChecksum(packet));
  return packet;
}

/**
 * A VXLAN datagram as another implementation would write it, field by field (RFC 7348 section 5).
 */
export function vxlanDatagram(
  inner: Uint8Array,
  changes: FrameChanges & { flags?: number } = {},
): Uint8Array {
  const header = new Uint8Array(8);
  const vni = changes.vni ?? VNI;
  header[0] = changes.flags ?? 0x08;
  header.set([vni >> 16, (vni >> 8) & 255, vni & 255], 4);
  return concat(header, frameOf(inner, changes));
}
