// The encapsulations as the agent knows them, by one table. The next one is one line.
import {
  ETHERNET_OVERHEAD,
  GENEVE_OVERHEAD,
  GRE_OVERHEAD,
  GRE_WORD,
  IPIP_OVERHEAD,
  PPP_OVERHEAD,
  PPTP_OVERHEAD,
  UDP_OVERHEAD,
  VXLAN_OVERHEAD,
} from "../../assembly/shared/layout.js";
import {
  type BuiltProtocol,
  builtProtocols,
  hasPort,
  type TunnelWords,
} from "../../control/index.js";
import { DEFAULT_TUNNEL_PORTS } from "../config/index.js";
import type { GreOptions, ProtocolName } from "../datapath/index.js";

const IP_HEADER = { 4: 20, 6: 40 } as const;

const UDP_HEADER = 8;

/** GRE headers of four bytes. */
const NO_WORDS: GreOptions = { key: null, checksum: false, sequence: false };

/** Bytes between the outer IP header and the inner IP packet; GRE's depend on its options. */
const BYTES_AFTER_IP: Readonly<Record<Exclude<ProtocolName, "gre">, number>> = {
  vxlan: UDP_HEADER + VXLAN_OVERHEAD,
  geneve: UDP_HEADER + GENEVE_OVERHEAD,
  udp: UDP_HEADER + UDP_OVERHEAD,
  ipip: IPIP_OVERHEAD,
  pptp: PPTP_OVERHEAD + PPP_OVERHEAD,
};

export type TunnelProtocol = BuiltProtocol;

/** Encapsulations this agent can receive: what its node record says. */
export const spokenProtocols: readonly TunnelProtocol[] = builtProtocols;

export function isTunnelProtocol(name: string): name is TunnelProtocol {
  return spokenProtocols.some((spoken) => spoken === name);
}

/** The optional words of GRE headers in a form, or as the mesh's settings have them. */
export function greOptionsOf(words: TunnelWords): GreOptions {
  const { greKey: key = null, greChecksum: checksum = false, greSequence = false } = words;
  return { key, checksum, sequence: greSequence };
}

function greBytes({ key, checksum, sequence, frames = false }: GreOptions): number {
  const words = [key !== null, checksum, sequence].filter(Boolean).length;
  return GRE_OVERHEAD + words * GRE_WORD + (frames ? ETHERNET_OVERHEAD : 0);
}

/** Bytes added to an inner IP packet, outer IP header included. */
export function overheadOf(
  protocol: ProtocolName,
  underlayFamily: 4 | 6,
  gre: GreOptions = NO_WORDS,
): number {
  const bytes = protocol === "gre" ? greBytes(gre) : BYTES_AFTER_IP[protocol];
  return IP_HEADER[underlayFamily] + bytes;
}

/** Whether it travels in UDP: else raw sockets are needed, and there are no ports. */
export const isUdp = hasPort;

/** The port an encapsulation uses when `tunnelPort` is 0; 0 = it has no ports. */
export function defaultPortOf(protocol: ProtocolName): number {
  return DEFAULT_TUNNEL_PORTS[protocol] ?? 0;
}
