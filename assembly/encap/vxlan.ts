// VXLAN, RFC 7348, with Ethernet inside. Needs a UDP socket; no session, no clock. Flags and fields
// of the group policy extension are reserved bits here, which are ignored on receipt.
import * as frame from "../frame";
import * as network from "../network";
import { Drop } from "../shared/drop";
import { PROTOCOL_VXLAN, VXLAN_OVERHEAD } from "../shared/layout";
import * as vxlan from "../wire/vxlan";

/** Bytes before the inner IP packet, in the datagram. */
export const OVERHEAD: u32 = VXLAN_OVERHEAD;

/** Writes the headers before the packet at `innerAt`. */
export function encap(peer: usize, innerAt: usize): void {
  frame.write(peer, innerAt);
}

/** Whether the headers, which are there, are as most are: of our network, and no question. */
function isPlain(peer: usize, at: usize): bool {
  if (!vxlan.hasVni(at) || !network.isAccepted(peer, vxlan.vni(at))) return false;
  return frame.isPlain(at + vxlan.SIZE);
}

/**
 * Checks the headers of the datagram at `at`. Returns the offset of the inner IP packet,
 * neighbour.ANSWERED when it was a question that has been answered, or -Drop.
 */
export function decap(peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  if (length > OVERHEAD && isPlain(peer, at)) return OVERHEAD;
  if (length < OVERHEAD) return -Drop.TOO_SHORT;
  if (!vxlan.hasVni(at)) return -Drop.BAD_FLAGS;
  if (!network.isAccepted(peer, vxlan.vni(at))) return -network.reason(peer);
  const own = frame.ownHeader(peer, PROTOCOL_VXLAN, vxlan.SIZE);
  return frame.decap(peerIndex, peer, at, length, vxlan.SIZE, own);
}

/** Whether both headers, VXLAN and Ethernet, are equal. */
export function isRepeated(a: usize, b: usize): bool {
  const differ = v128.xor(v128.load(a), v128.load(b));
  return !v128.any_true(differ) && load<u64>(a, OVERHEAD - 8) === load<u64>(b, OVERHEAD - 8);
}
