// CCP option 18 (RFC 3078 section 2): which strengths a side supports, stateless or not. MPPC, the
// compression that shares the option, is never agreed to.
import type { MppeBits, MppeOptions } from "./types.js";
import { be32, bytesOf } from "./wire.js";

export const MPPE_OPTION = 18;

const STATELESS = 0x01000000;
const BIT: Readonly<Record<MppeBits, number>> = { 128: 0x40, 56: 0x80, 40: 0x20 };
const STRONGEST_FIRST: readonly MppeBits[] = [128, 56, 40];

/** What one direction of a link uses. */
export interface MppeMode {
  bits: MppeBits;
  stateful: boolean;
}

/** The option's 4 bytes. */
export function writeMppe(bits: readonly MppeBits[], stateful: boolean): Uint8Array {
  const strengths = bits.reduce((sum, strength) => sum + BIT[strength], 0);
  return bytesOf(strengths + (stateful ? 0 : STATELESS), 4);
}

export interface MppeOffer {
  /** Strongest first; empty: none (MPPC alone, or obsolete bits). */
  bits: MppeBits[];
  stateful: boolean;
  /** Compression, obsolete or reserved bits are set as well. */
  hasMore: boolean;
}

/** An option's value; null when its length is wrong. */
export function readMppe(value: Uint8Array): MppeOffer | null {
  if (value.length !== 4) return null;
  const word = be32(value, 0);
  const bits = STRONGEST_FIRST.filter((strength) => (word & BIT[strength]) !== 0);
  const stateful = (word & STATELESS) === 0;
  const known = bits.reduce((sum, strength) => sum + BIT[strength], stateful ? 0 : STATELESS);
  return { bits, stateful, hasMore: known !== word };
}

/** The one mode that an option names, or null: several, none, or more than encryption. */
export function modeOf(value: Uint8Array): MppeMode | null {
  const offer = readMppe(value);
  const [bits, another] = offer?.bits ?? [];
  if (offer === null || bits === undefined || another !== undefined || offer.hasMore) return null;
  return { bits, stateful: offer.stateful };
}

/** What is allowed, strongest first. */
export function allowedBits(options: MppeOptions): MppeBits[] {
  return STRONGEST_FIRST.filter((strength) => options.bits.includes(strength));
}

/** The best mode for an offer under `options`; null when nothing is common. */
export function bestMode(offer: MppeOffer, options: MppeOptions): MppeMode | null {
  const bits = allowedBits(options).find((strength) => offer.bits.includes(strength));
  return bits === undefined ? null : { bits, stateful: offer.stateful && options.stateful };
}
