// The inner Ethernet frame of the encapsulations that carry one, as flannel runs them: one next hop
// is one VTEP with a MAC address of its own; the header is made and taken off here.
import * as identity from "./identity";
import * as neighbour from "./neighbour";
import * as peers from "./peers";
import * as self from "./self";
import { Drop } from "./shared/drop";
import { P_PROTOCOL, P_TEMPLATE } from "./shared/tables";
import * as ethernet from "./wire/ethernet";
import * as ipv6 from "./wire/ipv6";

/** Ethertype, and the version in the packet's first byte, as they stand in memory. */
const KIND_MASK: u32 = 0xf0ffff;
const KIND_IPV4: u32 = 0x400008;
const KIND_IPV6: u32 = 0x60dd86;

/**
 * Writes 8 bytes of tunnel header and the frame's header before the checked packet at `innerAt`:
 * the peer's template for its version.
 */
export function write(peer: usize, innerAt: usize): void {
  const at = innerAt - 8 - ethernet.SIZE;
  // By the same address as the stores: another one is another sum.
  const template = peers.templateBase(peer, load<u8>(at, 8 + ethernet.SIZE));
  v128.store(at, v128.load(template, P_TEMPLATE));
  // Two stores that overlap are less than three.
  store<u64>(at, load<u64>(template, P_TEMPLATE + 14), 14);
}

/**
 * Whether a frame with at least one byte in it is for us and holds IP that can be no question: then
 * `decap` has nothing to say.
 */
export function isPlain(frame: usize): bool {
  if (!ethernet.equal(frame, self.macAt())) return false;
  const kind = load<u32>(frame, ethernet.SIZE - 2) & KIND_MASK;
  if (kind === KIND_IPV4) return true;
  // Where the frame ends before this byte, any protocol will do: that packet is no question.
  return kind === KIND_IPV6 && ipv6.nextHeader(frame + ethernet.SIZE) !== ipv6.ICMPV6;
}

/** Why a frame that is not addressed to our MAC ends, unless it is a question for us. */
function refusal(address: u64): i32 {
  if (ethernet.isBroadcast(address)) return -Drop.BROADCAST;
  return ethernet.isMulticast(address) ? -Drop.MULTICAST : -Drop.WRONG_MAC;
}

/** Checks that an ethertype and the version of the `length` bytes at `at` agree. */
export function payload(at: usize, type: u32, length: u32): i32 {
  if (type !== ethernet.TYPE_IPV4 && type !== ethernet.TYPE_IPV6) return -Drop.NOT_IP;
  if (length === 0) return -Drop.TOO_SHORT;
  const version: u32 = load<u8>(at) >> 4;
  const expected: u32 = type === ethernet.TYPE_IPV4 ? 4 : 6;
  return version === expected ? 0 : -Drop.BAD_IP_VERSION;
}

/**
 * Bytes of the peer's template that an answer by `protocol` begins with, which has headers of
 * `size` bytes: none while the peer is sent another one, whose template is no header for a frame.
 */
export function ownHeader(peer: usize, protocol: u32, size: u32): u32 {
  return load<u8>(peer, P_PROTOCOL) === protocol ? size : 0;
}

/**
 * Checks the frame behind `outer` bytes of tunnel header in the datagram at `at`. Returns the
 * offset of the inner IP packet, neighbour.ANSWERED when it was a question that has been answered
 * (behind the first `own` bytes of the peer's template; 0 = no question is answered), or -Drop.
 */
export function decap(
  peerIndex: u32,
  peer: usize,
  at: usize,
  length: u32,
  outer: u32,
  own: u32,
): i32 {
  const offset = outer + ethernet.SIZE;
  if (length < offset) return -Drop.TOO_SHORT;
  const frame = at + outer;
  const to = ethernet.mac(frame);
  const isOurs = to === ethernet.mac(self.macAt());
  if (own !== 0 && (isOurs || ethernet.isMulticast(to))) {
    const answered = neighbour.answer(peerIndex, peer, frame, length - outer, own);
    if (answered !== 0) {
      if (answered === neighbour.ANSWERED) identity.nameAnswer(peer);
      return answered;
    }
  }
  if (!isOurs) return refusal(to);
  const wrong = payload(at + offset, ethernet.type(frame), length - offset);
  return wrong === 0 ? <i32>offset : wrong;
}
