// FIB lookups by the addresses of a checked inner packet.
import * as fib from "./fib";
import * as packet from "./packet";
import * as self from "./self";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

/** Result: another next hop owns the source. */
export const FOREIGN: u32 = u32.MAX_VALUE;

/** Next hop that owns the packet's destination, where `owner` is the one that owns its source. */
export function destination(at: usize, owner: u32): u32 {
  if (packet.isIpv4(at)) {
    const root = fib.root4();
    const sourceAt = ipv4.sourceAt(at);
    return fib.lookup4(root, sourceAt) === owner ? fib.lookupNext4(root, sourceAt) : FOREIGN;
  }
  if (fib.lookup6(ipv6.sourceAt(at)) !== owner) return FOREIGN;
  return fib.lookup6(ipv6.destinationAt(at));
}

/** Whether the packet is from this node itself, not from one of its pods. */
export function isFromSelf(at: usize): bool {
  if (packet.isIpv4(at)) return self.hasAddress4() && ipv4.source(at) === self.address4();
  return self.hasAddress6() && ipv6.equal(ipv6.sourceAt(at), self.address6At());
}

/** Whether the packet is for this node itself, not for one of its pods. */
export function isToSelf(at: usize): bool {
  if (packet.isIpv4(at)) return self.hasAddress4() && ipv4.destination(at) === self.address4();
  return self.hasAddress6() && ipv6.equal(ipv6.destinationAt(at), self.address6At());
}
