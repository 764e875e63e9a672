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
import * as pattern from "./pattern";
import * as proof from "./proof";
import * as protocols from "./protocols";
import * as route from "./route";
import { W_FOLLOW } from "./shared/layout";
import { worker } from "./worker";

/** State: how far may be written behind the latest packet. */
const LIMIT: usize = 0;
export const STATE_NEEDED: usize = 64;

/** A datagram that goes the long way: nothing follows the one before it. */
export function interrupt(): void {
  coalesce.forgetLatest(worker);
  pattern.forget();
}

/** The next such datagrams lie in a slot that ends at `limit`. */
export function setLimit(limit: usize): void {
  store<u32>(worker, limit, W_FOLLOW + LIMIT);
}

/**
 * Whether segments of a peer and socket with these outer marks may follow the latest datagram; the
 * first of them, `bytes` at `at`, says whether it is worth a pattern.
 */
function isReady(socket: u32, peerIndex: u32, at: usize, bytes: u32, outerTos: u32): bool {
  const chain = coalesce.latest(worker);
  if (chain === 0 || !proof.isOf(socket, peerIndex)) return false;
  const proven = proof.innerAt();
  const tos = ecn.tos(proven);
  if (ecn.decap(tos, outerTos) !== <i32>(tos & ecn.MASK)) return false;
  if (pattern.isReady()) return true;
  // A datagram to the node itself may be a probe.
  if (!joinable.isTcp(proven) && route.isToSelf(proven)) return false;
  const outer = proof.offset();
  if (bytes <= outer + chains.header(chain) || !protocols.isStateless(socket, proof.outerAt()))
    return false;
  if (!chains.mayTake(chain, at + outer)) return false;
  pattern.prepare(chain, outer);
  return pattern.isReady();
}

/** Moves the payload behind the chain's last block; false when the checksum is wrong. */
function move(to: usize, at: usize, length: u32): bool {
  const innerAt = at + pattern.outer();
  const headers = pattern.size();
  const headerSum = pattern.headerSum(innerAt, length - pattern.outer());
  const payload = length - headers;
  if (sum.copyPartial(to, at + headers, payload, headerSum) === 0xffff) return true;
  memory.copy(at + headers, to, payload);
  pattern.restore(at);
  return false;
}

/** Takes one segment of `length` bytes if it continues the latest chain. */
function takeOne(chain: usize, at: usize, length: u32): bool {
  const headers = pattern.size();
  if (length <= headers || !pattern.matches(at)) return false;
  const payload = length - headers;
  const to = chains.end(chain);
  if (to + payload > load<u32>(worker, W_FOLLOW + LIMIT)) return false;
  if (!chains.hasRoom(chain, payload) || !coalesce.mayGrow(worker, chain, payload)) return false;
  const innerAt = at + pattern.outer();
  if (!pattern.isNext(chain, innerAt, length - pattern.outer())) return false;
  if (!chains.isIntact(chain)) return false;
  const flags = joinable.flagsOf(innerAt);
  if (!move(to, at, length)) return false;
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
  if (length === 0 || !isReady(socket, peerIndex, at, min(step, length), outerTos)) return 0;
  const chain = coalesce.latest(worker);
  let done: u32 = 0;
  while (done < length) {
    const bytes = min<u32>(step, length - done);
    if (!takeOne(chain, at + done, bytes)) break;
    done += bytes;
    if (chains.isEnded(chain)) {
      coalesce.closeLatest(worker);
      break;
    }
  }
  return done;
}
