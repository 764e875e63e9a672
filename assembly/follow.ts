// Segments that continue the super-packet of the datagram before them: bulk data comes in trains of
// one flow in order. Their headers need one comparison, and their payload is moved to its place
// while its checksum is summed.
//
// What is behind the last packet in its slot is free: headers that are done with, then room to the
// slot's end. The payload moves there, towards lower addresses where both lie in one slot. A wrong
// checksum undoes the move, and the segment goes the way of any other.
import * as chains from "./chain";
import * as sum from "./checksum";
import * as coalesce from "./coalesce";
import * as ecn from "./ecn";
import * as joinable from "./joinable";
import * as proof from "./proof";
import * as route from "./route";
import { W_FOLLOW } from "./shared/layout";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import { worker } from "./worker";

// State: how far may be written behind the latest packet, and a segment's headers while it moves.
const LIMIT: usize = 0;
const SAVED: usize = 64;
/** Outer headers, IPv6 and TCP headers with all options, rounded up. */
const SAVED_SIZE: usize = 192;
export const STATE_NEEDED: usize = SAVED + SAVED_SIZE;

/** The latest datagram lies in a slot that ends at `limit`. */
export function setLimit(limit: usize): void {
  store<u32>(worker, limit, W_FOLLOW + LIMIT);
}

/** Whether segments of a peer and socket with these outer marks may follow the latest datagram. */
function isReady(socket: u32, peerIndex: u32, outerTos: u32): bool {
  if (coalesce.latest(worker) === 0 || !proof.isOf(socket, peerIndex)) return false;
  const proven = proof.innerAt();
  const tos = ecn.tos(proven);
  if (ecn.decap(tos, outerTos) !== <i32>(tos & ecn.MASK)) return false;
  // A datagram to the node itself may be a probe.
  return joinable.isTcp(proven) || !route.isToSelf(proven);
}

/** Moves the payload behind the chain's last block; false when the checksum is wrong. */
function move(to: usize, at: usize, innerAt: usize, length: u32, header: u32): bool {
  const saved = worker + W_FOLLOW + SAVED;
  const before = <u32>(innerAt - at) + header;
  for (let i: usize = 0; i < before; i += 16) v128.store(saved + i, v128.load(at + i));
  const isV4 = joinable.isV4(innerAt);
  const protocol = joinable.protocolOf(innerAt);
  const offset = isV4 ? ipv4.SIZE : ipv6.SIZE;
  const bytes = length - offset;
  const pseudo = isV4
    ? sum.pseudo4(innerAt, protocol, bytes)
    : sum.pseudo6(innerAt, protocol, bytes);
  const headerSum = sum.partial(innerAt + offset, header - offset, pseudo);
  const payload = length - header;
  if (sum.copyPartial(to, innerAt + header, payload, headerSum) === 0xffff) return true;
  memory.copy(innerAt + header, to, payload);
  memory.copy(at, saved, before);
  return false;
}

/** Takes one segment of `bytes` bytes if it continues the latest chain. */
function takeOne(socket: u32, chain: usize, at: usize, bytes: u32): bool {
  if (!proof.holds(socket, at, bytes)) return false;
  const outer = proof.offset();
  const innerAt = at + outer;
  const header = chains.header(chain);
  const length = bytes - outer;
  if (joinable.headerOf(worker, innerAt, length) !== header) return false;
  const payload = length - header;
  const to = chains.end(chain);
  if (to + payload > load<u32>(worker, W_FOLLOW + LIMIT)) return false;
  if (!chains.hasRoom(chain, payload) || !coalesce.mayGrow(worker, chain, payload)) return false;
  if (!joinable.samePorts(chains.first(chain), innerAt)) return false;
  if (!chains.continues(chain, innerAt, header) || !chains.isIntact(chain)) return false;
  if (joinable.isV4(innerAt) && sum.partial(innerAt, ipv4.SIZE, 0) !== 0xffff) return false;
  const flags = joinable.flagsOf(innerAt);
  if (!move(to, at, innerAt, length, header)) return false;
  coalesce.grow(worker, chain, payload, to + payload, flags);
  return true;
}

/**
 * Takes the segments at `at` that continue the latest datagram's super-packet, from a train of
 * `step` bytes each of which `length` bytes are left. Returns how many bytes it took.
 */
export function run(
  socket: u32,
  peerIndex: u32,
  at: usize,
  step: u32,
  length: u32,
  outerTos: u32,
): u32 {
  if (!isReady(socket, peerIndex, outerTos)) return 0;
  const chain = coalesce.latest(worker);
  let done: u32 = 0;
  while (done < length) {
    const bytes = min<u32>(step, length - done);
    if (!takeOne(socket, chain, at + done, bytes)) break;
    done += bytes;
    if (chains.isEnded(chain)) {
      coalesce.closeLatest(worker);
      break;
    }
  }
  return done;
}
