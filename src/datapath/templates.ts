// The encapsulations by name: their numbers, and the outer header bytes that the hot path copies
// before each inner packet. A new one is one line in this table and one file in assembly/encap.
import {
  ETHERNET_OVERHEAD,
  GENEVE_OVERHEAD,
  GRE_OVERHEAD,
  GRE_WORD,
  IPIP_OVERHEAD,
  PPP_OVERHEAD,
  PPTP_OVERHEAD,
  PROTOCOL_GENEVE,
  PROTOCOL_GRE,
  PROTOCOL_IPIP,
  PROTOCOL_PPTP,
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
import type { CallOptions, GreOptions, ProtocolName } from "./types.js";

/** What of a peer and of ourselves stands in outer headers. */
export interface TemplateParts {
  /** IP version of the packet inside. */
  version: 4 | 6;
  peerMac: Uint8Array;
  selfMac: Uint8Array;
  vni: number;
  gre: GreOptions;
  pptp: CallOptions;
}

export interface Encapsulation {
  /** PROTOCOL_* of assembly/shared/layout.ts. */
  number: number;
  /** SOCKET_*: the kind of UDP socket its datagrams come by; null: they come by raw sockets. */
  socket: number | null;
  /** IP protocols of its raw sockets; none where it comes by UDP. */
  ipProtocols: readonly number[];
  /** Bytes before the inner packet in a datagram that we send; GRE: at least. */
  overhead: number;
  /** Whether it carries Ethernet frames between VTEPs, in a network with a number. */
  hasFrames: boolean;
  /** All bytes before the inner packet in a datagram that we send. */
  template(parts: TemplateParts): Uint8Array;
}

/** Ethertypes of what is inside. */
const TYPES = { 4: [0x08, 0x00], 6: [0x86, 0xdd] } as const;

function frameHeader({ version, peerMac, selfMac }: TemplateParts): number[] {
  return [...peerMac, ...selfMac, ...TYPES[version]];
}

/** Eight bytes of tunnel header and the Ethernet header. */
function framed(header: readonly number[], parts: TemplateParts): Uint8Array {
  const bytes = new Uint8Array(FRAMED_SIZE);
  bytes.set(header);
  new DataView(bytes.buffer).setUint32(4, parts.vni * 256);
  bytes.set(frameHeader(parts), 8);
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
const FRAMED_SIZE = 8 + ETHERNET_OVERHEAD;
/** RFC 2890 section 2: the flags in the first byte; what is inside when it is a frame. */
const GRE_FLAGS = { checksum: 0x80, key: 0x20, sequence: 0x10 };
const GRE_FRAME = [0x65, 0x58];

/** Bytes of a GRE header with these options. */
function greHeaderLength({ key, checksum, sequence }: GreOptions): number {
  const words = Number(checksum) + Number(key !== null) + Number(sequence);
  return GRE_OVERHEAD + words * GRE_WORD;
}

/** Checksum and number are the hot path's. */
function greTemplate(parts: TemplateParts): Uint8Array {
  const { checksum, key, sequence, frames = false } = parts.gre;
  const header = new Uint8Array(greHeaderLength(parts.gre));
  const flags = [
    ...(checksum ? [GRE_FLAGS.checksum] : []),
    ...(key === null ? [] : [GRE_FLAGS.key]),
    ...(sequence ? [GRE_FLAGS.sequence] : []),
  ];
  header[0] = flags.reduce((sum, flag) => sum + flag, 0);
  header.set(frames ? GRE_FRAME : TYPES[parts.version], 2);
  const keyAt = GRE_OVERHEAD + (checksum ? GRE_WORD : 0);
  if (key !== null) new DataView(header.buffer).setUint32(keyAt, key);
  return Uint8Array.of(...header, ...(frames ? frameHeader(parts) : []));
}

/**
 * RFC 2637 section 4.1: enhanced GRE with key, number and acknowledgment, whose values are the hot
 * path's; RFC 1661 section 2 and RFC 3078 section 3: PPP's header, MPPE's count, what is inside.
 */
function pptpTemplate({ version, pptp }: TemplateParts): Uint8Array {
  const gre = new Uint8Array(PPTP_OVERHEAD);
  gre.set([0x30, 0x81, 0x88, 0x0b]);
  const address = pptp.acfc ? [] : [0xff, 0x03];
  const short = (protocol: number) => (pptp.pfc ? [protocol] : [0, protocol]);
  const inside = version === 4 ? 0x21 : 0x57;
  const ppp = pptp.encrypted ? [...short(0xfd), 0, 0, 0, inside] : short(inside);
  return Uint8Array.of(...gre, ...address, ...ppp);
}

export const ENCAPSULATIONS: Record<ProtocolName, Encapsulation> = {
  vxlan: {
    ...{ number: PROTOCOL_VXLAN, socket: SOCKET_VXLAN, ipProtocols: [], hasFrames: true },
    ...{ overhead: VXLAN_OVERHEAD, template: (parts) => framed(VXLAN_HEADER, parts) },
  },
  geneve: {
    ...{ number: PROTOCOL_GENEVE, socket: SOCKET_GENEVE, ipProtocols: [], hasFrames: true },
    ...{ overhead: GENEVE_OVERHEAD, template: (parts) => framed(GENEVE_HEADER, parts) },
  },
  udp: {
    ...{ number: PROTOCOL_UDP, socket: SOCKET_UDP, ipProtocols: [], hasFrames: false },
    ...{ overhead: UDP_OVERHEAD, template: () => new Uint8Array(0) },
  },
  ipip: {
    ...{ number: PROTOCOL_IPIP, socket: null, ipProtocols: [4, 41], hasFrames: false },
    ...{ overhead: IPIP_OVERHEAD, template: () => new Uint8Array(0) },
  },
  gre: {
    ...{ number: PROTOCOL_GRE, socket: null, ipProtocols: [47], hasFrames: false },
    ...{ overhead: GRE_OVERHEAD, template: greTemplate },
  },
  pptp: {
    ...{ number: PROTOCOL_PPTP, socket: null, ipProtocols: [47], hasFrames: false },
    ...{ overhead: PPTP_OVERHEAD + PPP_OVERHEAD, template: pptpTemplate },
  },
};
