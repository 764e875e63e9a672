// Takes all memory of the hot path at start and lays it out: control block, two copies of the
// tables, session records, one region per worker. Every typed-array view of it is made here, once.
import { randomInt } from "node:crypto";
import { CALLS_SIZE } from "../../assembly/shared/calls.js";
import {
  C_CALLS_AT,
  C_CALLS_WORKER,
  C_GENERATION,
  C_MAGIC,
  C_PEER_CAPACITY,
  C_PREFIX_CAPACITY,
  C_SECRET,
  C_SESSIONS_AT,
  C_TABLES_AT,
  C_TABLES_SIZE,
  C_UNDERLAY6,
  C_WORKER_STRIDE,
  C_WORKERS,
  C_WORKERS_AT,
  CONTROL,
  CONTROL_SIZE,
  DEFAULT_PEERS,
  DEFAULT_PREFIXES,
  LAYOUT_MAGIC,
  MAX_WORKERS,
  WORKER_SIZE,
} from "../../assembly/shared/layout.js";
import {
  CALL_ENTRIES_SIZE,
  FIB4_CHUNK4_SIZE,
  FIB4_CHUNK8_SIZE,
  FIB4_ROOT_SIZE,
  FIB6_SLOT_SIZE,
  PEER_SIZE,
  SESSION_SIZE,
  SOURCE_SLOT_SIZE,
  T_CALLS_AT,
  T_FIB4_AT,
  T_FIB4_CHUNKS,
  T_FIB6_AT,
  T_FIB6_MASK,
  T_HEADER_SIZE,
  T_PEERS_AT,
  T_SOURCES_AT,
  T_SOURCES_MASK,
} from "../../assembly/shared/tables.js";
import { addressBytes, parseAddress } from "./address.js";
import { DatapathError } from "./errors.js";
import { SHADOWS_MAX } from "./types.js";

const PAGE_SIZE = 65536;
/** Pages the compiled module asks for at least and at most (asconfig.json). */
const PAGES_MIN = 256;
const PAGES_MAX = 65536;
/** Next hops have 24 bits, and a peer's index is kept in 16. */
const PEER_CAPACITY_MAX = 65533;
const PREFIX_CAPACITY_MAX = 1 << 22;

export interface MemoryOptions {
  workers: number;
  /** Most peers; default 4,096. */
  peerCapacity?: number;
  /** Most prefixes of IPv4 and of IPv6; default 65,536 each. */
  prefixCapacity?: number;
}

/** The shared memory and the views of it that the control thread works with. */
export interface DatapathMemory {
  memory: WebAssembly.Memory;
  bytes: Uint8Array;
  words: Uint32Array;
  counters: BigUint64Array;
  /** Address of each worker's region. */
  bases: number[];
}

interface TableLayout {
  peersAt: number;
  sourcesAt: number;
  sourceSlots: number;
  callsAt: number;
  fib4At: number;
  chunksAt: number;
  fib6At: number;
  fibSlots: number;
  size: number;
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** Slots of a hash that is at most half full. */
function slotsFor(entries: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(entries, 4) * 2));
}

/**
 * Bytes that the trie's chunks take at most. Each prefix makes one chunk a level at most; below the
 * root, one for nothing comes to it, and never more than entries and next hops there are. Only what
 * is used is ever touched.
 */
function chunkBytes(prefixes: number): number {
  const upper = Math.min(prefixes + 1, 2 * (FIB4_ROOT_SIZE / 4)) * FIB4_CHUNK8_SIZE;
  return upper + prefixes * 2 * FIB4_CHUNK4_SIZE;
}

function layoutTables(peerCapacity: number, prefixCapacity: number): TableLayout {
  const sourceSlots = slotsFor(peerCapacity);
  const fibSlots = slotsFor(prefixCapacity);
  const peersAt = T_HEADER_SIZE;
  const sourcesAt = peersAt + (peerCapacity + SHADOWS_MAX) * PEER_SIZE;
  const callsAt = sourcesAt + sourceSlots * SOURCE_SLOT_SIZE;
  const fib4At = roundUp(callsAt + CALL_ENTRIES_SIZE, FIB4_CHUNK8_SIZE);
  const chunksAt = fib4At + FIB4_ROOT_SIZE;
  const fib6At = chunksAt + chunkBytes(prefixCapacity);
  const size = fib6At + fibSlots * FIB6_SLOT_SIZE;
  return { peersAt, sourcesAt, sourceSlots, callsAt, fib4At, chunksAt, fib6At, fibSlots, size };
}

