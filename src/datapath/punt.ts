// The control thread's ends of a worker's two rings: packets punted by the hot path are taken out,
// packets of our own are put in. One reader and one writer a ring, so head and tail need no lock.
import {
  ENTRY_DATA,
  ENTRY_GENERATION,
  ENTRY_KIND,
  ENTRY_LENGTH,
  ENTRY_PEER,
  INJECT_PACKET,
  RING_DATA,
  RING_ENTRIES,
  RING_ENTRY_SIZE,
  RING_HEAD,
  RING_TAIL,
  W_INJECT_RING,
  W_PUNT_RING,
} from "../../assembly/shared/layout.js";

/** A packet of the hot path: inner IP bytes (a copy), PUNT_* kind, index of the peer it is from. */
export type PuntHandler = (packet: Uint8Array, kind: number, peer: number) => void;

/** Longest packet that an entry of a ring holds. */
export const RING_PACKET_MAX = RING_ENTRY_SIZE - ENTRY_DATA;

/** Views of the whole shared memory that the rings are used through. */
export interface RingViews {
  bytes: Uint8Array;
  words: Uint32Array;
}

/** Takes out what a worker punted; stops after one ring's worth so that a flood cannot hold us. */
export function drainPunts(views: RingViews, base: number, handler: PuntHandler): number {
  const { bytes, words } = views;
  const ring = base + W_PUNT_RING;
  for (let taken = 0; ; taken += 1) {
    const tail = Atomics.load(words, (ring + RING_TAIL) >>> 2);
    const head = Atomics.load(words, (ring + RING_HEAD) >>> 2);
    if (head === tail || taken === RING_ENTRIES) return taken;
    const at = ring + RING_DATA + (tail % RING_ENTRIES) * RING_ENTRY_SIZE;
    const length = Math.min(words[(at + ENTRY_LENGTH) >>> 2] ?? 0, RING_PACKET_MAX);
    const kind = words[(at + ENTRY_KIND) >>> 2] ?? 0;
    const peer = words[(at + ENTRY_PEER) >>> 2] ?? 0;
    const packet = bytes.slice(at + ENTRY_DATA, at + ENTRY_DATA + length);
    Atomics.store(words, (ring + RING_TAIL) >>> 2, (tail + 1) >>> 0);
    handler(packet, kind, peer);
  }
}

/** A peer by its index in the tables of one generation. */
export interface NamedPeer {
  index: number;
  generation: number;
}

/** One entry of the inject ring. */
export interface InjectEntry {
  /** INJECT_*. */
  kind: number;
  /** ENTRY_PEER and ENTRY_GENERATION. */
  peer: number;
  generation: number;
  data: Uint8Array;
}

/**
 * Puts an entry into a worker's inject ring; false when full or the data too long. What `before`
 * writes is seen by the worker when it takes the entry.
 */
export function putEntry(
  views: RingViews,
  base: number,
  entry: InjectEntry,
  before: () => void = () => undefined,
): boolean {
  const { bytes, words } = views;
  const { kind, peer, generation, data } = entry;
  const ring = base + W_INJECT_RING;
  const head = Atomics.load(words, (ring + RING_HEAD) >>> 2);
  const tail = Atomics.load(words, (ring + RING_TAIL) >>> 2);
  const used = (head - tail) >>> 0;
  if (used >= RING_ENTRIES || data.length > RING_PACKET_MAX) return false;
  const at = ring + RING_DATA + (head % RING_ENTRIES) * RING_ENTRY_SIZE;
  words[(at + ENTRY_LENGTH) >>> 2] = data.length;
  words[(at + ENTRY_KIND) >>> 2] = kind;
  words[(at + ENTRY_PEER) >>> 2] = peer;
  words[(at + ENTRY_GENERATION) >>> 2] = generation;
  bytes.set(data, at + ENTRY_DATA);
  before();
  Atomics.store(words, (ring + RING_HEAD) >>> 2, (head + 1) >>> 0);
  return true;
}

/**
 * Puts an inner IP packet into a worker's inject ring; false when full or the packet too long.
 * Without `peer` its destination says where it goes.
 */
export function putInject(
  views: RingViews,
  base: number,
  packet: Uint8Array,
  peer?: NamedPeer,
): boolean {
  const named = peer === undefined ? 0 : peer.index + 1;
  const generation = peer?.generation ?? 0;
  return putEntry(views, base, { kind: INJECT_PACKET, peer: named, generation, data: packet });
}
