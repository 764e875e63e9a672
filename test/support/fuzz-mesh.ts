// The mesh of the fuzz test: one node, peers of all encapsulations and both underlay families, and
// what their packets look like around the inner one.
import {
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_IPIP4,
  SOCKET_IPIP6,
  SOCKET_UDP,
  SOCKET_VXLAN,
} from "../../assembly/shared/layout.js";
import type { GreOptions, ProtocolName, TableContents } from "../../src/datapath/types.js";
import type { WireMeta } from "./fuzz-driver.js";
import { grePacket, outerIpv4 } from "./nodes.js";
import { address4, address6, be16, concat } from "./packets.js";

export interface FuzzPeer {
  protocol: ProtocolName;
  net: number;
  mac: Uint8Array;
  vni: number;
  mtu: number;
  from: Uint8Array;
  family: 4 | 6;
  text: string;
  /** Optional words of GRE headers. */
  gre: GreOptions;
  /** Whether a GRE peer is sent frames. */
  isFramed: boolean;
  /** Network numbers are security identities: `vni` is its pods', OUR_IDENTITY ours. */
  hasIdentity: boolean;
}

/** What our pods' packets say to peers that have identities. */
export const OUR_IDENTITY = 257;

export const SELF_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
export const SELF_NET = 1;
/** Bytes of VXLAN's and Geneve's headers with the frame's. */
export const FRAMED = 22;
const SOCKETS: Readonly<Record<ProtocolName, number>> = {
  ...{ vxlan: SOCKET_VXLAN, geneve: SOCKET_GENEVE, udp: SOCKET_UDP },
  ...{ ipip: SOCKET_IPIP4, gre: SOCKET_GRE, pptp: SOCKET_GRE },
};

/** The sockets that datagrams of an encapsulation come in at. */
export function socketsOf(protocol: ProtocolName): number[] {
  return protocol === "ipip" ? [SOCKET_IPIP4, SOCKET_IPIP6] : [SOCKETS[protocol]];
}

const NO_WORDS: GreOptions = { key: null, checksum: false, sequence: false };
const KEYED: GreOptions = { key: 0xdeadbeef, checksum: false, sequence: false };
const ALL_WORDS: GreOptions = { key: 0xc0ffee42, checksum: true, sequence: true };

export const PEERS: readonly FuzzPeer[] = [
  { net: 2, vni: 42, mtu: 1450, family: 4, text: "192.0.2.2", protocol: "vxlan" },
  { net: 3, vni: 42, mtu: 1300, family: 4, text: "192.0.2.3", protocol: "vxlan" },
  { net: 4, vni: 77, mtu: 8930, family: 6, text: "2001:db8:0:ff::4", protocol: "vxlan" },
  { net: 5, vni: 42, mtu: 1450, family: 4, text: "192.0.2.5", protocol: "geneve" },
  { net: 6, vni: 78, mtu: 1430, family: 6, text: "2001:db8:0:ff::6", protocol: "geneve" },
  { net: 7, vni: 0, mtu: 1472, family: 4, text: "192.0.2.7", protocol: "udp" },
  { net: 8, vni: 0, mtu: 1300, family: 6, text: "2001:db8:0:ff::8", protocol: "udp" },
  { net: 9, vni: 0, mtu: 1476, family: 4, text: "192.0.2.9", protocol: "gre" },
  {
    net: 10,
    vni: 0,
    mtu: 1444,
    family: 6,
    text: "2001:db8:0:ff::a",
    protocol: "gre",
    gre: ALL_WORDS,
  },
  { net: 11, vni: 0, mtu: 1300, family: 4, text: "192.0.2.11", protocol: "gre", gre: KEYED },
  { net: 12, vni: 0, mtu: 1480, family: 4, text: "192.0.2.12", protocol: "ipip" },
  { net: 13, vni: 0, mtu: 1460, family: 6, text: "2001:db8:0:ff::d", protocol: "ipip" },
  { net: 14, vni: 270, mtu: 1450, family: 4, text: "192.0.2.14", protocol: "vxlan", id: true },
  {
    net: 15,
    vni: 271,
    mtu: 1430,
    family: 6,
    text: "2001:db8:0:ff::f",
    protocol: "geneve",
    id: true,
  },
].map(({ net, family, protocol, gre = NO_WORDS, id = false, ...rest }) => ({
  ...{ gre, isFramed: gre.key === KEYED.key, hasIdentity: id },
  ...{ net, family: family as 4 | 6, protocol: protocol as ProtocolName, ...rest },
  mac: Uint8Array.of(2, 0, 0, 0, 0, net),
  from: family === 4 ? concat(address4(192, 0, 2, net), new Uint8Array(12)) : address6(0xff, net),
}));

const macText = (mac: Uint8Array) => [...mac].map((b) => b.toString(16).padStart(2, "0")).join(":");
const prefixes = (net: number) => [`10.244.${net}.0/24`, `2001:db8:0:${net.toString(16)}::/64`];

const IDENTITIES = { vni: OUR_IDENTITY, identities: { sends: true, receives: true } };

