// The one check at the door for an inner IP packet, of either version.
import * as checksum from "./checksum";
import { Drop } from "./shared/drop";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

/**
 * Checks the IP header of the packet at `at` with `length` bytes at hand; more than the header says
 * is padding. Returns the packet's own length, or -Drop. After that no accessor can fail.
 */
export function check(at: usize, length: u32): i32 {
  if (length === 0) return -Drop.TOO_SHORT;
  const version: u32 = load<u8>(at) >> 4;
  if (version === 4) return ipv4.check(at, length);
  return version === 6 ? ipv6.check(at, length) : -Drop.BAD_IP_VERSION;
}

/** Whether a checked packet is IPv4; else it is IPv6. */
export function isIpv4(at: usize): bool {
  return load<u8>(at) >> 4 === 4;
}

/** TTL or hop limit of a checked packet. */
export function ttl(at: usize): u32 {
  return isIpv4(at) ? ipv4.ttl(at) : ipv6.hopLimit(at);
}

/** Takes one hop off a checked packet that has more than one. */
export function lowerTtl(at: usize): void {
  if (!isIpv4(at)) {
    ipv6.setHopLimit(at, ipv6.hopLimit(at) - 1);
    return;
  }
  const before = ipv4.ttlAndProtocol(at);
  ipv4.setTtl(at, ipv4.ttl(at) - 1);
  ipv4.setChecksum(at, checksum.update(ipv4.checksum(at), before, ipv4.ttlAndProtocol(at)));
}

/** Drop reason where a checked packet goes to a group or to all, else Drop.NONE. */
export function groupReason(at: usize): u32 {
  if (!isIpv4(at)) {
    return ipv6.isMulticast(ipv6.destinationAt(at)) ? Drop.MULTICAST : Drop.NONE;
  }
  if (ipv4.isToMulticast(at)) return Drop.MULTICAST;
  return ipv4.isToBroadcast(at) ? Drop.BROADCAST : Drop.NONE;
}
