// VXLAN, RFC 7348, as flannel runs it: one next hop is one VTEP with a MAC address of its own, and
// the inner Ethernet header is made and taken off here. Needs a UDP socket; no session, no clock.
import * as neighbour from "../neighbour";
import * as self from "../self";
import { Drop } from "../shared/drop";
import { VXLAN_OVERHEAD } from "../shared/layout";
import { P_TEMPLATE, P_VNI } from "../shared/tables";
import * as ethernet from "../wire/ethernet";
import * as vxlan from "../wire/vxlan";

/** Bytes before the inner IP packet, in the datagram. */
export const OVERHEAD: u32 = VXLAN_OVERHEAD;

// Ethertypes as they stand in memory.
const TYPE_IPV4: u16 = 0x0008;
const TYPE_IPV6: u16 = 0xdd86;

/** Writes the headers before the packet at `innerAt`: the peer's template, then the ethertype. */
export function encap(peer: usize, innerAt: usize): void {
  const at = innerAt - OVERHEAD;
  v128.store(at, v128.load(peer, P_TEMPLATE));
  store<u32>(at, load<u32>(peer, P_TEMPLATE + 16), 16);
  store<u16>(at, load<u8>(innerAt) >> 4 === 6 ? TYPE_IPV6 : TYPE_IPV4, 20);
}

/** Why a frame that is not addressed to our MAC ends, unless it is a question for us. */
function refusal(address: u64): i32 {
  if (ethernet.isBroadcast(address)) return -Drop.BROADCAST;
  return ethernet.isMulticast(address) ? -Drop.MULTICAST : -Drop.WRONG_MAC;
}

/** Checks that the frame's ethertype and the packet's version agree. */
function payload(frame: usize, type: u32, length: u32): i32 {
  if (type !== ethernet.TYPE_IPV4 && type !== ethernet.TYPE_IPV6) return -Drop.NOT_IP;
  if (length === OVERHEAD) return -Drop.TOO_SHORT;
  const version: u32 = load<u8>(frame + ethernet.SIZE) >> 4;
  const expected: u32 = type === ethernet.TYPE_IPV4 ? 4 : 6;
  return version === expected ? <i32>OVERHEAD : -Drop.BAD_IP_VERSION;
}

/**
 * Checks the headers of the datagram at `at`. Returns the offset of the inner IP packet,
 * neighbour.ANSWERED when it was a question that has been answered, or -Drop.
 */
export function decap(peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  if (length < OVERHEAD) return -Drop.TOO_SHORT;
  if (!vxlan.hasVni(at)) return -Drop.BAD_FLAGS;
  if (vxlan.vni(at) !== load<u32>(peer, P_VNI)) return -Drop.WRONG_VNI;
  const frame = at + vxlan.SIZE;
  const type = ethernet.type(frame);
  const to = ethernet.mac(frame);
  const isOurs = to === ethernet.mac(self.macAt());
  if (isOurs || ethernet.isMulticast(to)) {
    const answered = neighbour.answer(peerIndex, peer, frame, length - vxlan.SIZE, vxlan.SIZE);
    if (answered !== 0) return answered;
  }
  return isOurs ? payload(frame, type, length) : refusal(to);
}

/** Whether both headers, VXLAN and Ethernet, are equal. */
export function isRepeated(a: usize, b: usize): bool {
  const differ = v128.xor(v128.load(a), v128.load(b));
  return !v128.any_true(differ) && load<u64>(a, OVERHEAD - 8) === load<u64>(b, OVERHEAD - 8);
}
