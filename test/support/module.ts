// The built hot path on a fresh shared memory, with a stand-in for the pump: feed packets and
// datagrams, run, read what came out. Every buffer starts as 0xa5, so that forgotten bytes show.
import {
  BATCH,
  C_GENERATION,
  CONTROL,
  D_ADDRESS,
  D_CAPACITY,
  D_DIRECTION,
  D_FAILED,
  D_FAMILY,
  D_FLAGS,
  D_LENGTH,
  D_LOCAL,
  D_PEER,
  D_PORT,
  D_SEGMENT,
  D_SEGMENTS,
  D_SOCKET,
  D_STATUS,
  D_TOS,
  DESCRIPTOR_SIZE,
  HEADROOM,
  SLOT_SIZE,
  VNET_HEADER_SIZE,
  W_TUN_ARENA,
  W_TUN_IN,
  W_TUN_IN_COUNT,
  W_TUN_IN_NEXT,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_TUN_SLOTS,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_IN_NEXT,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
  W_WIRE_SLOTS,
} from "../../assembly/shared/layout.js";
import { addressBytes, parseAddress } from "../../src/datapath/address.js";
import { readCounters, type WorkerCounters } from "../../src/datapath/counters.js";
import { createMemory, type DatapathMemory } from "../../src/datapath/memory.js";
import { compileModule, type HotPath, instantiateModule } from "../../src/datapath/module.js";
import { drainPunts, type NamedPeer, putInject } from "../../src/datapath/punt.js";
import { Sessions } from "../../src/datapath/sessions.js";
import { writeTables } from "../../src/datapath/tables.js";
import type { TableContents } from "../../src/datapath/types.js";
import { concat } from "./packets.js";

/** What the module exports beside the pump's functions, for tests and benchmarks. */
export interface Kernels extends HotPath {
  checksum(at: number, length: number, initial: number): number;
  fibLookup4(at: number): number;
  fibLookup6(at: number): number;
}

/** A virtio_net_hdr; absent fields are 0. */
export interface VnetHeader {
  flags?: number;
  gsoType?: number;
  headerLength?: number;
  gsoSize?: number;
  checksumStart?: number;
  checksumOffset?: number;
}

/** Where a datagram came from and how. */
export interface WireInput {
  from: string;
  port?: number;
  tos?: number;
  /** Bytes per datagram of a train; 0 = one datagram. */
  segment?: number;
  flags?: number;
  socket?: number;
  /** The outer header, where the socket hands it over with the datagram. */
  before?: Uint8Array;
}

/** One descriptor of the underlay output. */
export interface WireOutput {
  bytes: Uint8Array;
  segment: number;
  segments: number;
  socket: number;
  tos: number;
  port: number;
  family: number;
  /** 16 bytes as D_PEER. */
  peer: Uint8Array;
  direction: number;
  innerBytes: number;
  /** The single datagrams, as the network would see them. */
  datagrams: Uint8Array[];
}

/** One descriptor of the TUN output. */
export interface TunOutput {
  vnet: Required<VnetHeader>;
  packet: Uint8Array;
  segments: number;
  direction: number;
  innerBytes: number;
  /** Whether it was gathered in the arena; else it lies where it came. */
  isInArena: boolean;
}

export interface Outputs {
  wire: WireOutput[];
  tun: TunOutput[];
  /** How often `run` was called until both inputs were done. */
  runs: number;
}

/** What a write came to: an errno, and how many of the segments it did not take. */
export interface WriteResult {
  status: number;
  failed: number;
}

export type WriteFailure = (output: "wire" | "tun", index: number) => WriteResult | undefined;

export interface TestOptions {
  workers?: number;
  peerCapacity?: number;
  prefixCapacity?: number;
}

function cutTrain(bytes: Uint8Array, segment: number): Uint8Array[] {
  if (segment === 0 || bytes.length === 0) return [bytes];
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += segment) out.push(bytes.subarray(at, at + segment));
  return out;
}

/** One instance of the module, bound to one worker of a memory. */
export class TestModule {
  readonly hot: Kernels;
  readonly views: DatapathMemory;
  readonly base: number;
  readonly view: DataView;
  /** What the stand-in for the writes says of each output; default: all was sent. */
  fail: WriteFailure = () => undefined;
  now_us = 1_000_000;
  /** When the last run wanted to be called again. */
  deadline_us = Number.POSITIVE_INFINITY;
  readonly #sessions: Sessions;
  #tunCount = 0;
  #wireCount = 0;

