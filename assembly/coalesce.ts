// Joins consecutive packets of one flow into one super-packet for TUN: what comes out can be cut
// again into what came in, and order within a flow is always kept. Several flows are open at once.
//
// The 10 bytes before a packet must be free (outer headers stood there: a link while a super-packet
// is open, then the vnet header), and a packet must stay where it is until the outputs are written.
import * as chains from "./chain";
import * as joinable from "./joinable";
import { tunArenaRoom } from "./output";
import { W_COALESCE_STATE } from "./shared/layout";

// State: how many chains are open, which one makes room next, arena bytes they will take, the chain
// that the last packet is in (0 = none), the chains.
const OPEN: usize = 0;
const VICTIM: usize = 4;
const HELD: usize = 8;
const LATEST: usize = 12;
const CHAINS: usize = 64;
/** Flows that may be open at once in a worker. */
const CHAIN_COUNT: u32 = 8;
export const STATE_NEEDED: usize = CHAINS + 8 * chains.CHAIN_SIZE;

function chainAt(state: usize, index: u32): usize {
  return state + CHAINS + <usize>index * chains.CHAIN_SIZE;
}

/** Forgets what was open, without emitting it: its slots belong to another run by now. */
export function forget(worker: usize): void {
  const state = worker + W_COALESCE_STATE;
  store<u64>(state, 0, OPEN);
  store<u32>(state, 0, HELD);
  store<u32>(state, 0, LATEST);
  for (let i: u32 = 0; i < CHAIN_COUNT; i++) chains.clear(chainAt(state, i));
}

/** Emits what a chain holds and frees it. */
function close(state: usize, chain: usize): void {
  store<u32>(state, load<u32>(state, HELD) - chains.held(chain), HELD);
  store<u32>(state, load<u32>(state, OPEN) - 1, OPEN);
  chains.emit(chain);
}

/** The open chain whose last bytes are those of the packet delivered last, or 0. */
export function latest(worker: usize): usize {
  return load<u32>(worker + W_COALESCE_STATE, LATEST);
}

/** Whether the arena holds what is open and `payload` bytes more behind the latest packet. */
export function mayGrow(worker: usize, chain: usize, payload: u32): bool {
  const held = load<u32>(worker + W_COALESCE_STATE, HELD);
  return held + chains.heldMore(chain, payload) <= <u32>tunArenaRoom();
}

/** Counts a packet with these TCP flags whose payload stands behind the latest, up to `end`. */
export function grow(worker: usize, chain: usize, payload: u32, end: usize, flags: u32): void {
  const state = worker + W_COALESCE_STATE;
  store<u32>(state, load<u32>(state, HELD) + chains.heldMore(chain, payload), HELD);
  chains.extend(chain, payload, end, flags);
}

/** Nothing may be written behind the packet delivered last. */
export function forgetLatest(worker: usize): void {
  store<u32>(worker + W_COALESCE_STATE, 0, LATEST);
}

/** Emits what the latest chain holds: its last packet ends it. */
export function closeLatest(worker: usize): void {
  close(worker + W_COALESCE_STATE, latest(worker));
  forgetLatest(worker);
}

/** The open chain of this packet's flow, or 0. */
function findChain(state: usize, at: usize, tuple: u32): usize {
  if (load<u32>(state, OPEN) == 0) return 0;
  for (let i: u32 = 0; i < CHAIN_COUNT; i++) {
    if (chains.isOf(chainAt(state, i), at, tuple)) return chainAt(state, i);
  }
  return 0;
}

/** A free chain; when there is none, the next in turn is closed for it. */
function freeChain(state: usize): usize {
  for (let i: u32 = 0; i < CHAIN_COUNT; i++) {
    if (chains.first(chainAt(state, i)) == 0) return chainAt(state, i);
  }
  const victim = load<u32>(state, VICTIM) % CHAIN_COUNT;
  store<u32>(state, victim + 1, VICTIM);
  close(state, chainAt(state, victim));
  return chainAt(state, victim);
}

/** Closes what is open between the addresses of a packet that cannot be joined. */
function closeRelated(state: usize, at: usize): void {
  if (load<u32>(state, OPEN) == 0) return;
  for (let i: u32 = 0; i < CHAIN_COUNT; i++) {
    const first = chains.first(chainAt(state, i));
    if (first != 0 && joinable.sameAddresses(first, at)) close(state, chainAt(state, i));
  }
}

/** Emits what is open between the addresses of a packet that goes past the chains. */
export function closeFlows(worker: usize, at: usize): void {
  const state = worker + W_COALESCE_STATE;
  store<u32>(state, 0, LATEST);
  closeRelated(state, at);
}

/**
 * Appends the packet to its flow's chain if it fits there and the arena will hold all that is open.
 * So every chain ends as one descriptor, and asks for no more room than the caller left.
 */
function join(
  state: usize,
  chain: usize,
  at: usize,
  length: u32,
  header: u32,
  direction: u32,
): bool {
  const payload = length - header;
  const held = load<u32>(state, HELD) - chains.held(chain) + chains.heldWith(chain, payload);
  if (held > <u32>tunArenaRoom() || chains.isLargeBlock(chain)) return false;
  if (!chains.takes(chain, at, length, header, direction)) return false;
  chains.append(chain, at, length, header);
  store<u32>(state, held, HELD);
  if (chains.isEnded(chain)) close(state, chain);
  else store<u32>(state, chain, LATEST);
  return true;
}

/**
 * Takes an inner packet (checked by `ipv4.check` or `ipv6.check`) for TUN: it goes out at once, or
 * with what follows it, at the latest by `flush`. At most one descriptor per packet, of which at
 * most CHAIN_COUNT are appended later than in the packet's own call. Returns 0.
 */
export function deliver(worker: usize, innerAt: usize, length: u32, direction: u32): i32 {
  const state = worker + W_COALESCE_STATE;
  store<u32>(state, 0, LATEST);
  const header = joinable.headerOf(worker, innerAt, length);
  if (header == 0) {
    closeRelated(state, innerAt);
    chains.emitAlone(innerAt, length, direction);
    return 0;
  }
  const tuple = joinable.tupleOf(innerAt);
  const chain = findChain(state, innerAt, tuple);
  if (chain != 0) {
    if (join(state, chain, innerAt, length, header, direction)) return 0;
    close(state, chain);
  }
  if (!joinable.begins(innerAt, length - header)) {
    chains.emitAlone(innerAt, length, direction);
    return 0;
  }
  const free = freeChain(state);
  chains.start(free, innerAt, length, header, direction, tuple);
  store<u32>(state, load<u32>(state, OPEN) + 1, OPEN);
  store<u32>(state, free, LATEST);
  return 0;
}

/** Emits everything that is still open; called at the end of a run. */
export function flush(worker: usize): void {
  const state = worker + W_COALESCE_STATE;
  store<u32>(state, 0, LATEST);
  if (load<u32>(state, OPEN) == 0) return;
  for (let i: u32 = 0; i < CHAIN_COUNT; i++) {
    if (chains.first(chainAt(state, i)) != 0) close(state, chainAt(state, i));
  }
}
