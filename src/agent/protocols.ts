// The encapsulations by one table: bytes they add and the port they use. The next one is one line.
// Numbers: VXLAN RFC 7348 section 5 (outer IP + UDP 8 + VXLAN 8 + inner Ethernet 14).
import { DEFAULT_TUNNEL_PORTS } from "../config/index.js";

const IP_HEADER = { 4: 20, 6: 40 } as const;

/** Bytes between the outer IP header and the inner IP packet. */
const BYTES_AFTER_IP = { vxlan: 8 + 8 + 14 } as const;

export type TunnelProtocol = keyof typeof BYTES_AFTER_IP;

export function isTunnelProtocol(name: string): name is TunnelProtocol {
  return Object.hasOwn(BYTES_AFTER_IP, name);
}

/** Bytes added to an inner IP packet, outer IP header included. */
export function overheadOf(protocol: TunnelProtocol, underlayFamily: 4 | 6): number {
  return IP_HEADER[underlayFamily] + BYTES_AFTER_IP[protocol];
}

/** The port an encapsulation uses when `tunnelPort` is 0. */
export function defaultPortOf(protocol: TunnelProtocol): number {
  return DEFAULT_TUNNEL_PORTS[protocol] ?? 0;
}