  constructor(hot: Kernels, views: DatapathMemory, worker: number) {
    this.hot = hot;
    this.views = views;
    this.#sessions = new Sessions(views.bytes);
    this.base = views.bases[worker] ?? 0;
    this.view = new DataView(views.memory.buffer);
    views.bytes.fill(0xa5, this.base + W_TUN_SLOTS, this.base + W_TUN_SLOTS + SLOT_SIZE * BATCH);
    views.bytes.fill(0xa5, this.base + W_WIRE_SLOTS, this.base + W_WIRE_SLOTS + SLOT_SIZE * BATCH);
    hot.init(this.base);
  }

  /** Writes the spare copy of the tables and makes it live. */
  publish(contents: TableContents): void {
    const next = this.view.getUint32(CONTROL + C_GENERATION, true) + 1;
    writeTables(this.views.bytes, (next & 1) as 0 | 1, contents, this.#sessions);
    this.view.setUint32(CONTROL + C_GENERATION, next, true);
  }

  word(offset: number): number {
    return this.view.getUint32(this.base + offset, true);
  }

  setWord(offset: number, value: number): void {
    this.view.setUint32(this.base + offset, value, true);
  }

  /** Address of the next input descriptor with its slot preset, as the pump presets it. */
  #nextInput(list: number, slots: number, index: number): number {
    if (index >= BATCH) throw new RangeError(`more than ${BATCH} inputs before a run`);
    const at = this.base + list + index * DESCRIPTOR_SIZE;
    this.views.bytes.fill(0, at, at + DESCRIPTOR_SIZE);
    const slot = this.base + slots + index * SLOT_SIZE + HEADROOM;
    this.view.setUint32(at + D_ADDRESS, slot, true);
    this.view.setUint32(at + D_CAPACITY, SLOT_SIZE - HEADROOM, true);
    return at;
  }

