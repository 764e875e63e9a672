// The encapsulations as the agent knows them, by one table. The next one is one line.
import {
  GENEVE_OVERHEAD,
  GRE_OVERHEAD,
  IPIP_OVERHEAD,
  UDP_OVERHEAD,
  VXLAN_OVERHEAD,
} from "../../assembly/shared/layout.js";
import { type BuiltProtocol, builtProtocols, hasPort } from "../../control/index.js";
import { DEFAULT_TUNNEL_PORTS } from "../config/index.js";
import type { ProtocolName } from "../datapath/index.js";

const IP_HEADER = { 4: 20, 6: 40 } as const;

const UDP_HEADER = 8;

/** Bytes between the outer IP header and the inner IP packet. */
const BYTES_AFTER_IP: Readonly<Record<ProtocolName, number>> = {
  vxlan: UDP_HEADER + VXLAN_OVERHEAD,
  geneve: UDP_HEADER + GENEVE_OVERHEAD,
  udp: UDP_HEADER + UDP_OVERHEAD,
  ipip: IPIP_OVERHEAD,
  gre: GRE_OVERHEAD,
};

export type TunnelProtocol = BuiltProtocol;

/** Encapsulations this agent can receive: what its node record says. */
export const spokenProtocols: readonly TunnelProtocol[] = builtProtocols;

export function isTunnelProtocol(name: string): name is TunnelProtocol {
  return spokenProtocols.some((spoken) => spoken === name);
}

/** Bytes added to an inner IP packet, outer IP header included. */
export function overheadOf(protocol: TunnelProtocol, underlayFamily: 4 | 6): number {
  return IP_HEADER[underlayFamily] + BYTES_AFTER_IP[protocol];
}

/** Whether it travels in UDP: else raw sockets are needed, and there are no ports. */
export const isUdp = hasPort;

/** The port an encapsulation uses when `tunnelPort` is 0; 0 = it has no ports. */
export function defaultPortOf(protocol: TunnelProtocol): number {
  return DEFAULT_TUNNEL_PORTS[protocol] ?? 0;
}
