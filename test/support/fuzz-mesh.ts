// The mesh of the fuzz test: one node, three peers of both underlay families, and what their
// packets look like around the inner one.
import type { TableContents } from "../../src/datapath/types.js";
import type { WireMeta } from "./fuzz-driver.js";
import { address4, address6, concat } from "./packets.js";

export interface FuzzPeer {
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
export const OVERHEAD = 22;

export const PEERS: readonly FuzzPeer[] = [
  { net: 2, vni: 42, mtu: 1450, family: 4, text: "192.0.2.2" },
  { net: 3, vni: 42, mtu: 1300, family: 4, text: "192.0.2.3" },
  { net: 4, vni: 77, mtu: 8930, family: 6, text: "2001:db8:0:ff::4" },
].map(({ net, family, ...rest }) => ({
  ...{ net, family: family as 4 | 6, ...rest, mac: Uint8Array.of(2, 0, 0, 0, 0, net) },
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
    ...{ protocol: "vxlan" as const, address: peer.text, port: 8472, mac: macText(peer.mac) },
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
export function wrap(peer: FuzzPeer, inner: Uint8Array): Uint8Array {
  const type = (inner[0] ?? 0x40) >> 4 === 6 ? [0x86, 0xdd] : [8, 0];
  const vni = Uint8Array.of(8, 0, 0, 0, peer.vni >> 16, peer.vni >> 8, peer.vni, 0);
  return concat(vni, SELF_MAC, peer.mac, Uint8Array.from(type), inner);
}

export function metaOf(peer: FuzzPeer): WireMeta {
  return { from: peer.from, family: peer.family };
}
