// Answers ARP requests (RFC 826) and neighbour solicitations (RFC 4861) for our VTEP address, for
// the encapsulations that carry Ethernet. A kernel's device asks; meshd itself never needs to.
import * as checksum from "./checksum";
import * as output from "./output";
import * as self from "./self";
import * as send from "./send";
import { Drop } from "./shared/drop";
import { INGRESS } from "./shared/layout";
import { P_TEMPLATE } from "./shared/tables";
import * as arp from "./wire/arp";
import * as ethernet from "./wire/ethernet";
import * as ipv6 from "./wire/ipv6";
import * as nd from "./wire/nd";

/** Result: the frame was a question and the answer is on its way. No offset is that large. */
export const ANSWERED: i32 = 0x10000;
/** Bytes of the underlay arena that one answer may take, its outer headers included. */
export const ANSWER_SIZE_MAX: u32 = 256;

/**
 * Starts an answer of `length` bytes behind the Ethernet header; returns where that header stands.
 */
function begin(peer: usize, outer: u32, length: u32): usize {
  const at = output.takeWire(outer + ethernet.SIZE + length);
  memory.copy(at, peer + P_TEMPLATE, outer);
  return at + outer;
}

/** Sends the answer whose Ethernet frame stands at `frame`. */
function finish(peerIndex: u32, frame: usize, outer: u32, length: u32): i32 {
  const bytes = outer + ethernet.SIZE + length;
  send.datagram(peerIndex, frame - outer, bytes, length, 0, 0, INGRESS);
  return ANSWERED;
}

function answerArp(peerIndex: u32, peer: usize, frame: usize, length: u32, outer: u32): i32 {
  if (length < ethernet.SIZE + arp.SIZE) return -Drop.TOO_SHORT;
  const question = frame + ethernet.SIZE;
  if (!self.hasAddress4() || !arp.isRequest(question)) return 0;
  if (arp.targetAddress(question) !== self.address4()) return 0;
  const answer = begin(peer, outer, arp.SIZE);
  ethernet.write(answer, arp.senderMacAt(question), self.macAt(), ethernet.TYPE_ARP);
  arp.writeReply(answer + ethernet.SIZE, question, self.macAt());
  return finish(peerIndex, answer, outer, arp.SIZE);
}

/** Writes the advertisement that answers the solicitation in the frame. */
function advertise(answer: usize, frame: usize): void {
  const asked = frame + ethernet.SIZE;
  const packet = answer + ethernet.SIZE;
  const body = packet + ipv6.SIZE;
  const from = ipv6.sourceAt(asked);
  const isProbe = ipv6.isUnspecified(from);
  ethernet.write(answer, ethernet.sourceAt(frame), self.macAt(), ethernet.TYPE_IPV6);
  ipv6.write(packet, nd.ADVERTISEMENT_SIZE, ipv6.ICMPV6, nd.HOP_LIMIT, self.address6At(), from);
  // Somebody who has no address yet is told by way of all nodes (RFC 4861 section 7.2.4).
  if (isProbe) {
    ethernet.writeAllNodes(answer);
    ipv6.writeAllNodes(ipv6.destinationAt(packet));
  }
  nd.writeAdvertisement(body, self.address6At(), self.macAt(), !isProbe);
  const pseudo = checksum.pseudo6(packet, ipv6.ICMPV6, nd.ADVERTISEMENT_SIZE);
  nd.setChecksum(body, checksum.finish(checksum.partial(body, nd.ADVERTISEMENT_SIZE, pseudo)));
}

/** Bytes of a frame with a solicitation in it. */
const SOLICITATION_MIN: u32 = ethernet.SIZE + ipv6.SIZE + nd.SOLICITATION_SIZE;

function answerSolicitation(
  peerIndex: u32,
  peer: usize,
  frame: usize,
  length: u32,
  outer: u32,
): i32 {
  if (length < SOLICITATION_MIN) return 0;
  const packet = frame + ethernet.SIZE;
  // First what tells every other IPv6 packet apart: they all come by here.
  if (ipv6.nextHeader(packet) !== ipv6.ICMPV6) return 0;
  const total = ipv6.check(packet, length - ethernet.SIZE);
  if (total < <i32>(ipv6.SIZE + nd.SOLICITATION_SIZE)) return 0;
  const body = packet + ipv6.SIZE;
  if (!nd.isSolicitation(body)) return 0;
  if (!self.hasAddress6() || !ipv6.equal(nd.targetAt(body), self.address6At())) return 0;
  const bytes = <u32>total - ipv6.SIZE;
  const sum = checksum.partial(body, bytes, checksum.pseudo6(packet, ipv6.ICMPV6, bytes));
  if (ipv6.hopLimit(packet) !== nd.HOP_LIMIT || sum !== 0xffff) return -Drop.BAD_NEIGHBOUR;
  const size = ipv6.SIZE + nd.ADVERTISEMENT_SIZE;
  const answer = begin(peer, outer, size);
  advertise(answer, frame);
  return finish(peerIndex, answer, outer, size);
}

/**
 * Looks whether the Ethernet frame asks for our VTEP address and answers it. `outer` = bytes of the
 * tunnel header before the frame, which the peer's template begins with. Returns ANSWERED, 0 when
 * it is no question for us, or -Drop.
 */
export function answer(peerIndex: u32, peer: usize, frame: usize, length: u32, outer: u32): i32 {
  const type = ethernet.type(frame);
  if (type === ethernet.TYPE_ARP) return answerArp(peerIndex, peer, frame, length, outer);
  if (type !== ethernet.TYPE_IPV6) return 0;
  return answerSolicitation(peerIndex, peer, frame, length, outer);
}
