// The mesh of the fuzz test: one node, three peers of both underlay families, and what their
// packets look like around the inner one.
import {
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_IPIP4,
  SOCKET_UDP,
  SOCKET_VXLAN,
} from "../../assembly/shared/layout.js";
import type { ProtocolName, TableContents } from "../../src/datapath/types.js";
import type { WireMeta } from "./fuzz-driver.js";
import { address4, address6, concat } from "./packets.js";

export interface FuzzPeer {
  protocol: ProtocolName;
  net: number;
  mac: Uint8Array;
  vni: number;
  mtu: number;
  from: Uint8Array;
  family: 4 | 6;
  text: string;
}

export const SELF_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
export const SELF_NET = 1;
/** Bytes before the inner packet in a datagram that we send. */
export const OVERHEADS: Readonly<Record<ProtocolName, number>> = {
  ...{ vxlan: 22, geneve: 22, udp: 0, ipip: 0, gre: 4 },
};
const SOCKETS: Readonly<Record<ProtocolName, number>> = {
  ...{ vxlan: SOCKET_VXLAN, geneve: SOCKET_GENEVE, udp: SOCKET_UDP },
  ...{ ipip: SOCKET_IPIP4, gre: SOCKET_GRE },
};

export const PEERS: readonly FuzzPeer[] = [
  { net: 2, vni: 42, mtu: 1450, family: 4, text: "192.0.2.2", protocol: "vxlan" },
  { net: 3, vni: 42, mtu: 1300, family: 4, text: "192.0.2.3", protocol: "vxlan" },
  { net: 4, vni: 77, mtu: 8930, family: 6, text: "2001:db8:0:ff::4", protocol: "vxlan" },
  { net: 5, vni: 42, mtu: 1450, family: 4, text: "192.0.2.5", protocol: "geneve" },
  { net: 6, vni: 78, mtu: 1430, family: 6, text: "2001:db8:0:ff::6", protocol: "geneve" },
  { net: 7, vni: 0, mtu: 1472, family: 4, text: "192.0.2.7", protocol: "udp" },
  { net: 8, vni: 0, mtu: 1300, family: 6, text: "2001:db8:0:ff::8", protocol: "udp" },
].map(({ net, family, protocol, ...rest }) => ({
  ...{ net, family: family as 4 | 6, protocol: protocol as ProtocolName, ...rest },
  mac: Uint8Array.of(2, 0, 0, 0, 0, net),
  from: family === 4 ? concat(address4(192, 0, 2, net), new Uint8Array(12)) : address6(0xff, net),
}));

const macText = (mac: Uint8Array) => [...mac].map((b) => b.toString(16).padStart(2, "0")).join(":");
const prefixes = (net: number) => [`10.244.${net}.0/24`, `2001:db8:0:${net}::/64`];

export const CONTENTS: TableContents = {
  self: {
    ...{ mac: macText(SELF_MAC), vni: 42, mtu: 8930, udpPort: 8472 },
    ...{ addresses: ["10.244.1.1", "2001:db8:0:1::1"], prefixes: prefixes(SELF_NET) },
  },
  peers: PEERS.map((peer) => ({
    ...{ protocol: peer.protocol, address: peer.text, port: 8472, mac: macText(peer.mac) },
    ...{ vni: peer.vni, mtu: peer.mtu, prefixes: prefixes(peer.net) },
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

/** What a Geneve sender may choose: options, and to send IP bare. */
export interface Shape {
  options: Uint8Array;
  isBare: boolean;
}

export const PLAIN: Shape = { options: new Uint8Array(0), isBare: false };

/** The datagram in which a peer sends an Ethernet frame; where it sends IP alone, what is in it. */
export function wrapFrame(peer: FuzzPeer, frame: Uint8Array, shape: Shape = PLAIN): Uint8Array {
  const vni = Uint8Array.of(peer.vni >> 16, peer.vni >> 8, peer.vni, 0);
  if (peer.protocol === "udp") return frame.slice(14);
  if (peer.protocol === "vxlan") return concat(Uint8Array.of(8, 0, 0, 0), vni, frame);
  const { options, isBare } = shape;
  const type = isBare ? frame.slice(12, 14) : Uint8Array.of(0x65, 0x58);
  const first = Uint8Array.of(options.length / 4, 0);
  return concat(first, type, vni, options, isBare ? frame.slice(14) : frame);
}

/** Bytes before the inner packet in a datagram of that shape. */
export function outerOf(peer: FuzzPeer, { options, isBare }: Shape): number {
  return peer.protocol === "geneve"
    ? 8 + options.length + (isBare ? 0 : 14)
    : OVERHEADS[peer.protocol];
}

export function metaOf(peer: FuzzPeer): WireMeta {
  return { from: peer.from, family: peer.family, socket: SOCKETS[peer.protocol] };
}
