// The outer header bytes that the hot path copies before each inner packet: one writer per
// protocol, so that a new encapsulation is one line in this table and one file in assembly/encap.
import { PROTOCOL_VXLAN } from "../../assembly/shared/layout.js";
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
  template(parts: TemplateParts): Uint8Array;
}

/** VXLAN header (RFC 7348 section 5) and Ethernet header; the ethertype is the hot path's. */
function vxlanTemplate(parts: TemplateParts): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes[0] = 0x08;
  new DataView(bytes.buffer).setUint32(4, parts.vni * 256);
  bytes.set(parts.peerMac, 8);
  bytes.set(parts.selfMac, 14);
  return bytes;
}

export const ENCAPSULATIONS: Record<ProtocolName, Encapsulation> = {
  vxlan: { number: PROTOCOL_VXLAN, template: vxlanTemplate },
};