function refuse(name: string, value: number, most: number): never {
  const why = `${name} ${value} is not allowed: give a whole number from 1 to ${most}`;
  throw new DatapathError("MESHD_BAD_OPTION", why);
}

function check(name: string, value: number, most: number): number {
  return Number.isInteger(value) && value >= 1 && value <= most ? value : refuse(name, value, most);
}

/** Writes the addresses and masks that never change into an empty copy. */
function writeDirectory(view: DataView, at: number, table: TableLayout): void {
  view.setUint32(at + T_PEERS_AT, at + table.peersAt, true);
  view.setUint32(at + T_SOURCES_AT, at + table.sourcesAt, true);
  view.setUint32(at + T_SOURCES_MASK, table.sourceSlots - 1, true);
  view.setUint32(at + T_CALLS_AT, at + table.callsAt, true);
  view.setUint32(at + T_FIB4_AT, at + table.fib4At, true);
  view.setUint32(at + T_FIB4_CHUNKS, at + table.chunksAt, true);
  view.setUint32(at + T_FIB6_AT, at + table.fib6At, true);
  view.setUint32(at + T_FIB6_MASK, table.fibSlots - 1, true);
}

/**
 * Takes the memory for that many workers, peers and prefixes and lays it out with empty tables.
 * @throws {DatapathError} MESHD_BAD_OPTION when a number is out of range or the sum is above 4 GiB.
 */
export function createMemory(options: MemoryOptions): DatapathMemory {
  const workers = check("workers", options.workers, MAX_WORKERS);
  const peers = check("peerCapacity", options.peerCapacity ?? DEFAULT_PEERS, PEER_CAPACITY_MAX);
  const prefixCapacity = options.prefixCapacity ?? DEFAULT_PREFIXES;
  const prefixes = check("prefixCapacity", prefixCapacity, PREFIX_CAPACITY_MAX);
  const table = layoutTables(peers, prefixes);
  const tablesSize = roundUp(table.size, PAGE_SIZE);
  const tablesAt = [CONTROL + CONTROL_SIZE, CONTROL + CONTROL_SIZE + tablesSize];
  const sessionsAt = CONTROL + CONTROL_SIZE + 2 * tablesSize;
  // Those of peers that have just gone rest for a generation.
  const callsAt = sessionsAt + roundUp(2 * peers * SESSION_SIZE, PAGE_SIZE);
  const workersAt = callsAt + roundUp(CALLS_SIZE, PAGE_SIZE);
  const stride = roundUp(WORKER_SIZE, PAGE_SIZE);
  const pages = Math.max(PAGES_MIN, (workersAt + workers * stride) / PAGE_SIZE);
  if (pages > PAGES_MAX) refuse("workers and capacities: pages of memory", pages, PAGES_MAX);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const view = new DataView(memory.buffer);
  const control = (offset: number, value: number) => view.setUint32(CONTROL + offset, value, true);
  control(C_MAGIC, LAYOUT_MAGIC);
  control(C_GENERATION, 0);
  control(C_WORKERS, workers);
  control(C_WORKERS_AT, workersAt);
  control(C_WORKER_STRIDE, stride);
  control(C_TABLES_SIZE, tablesSize);
  control(C_PEER_CAPACITY, peers);
  control(C_PREFIX_CAPACITY, prefixes);
  control(C_SESSIONS_AT, sessionsAt);
  control(C_CALLS_AT, callsAt);
  control(C_SECRET, randomInt(2 ** 32));
  tablesAt.forEach((at, copy) => {
    control(C_TABLES_AT + 4 * copy, at);
    writeDirectory(view, at, table);
  });
  return {
    memory,
    bytes: new Uint8Array(memory.buffer),
    words: new Uint32Array(memory.buffer),
    counters: new BigUint64Array(memory.buffer),
    bases: Array.from({ length: workers }, (_, index) => workersAt + index * stride),
  };
}

/** Says whose the calls are: the worker with that block, or nobody's. */
export function setCallsWorker({ words }: Pick<DatapathMemory, "words">, base = 0): void {
  Atomics.store(words, (CONTROL + C_CALLS_WORKER) >>> 2, base);
}

/** Tells the workers our underlay address; they put it into checksums of IPv6 fragments alone. */
export function setUnderlay({ bytes }: Pick<DatapathMemory, "bytes">, address: string): void {
  const parsed = parseAddress(address);
  const own = parsed?.family === 6 ? addressBytes(parsed) : new Uint8Array(16);
  bytes.set(own, CONTROL + C_UNDERLAY6);
}
