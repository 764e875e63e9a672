// The two rings to and from the control thread. Single writer, single reader; head and tail are
// published by atomic stores, so that an entry's bytes are seen before its number.

import {
  ENTRY_DATA,
  ENTRY_KIND,
  ENTRY_LENGTH,
  ENTRY_PEER,
  RING_DATA,
  RING_ENTRIES,
  RING_ENTRY_SIZE,
  RING_HEAD,
  RING_TAIL,
  W_INJECT_RING,
  W_PUNT_RING,
} from "./shared/layout";
import { worker } from "./worker";

/** Longest packet an entry holds. */
export const CAPACITY: u32 = <u32>(RING_ENTRY_SIZE - ENTRY_DATA);

/** Copies a packet to the control thread; false = the ring is full or the packet too large. */
export function punt(kind: u32, peer: u32, at: usize, length: u32): bool {
  return puntUpTo(RING_ENTRIES, kind, peer, at, length);
}

/** As `punt`, where no more than `most` entries may wait. */
export function puntUpTo(most: u32, kind: u32, peer: u32, at: usize, length: u32): bool {
  const ring = worker + W_PUNT_RING;
  const head = load<u32>(ring, RING_HEAD);
  const waiting = head - atomic.load<u32>(ring, RING_TAIL);
  if (waiting >= most || length > CAPACITY) return false;
  const entry = ring + RING_DATA + <usize>(head & (RING_ENTRIES - 1)) * RING_ENTRY_SIZE;
  store<u32>(entry, length, ENTRY_LENGTH);
  store<u32>(entry, kind, ENTRY_KIND);
  store<u32>(entry, peer, ENTRY_PEER);
  memory.copy(entry + ENTRY_DATA, at, length);
  atomic.store<u32>(ring, head + 1, RING_HEAD);
  return true;
}

/** Address of the next entry that the control thread injected, or 0. */
export function injected(): usize {
  const ring = worker + W_INJECT_RING;
  const tail = load<u32>(ring, RING_TAIL);
  if (atomic.load<u32>(ring, RING_HEAD) === tail) return 0;
  return ring + RING_DATA + <usize>(tail & (RING_ENTRIES - 1)) * RING_ENTRY_SIZE;
}

/** Gives the entry that `injected` returned back to the control thread. */
export function release(): void {
  const ring = worker + W_INJECT_RING;
  atomic.store<u32>(ring, load<u32>(ring, RING_TAIL) + 1, RING_TAIL);
}
