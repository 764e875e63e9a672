// Packets from peer to peer through this node, without its kernel: clients that dial in have no
// other way to the mesh, nor the mesh to them. A router's duties: a hop less, the size of the next
// path, and a word to the sender where it ends here (RFC 1812, RFC 8200, RFC 4443).
import * as counters from "./counters";
import * as encap from "./encap";
import * as icmp from "./icmp";
import * as output from "./output";
import * as packet from "./packet";
import * as peers from "./peers";
import * as protocols from "./protocols";
import * as route from "./route";
import { Drop } from "./shared/drop";
import { INGRESS, W_NOW } from "./shared/layout";
import { NEXT_NONE, NEXT_PEER, P_FLAGS, P_MTU, PEER_DIALS_IN, PEER_FOREIGN } from "./shared/tables";
import * as ipv6 from "./wire/ipv6";
import { worker } from "./worker";

/** What must be left for the others of a train before one is answered. */
const LEFT: u32 = 3300;
const LEFT_BYTES: usize = 1 << 20;

function dialsIn(peerIndex: u32): bool {
  return (load<u8>(peers.at(peerIndex), P_FLAGS) & PEER_DIALS_IN) !== 0;
}

/** A network of others must not reach clients unasked, nor would it know where they are. */
function isForeign(peerIndex: u32): bool {
  return (load<u8>(peers.at(peerIndex), P_FLAGS) & PEER_FOREIGN) !== 0;
}

/** Whether a packet of a peer, that is not for this node, is ours to pass on or to refuse. */
export function isDue(from: u32, innerAt: usize): bool {
  const next = route.destination(innerAt, NEXT_PEER + from);
  if (next === NEXT_NONE) return dialsIn(from);
  if (next < NEXT_PEER || next === NEXT_PEER + from) return false;
  const to = next - NEXT_PEER;
  return (dialsIn(from) || dialsIn(to)) && !isForeign(from) && !isForeign(to);
}

/** Tells the sender by the way it came, where it has a right to know. Returns -reason. */
function refuse(from: u32, reason: i32, innerAt: usize, length: u32, mtu: u32): i32 {
  let kind = icmp.UNREACHABLE;
  if (reason === Drop.TTL_EXPIRED) kind = icmp.TIME_EXCEEDED;
  if (reason === Drop.TOO_BIG) kind = icmp.TOO_BIG;
  const outer = protocols.overhead(peers.at(from));
  if (output.wireRoom() < LEFT || output.wireArenaRoom() < LEFT_BYTES) return -reason;
  const now_us = load<f64>(worker, W_NOW);
  const at = output.takeWire(outer + icmp.ANSWER_MAX) + outer;
  const size = icmp.answerAt(worker, at, kind, innerAt, length, mtu, now_us);
  if (size === 0 || encap.toPeer(from, at, size, INGRESS) !== 0) return -reason;
  counters.generated(INGRESS, 1);
  return -reason;
}

/**
 * Passes a checked packet on that `isDue`; `free` bytes before it are nobody's. Returns 0, or
 * -Drop where it ends here.
 */
export function forward(from: u32, innerAt: usize, length: u32, free: u32): i32 {
  const next = route.destination(innerAt, NEXT_PEER + from);
  if (next === NEXT_NONE) return refuse(from, Drop.NO_ROUTE, innerAt, length, 0);
  if (packet.ttl(innerAt) === 1) return refuse(from, Drop.TTL_EXPIRED, innerAt, length, 0);
  packet.lowerTtl(innerAt);
  const to = next - NEXT_PEER;
  const made = encap.pass(to, innerAt, length, free);
  if (made === 0) {
    const mtu = load<u32>(peers.at(to), P_MTU);
    const said = packet.isIpv4(innerAt) ? mtu : max<u32>(mtu, ipv6.MTU_MIN);
    return refuse(from, Drop.TOO_BIG, innerAt, length, said);
  }
  if (made > 1) counters.generated(INGRESS, made - 1);
  return min<i32>(made, 0);
}