export const CONTENTS: TableContents = {
  self: {
    ...{ mac: macText(SELF_MAC), vni: 42, mtu: 8930, udpPort: 8472 },
    ...{ addresses: ["10.244.1.1", "2001:db8:0:1::1"], prefixes: prefixes(SELF_NET) },
  },
  peers: PEERS.map(({ protocol, gre, isFramed, hasIdentity, ...peer }) => ({
    ...{ protocol, gre: { ...gre, frames: isFramed }, address: peer.text, port: 8472 },
    mac: macText(peer.mac),
    ...{ vni: peer.vni, mtu: peer.mtu, prefixes: prefixes(peer.net) },
    ...(hasIdentity ? { ...IDENTITIES, vnis: [peer.vni] } : {}),
  })),
};

export const PLAIN_VNET = new Uint8Array(10);

export function vnetOf(
  gsoType: number,
  header: number,
  size: number,
  start: number,
  field: number,
) {
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 1);
  view.setUint8(1, gsoType);
  view.setUint16(2, header, true);
  view.setUint16(4, size, true);
  view.setUint16(6, start, true);
  view.setUint16(8, field, true);
  return bytes;
}

/** An address of a node's pod; never the node's own. */
export function podAddress(version: 4 | 6, net: number, host: number): Uint8Array {
  return version === 4 ? address4(10, 244, net, host) : address6(net, host);
}

/** The datagram in which a peer sends an inner packet to us. */
export function wrap(peer: FuzzPeer, inner: Uint8Array, shape: Shape = PLAIN): Uint8Array {
  const isV6 = (inner[0] ?? 0x40) >> 4 === 6;
  const type = Uint8Array.from(isV6 ? [0x86, 0xdd] : [8, 0]);
  return wrapFrame(peer, concat(SELF_MAC, peer.mac, type, inner), shape);
}

/** What a sender may choose: Geneve's options, GRE's checksum, and to send IP bare. */
export interface Shape {
  options: Uint8Array;
  isBare: boolean;
  hasChecksum: boolean;
}

export const PLAIN: Shape = { options: new Uint8Array(0), isBare: false, hasChecksum: false };

/** Number of the next packet from the one peer whose packets are numbered. */
export const numbering = { next: 0 };

/** The datagram in which a peer sends an Ethernet frame; where it sends IP alone, what is in it. */
export function wrapFrame(peer: FuzzPeer, frame: Uint8Array, shape: Shape = PLAIN): Uint8Array {
  const vni = Uint8Array.of(peer.vni >> 16, peer.vni >> 8, peer.vni, 0);
  if (peer.protocol === "udp" || peer.protocol === "ipip") return frame.slice(14);
  if (peer.protocol === "vxlan") return concat(Uint8Array.of(8, 0, 0, 0), vni, frame);
  if (peer.protocol === "gre") return wrapGre(peer, frame, shape);
  const { options, isBare } = shape;
  const type = isBare ? frame.slice(12, 14) : Uint8Array.of(0x65, 0x58);
  const first = Uint8Array.of(options.length / 4, 0);
  return concat(first, type, vni, options, isBare ? frame.slice(14) : frame);
}

function wrapGre(peer: FuzzPeer, frame: Uint8Array, shape: Shape): Uint8Array {
  const { key, sequence } = peer.gre;
  return grePacket(shape.isBare ? frame.slice(14) : frame, {
    ...(key === null ? {} : { key }),
    ...(sequence ? { sequence: numbering.next++ } : {}),
    carried: shape.isBare ? be16(frame, 12) : 0x6558,
    checksum: shape.hasChecksum,
  });
}

/** Bytes of a peer's GRE header. */
function greLength({ gre }: FuzzPeer, hasChecksum: boolean): number {
  return 4 + (gre.key === null ? 0 : 4) + (gre.sequence ? 4 : 0) + (hasChecksum ? 4 : 0);
}

/** Bytes before the inner packet in a datagram of that shape. */
export function outerOf(peer: FuzzPeer, shape: Shape): number {
  const frame = shape.isBare ? 0 : 14;
  if (peer.protocol === "gre") return greLength(peer, shape.hasChecksum) + frame;
  if (peer.protocol === "geneve") return 8 + shape.options.length + frame;
  return peer.protocol === "vxlan" ? FRAMED : 0;
}

/** Bytes before the inner packet in a datagram that we send. */
export function ownOuterOf(peer: FuzzPeer): number {
  const { gre, isFramed } = peer;
  return outerOf(peer, {
    ...PLAIN,
    hasChecksum: gre.checksum,
    isBare: peer.protocol === "gre" && !isFramed,
  });
}

/** How a datagram of a peer comes in; `version` is that of the packet inside. */
export function metaOf(peer: FuzzPeer, version: 4 | 6 = 4): WireMeta {
  const isSix = peer.protocol === "ipip" && version === 6;
  const socket = isSix ? SOCKET_IPIP6 : SOCKETS[peer.protocol];
  const meta = { from: peer.from, family: peer.family, socket };
  if (socket < SOCKET_IPIP4 || peer.family === 6) return meta;
  const ipProtocols = new Map([
    [SOCKET_IPIP4, 4],
    [SOCKET_IPIP6, 41],
  ]);
  return { ...meta, before: outerIpv4(ipProtocols.get(socket) ?? 47) };
}