  /** Puts a packet into the TUN input; returns the descriptor's address for further damage. */
  feedTun(packet: Uint8Array, vnet: VnetHeader = {}): number {
    const at = this.#nextInput(W_TUN_IN, W_TUN_SLOTS, this.#tunCount);
    const slot = this.view.getUint32(at + D_ADDRESS, true);
    this.views.bytes.set([vnet.flags ?? 0, vnet.gsoType ?? 0], slot);
    this.view.setUint16(slot + 2, vnet.headerLength ?? 0, true);
    this.view.setUint16(slot + 4, vnet.gsoSize ?? 0, true);
    this.view.setUint16(slot + 6, vnet.checksumStart ?? 0, true);
    this.view.setUint16(slot + 8, vnet.checksumOffset ?? 0, true);
    this.views.bytes.set(packet, slot + VNET_HEADER_SIZE);
    this.view.setUint32(at + D_LENGTH, VNET_HEADER_SIZE + packet.length, true);
    this.#tunCount += 1;
    this.setWord(W_TUN_IN_COUNT, this.#tunCount);
    return at;
  }

  /** Puts a datagram or train into the underlay input; returns the descriptor's address. */
  feedWire(datagram: Uint8Array, input: WireInput): number {
    const address = parseAddress(input.from);
    if (address === undefined) throw new TypeError(`no address: ${input.from}`);
    const at = this.#nextInput(W_WIRE_IN, W_WIRE_SLOTS, this.#wireCount);
    const bytes = concat(input.before ?? new Uint8Array(0), datagram);
    this.views.bytes.set(bytes, this.view.getUint32(at + D_ADDRESS, true));
    this.view.setUint32(at + D_LENGTH, bytes.length, true);
    this.view.setUint16(at + D_SEGMENT, input.segment ?? 0, true);
    this.views.bytes[at + D_TOS] = input.tos ?? 0;
    this.views.bytes[at + D_FLAGS] = input.flags ?? 0;
    this.view.setUint16(at + D_SOCKET, input.socket ?? 0, true);
    this.view.setUint16(at + D_PORT, input.port ?? 50000, true);
    this.views.bytes[at + D_FAMILY] = address.family;
    this.views.bytes.set(addressBytes(address), at + D_PEER);
    this.views.bytes.fill(0, at + D_LOCAL, at + D_LOCAL + 16);
    this.#wireCount += 1;
    this.setWord(W_WIRE_IN_COUNT, this.#wireCount);
    return at;
  }

  /** Puts a packet of the control thread into the inject ring; false = full. */
  inject(packet: Uint8Array, peer?: NamedPeer): boolean {
    return putInject(this.views, this.base, packet, peer);
  }

  /** Takes out everything that was punted. */
  punts(): { packet: Uint8Array; kind: number; peer: number }[] {
    const out: { packet: Uint8Array; kind: number; peer: number }[] = [];
    drainPunts(this.views, this.base, (packet, kind, peer) => out.push({ packet, kind, peer }));
    return out;
  }

  counters(): WorkerCounters {
    return readCounters(this.views.counters, this.base, 0);
  }

  /** Runs until both inputs are done, "writes" after every run, and gives back copies of it all. */
  run(): Outputs {
    const out: Outputs = { wire: [], tun: [], runs: 0 };
    do {
      out.runs += 1;
      if (out.runs > 1000) throw new Error("the hot path makes no progress");
      this.deadline_us = this.hot.run(this.now_us);
      this.#write(out);
      this.hot.settle();
    } while (!this.#isDone());
    this.#tunCount = 0;
    this.#wireCount = 0;
    for (const word of [W_TUN_IN_COUNT, W_TUN_IN_NEXT, W_WIRE_IN_COUNT, W_WIRE_IN_NEXT]) {
      this.setWord(word, 0);
    }
    return out;
  }

  #isDone(): boolean {
    return (
      this.word(W_TUN_IN_NEXT) === this.word(W_TUN_IN_COUNT) &&
      this.word(W_WIRE_IN_NEXT) === this.word(W_WIRE_IN_COUNT)
    );
  }

  #write(out: Outputs): void {
    for (let i = 0; i < this.word(W_WIRE_OUT_COUNT); i++) {
      const at = this.base + W_WIRE_OUT + i * DESCRIPTOR_SIZE;
      this.#setResult(at, this.fail("wire", out.wire.length));
      out.wire.push(this.#readWire(at));
    }
    for (let i = 0; i < this.word(W_TUN_OUT_COUNT); i++) {
      const at = this.base + W_TUN_OUT + i * DESCRIPTOR_SIZE;
      this.#setResult(at, this.fail("tun", out.tun.length));
      out.tun.push(this.#readTun(at));
    }
  }

  #setResult(at: number, result: WriteResult | undefined): void {
    this.view.setUint32(at + D_STATUS, result?.status ?? 0, true);
    this.view.setUint16(at + D_FAILED, result?.failed ?? 0, true);
  }

  #slice(at: number): Uint8Array {
    const address = this.view.getUint32(at + D_ADDRESS, true);
    return this.views.bytes.slice(address, address + this.view.getUint32(at + D_LENGTH, true));
  }

  #readWire(at: number): WireOutput {
    const bytes = this.#slice(at);
    const segment = this.view.getUint16(at + D_SEGMENT, true);
    return {
      bytes,
      segment,
      segments: this.view.getUint16(at + D_SEGMENTS, true),
      socket: this.view.getUint16(at + D_SOCKET, true),
      tos: this.view.getUint8(at + D_TOS),
      port: this.view.getUint16(at + D_PORT, true),
      family: this.view.getUint8(at + D_FAMILY),
      peer: this.views.bytes.slice(at + D_PEER, at + D_PEER + 16),
      direction: this.view.getUint8(at + D_DIRECTION),
      innerBytes: this.view.getUint32(at + D_CAPACITY, true),
      datagrams: cutTrain(bytes, segment),
    };
  }

  #readTun(at: number): TunOutput {
    const bytes = this.#slice(at);
    const header = new DataView(bytes.buffer, bytes.byteOffset, VNET_HEADER_SIZE);
    return {
      vnet: {
        flags: header.getUint8(0),
        gsoType: header.getUint8(1),
        headerLength: header.getUint16(2, true),
        gsoSize: header.getUint16(4, true),
        checksumStart: header.getUint16(6, true),
        checksumOffset: header.getUint16(8, true),
      },
      packet: bytes.subarray(VNET_HEADER_SIZE),
      segments: this.view.getUint16(at + D_SEGMENTS, true),
      direction: this.view.getUint8(at + D_DIRECTION),
      innerBytes: this.view.getUint32(at + D_CAPACITY, true),
      isInArena: this.view.getUint32(at + D_ADDRESS, true) >= this.base + W_TUN_ARENA,
    };
  }
}

/** All workers of a fresh memory, each with an instance of its own, as in the product. */
export async function loadWorkers(options: TestOptions = {}): Promise<TestModule[]> {
  const views = createMemory({ ...options, workers: options.workers ?? 1 });
  const module = await compileModule();
  return views.bases.map((_, worker) => {
    const hot = instantiateModule(module, views.memory) as Kernels;
    return new TestModule(hot, views, worker);
  });
}

/** One worker on a fresh memory. */
export async function loadModule(options: TestOptions = {}): Promise<TestModule> {
  const [module] = await loadWorkers(options);
  if (module === undefined) throw new Error("no worker");
  return module;
}
