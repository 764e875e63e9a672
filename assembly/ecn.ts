// Explicit congestion notification across the tunnel, RFC 6040: normal mode copies the inner bits
// out on encap; on decap the table of section 4.2 joins both.
import { update } from "./checksum";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

/** Low two bits of TOS and traffic class. */
export const MASK: u32 = 3;
export const NOT_ECT: u32 = 0;
export const ECT1: u32 = 1;
export const ECT0: u32 = 2;
export const CE: u32 = 3;

/**
 * The ECN bits of the packet that leaves the tunnel, or -1 where it must be dropped (outer CE over
 * an inner that knows no ECN). Arguments may be whole TOS bytes.
 */
export function decap(innerTos: u32, outerTos: u32): i32 {
  const inner = innerTos & MASK;
  const outer = outerTos & MASK;
  if (inner == NOT_ECT) return outer == CE ? -1 : NOT_ECT;
  if (outer == CE) return CE;
  // ECT(1) outside may mark a milder congestion than CE (RFC 6040 section 3.2): it wins over
  // ECT(0).
  return inner == ECT0 && outer == ECT1 ? ECT1 : inner;
}

/** TOS or traffic class of the IP packet at `innerAt`. */
export function tos(innerAt: usize): u32 {
  return load<u8>(innerAt) >> 4 == 4 ? ipv4.tos(innerAt) : ipv6.trafficClass(innerAt);
}

/** Sets TOS or traffic class; IPv4's header checksum is updated by RFC 1624. */
export function setTos(innerAt: usize, value: u32): void {
  const before: u32 = load<u16>(innerAt);
  if ((before & 0xf0) == 0x40) {
    const after = (before & 0xff) | (value << 8);
    store<u16>(innerAt, after);
    ipv4.setChecksum(innerAt, update(ipv4.checksum(innerAt), before, after));
    return;
  }
  store<u16>(innerAt, bswap<u16>(<u16>((bswap<u16>(<u16>before) & 0xf00f) | (value << 4))));
}
