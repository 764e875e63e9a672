// The encapsulations by name: their numbers, and the outer header bytes that the hot path copies
// before each inner packet. A new one is one line in this table and one file in assembly/encap.
import {
  GENEVE_OVERHEAD,
  GRE_OVERHEAD,
  IPIP_OVERHEAD,
  PROTOCOL_GENEVE,
  PROTOCOL_GRE,
  PROTOCOL_IPIP,
  PROTOCOL_UDP,
  PROTOCOL_VXLAN,
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_IPIP4,
  SOCKET_IPIP6,
  SOCKET_UDP,
  SOCKET_VXLAN,
  UDP_OVERHEAD,
  VXLAN_OVERHEAD,
} from "../../assembly/shared/layout.js";
import type { ProtocolName } from "./types.js";

/** What of a peer and of ourselves stands in outer headers. */
export interface TemplateParts {
  peerMac: Uint8Array;
  selfMac: Uint8Array;
  vni: number;
}

export interface Encapsulation {
  /** PROTOCOL_* of assembly/shared/layout.ts. */
  number: number;
  /** SOCKET_*: the kind of UDP socket its datagrams come by; null: they come by raw sockets. */
  socket: number | null;
  /** IP protocols of its raw sockets; none where it comes by UDP. */
  ipProtocols: readonly number[];
  /** Bytes before the inner packet in a datagram that we send. */
  overhead: number;
  /** Whether it carries Ethernet frames between VTEPs, in a network with a number. */
  hasFrames: boolean;
  template(parts: TemplateParts): Uint8Array;
}

/** Eight bytes of tunnel header and the Ethernet header; the ethertype is the hot path's. */
function framed(header: readonly number[], parts: TemplateParts): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes.set(header);
  new DataView(bytes.buffer).setUint32(4, parts.vni * 256);
  bytes.set(parts.peerMac, 8);
  bytes.set(parts.selfMac, 14);
  return bytes;
}

/** Kinds of raw sockets by IP protocol. */
export const RAW_KINDS: ReadonlyMap<number, number> = new Map([
  [4, SOCKET_IPIP4],
  [41, SOCKET_IPIP6],
  [47, SOCKET_GRE],
]);

/** RFC 7348 section 5: the I flag. RFC 8926 section 3.4: no options, payload 0x6558. */
const VXLAN_HEADER = [0x08];
const GENEVE_HEADER = [0, 0, 0x65, 0x58];

export const ENCAPSULATIONS: Record<ProtocolName, Encapsulation> = {
  vxlan: {
    ...{ number: PROTOCOL_VXLAN, socket: SOCKET_VXLAN, overhead: VXLAN_OVERHEAD },
    ...{ ipProtocols: [], hasFrames: true, template: (parts) => framed(VXLAN_HEADER, parts) },
  },
  geneve: {
    ...{ number: PROTOCOL_GENEVE, socket: SOCKET_GENEVE, overhead: GENEVE_OVERHEAD },
    ...{ ipProtocols: [], hasFrames: true, template: (parts) => framed(GENEVE_HEADER, parts) },
  },
  udp: {
    ...{ number: PROTOCOL_UDP, socket: SOCKET_UDP, overhead: UDP_OVERHEAD },
    ...{ ipProtocols: [], hasFrames: false, template: () => new Uint8Array(0) },
  },
  ipip: {
    ...{ number: PROTOCOL_IPIP, socket: null, overhead: IPIP_OVERHEAD },
    ...{ ipProtocols: [4, 41], hasFrames: false, template: () => new Uint8Array(0) },
  },
  gre: {
    ...{ number: PROTOCOL_GRE, socket: null, overhead: GRE_OVERHEAD },
    ...{ ipProtocols: [47], hasFrames: false, template: () => new Uint8Array(GRE_OVERHEAD) },
  },
};
