// Feeds the built hot path with anything at all, fast, and watches it: outputs where they may lie
// and nowhere else, none over another, counters exact, memory of others untouched.
import { CALLS_HELD } from "../../assembly/shared/calls.js";
import {
  ARENA_SIZE,
  BATCH,
  C_CALLS_AT,
  C_GENERATION,
  C_SESSIONS_AT,
  CONTROL,
  COUNTERS_PER_DIRECTION,
  D_ADDRESS,
  D_CAPACITY,
  D_DIRECTION,
  D_FAILED,
  D_FAMILY,
  D_FLAGS,
  D_LENGTH,
  D_PEER,
  D_SEGMENT,
  D_SEGMENTS,
  D_SOCKET,
  D_STATUS,
  D_TOS,
  DESCRIPTOR_SIZE,
  HEADROOM,
  INGRESS,
  MAX_DROPS,
  N_CONSUMED,
  N_DROP_PACKETS,
  N_FORWARDED,
  N_GENERATED,
  N_RECEIVED,
  OUT_DESCRIPTORS,
  SLOT_SIZE,
  W_COUNTERS,
  W_FEATURES,
  W_TUN_ARENA,
  W_TUN_IN,
  W_TUN_IN_COUNT,
  W_TUN_IN_NEXT,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_TUN_SLOTS,
  W_WIRE_ARENA,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_IN_NEXT,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
  W_WIRE_SLOTS,
} from "../../assembly/shared/layout.js";
import { SESSION_EXPECTED } from "../../assembly/shared/tables.js";
import { createMemory, type DatapathMemory } from "../../src/datapath/memory.js";
import { compileModule, type HotPath, instantiateModule } from "../../src/datapath/module.js";
import { drainPunts, putInject } from "../../src/datapath/punt.js";
import { Sessions } from "../../src/datapath/sessions.js";
import { writeTables } from "../../src/datapath/tables.js";
import type { TableContents } from "../../src/datapath/types.js";

/** One output descriptor; `bytes` is a view that holds until the next run. */
export interface Output {
  address: number;
  bytes: Uint8Array;
  innerBytes: number;
  segment: number;
  segments: number;
  socket: number;
  tos: number;
  direction: number;
  peer: Uint8Array;
}

export interface WireMeta {
  /** 16 bytes as D_PEER. */
  from: Uint8Array;
  family: number;
  segment?: number;
  tos?: number;
  flags?: number;
  socket?: number;
  /** The outer header, where the socket hands it over with the datagram. */
  before?: Uint8Array;
}

/** Changes a descriptor after it was filled. */
export type Damage = (view: DataView, descriptor: number) => void;
/** Says how a write went: errno and how many segments failed. */
export type Writer = (output: Output) => { status: number; failed: number };

const GUARD = 0xa5;

export class FuzzDriver {
  readonly base: number;
  now_us = 1e6;
  /** When the last run wanted to be called again. */
  deadline_us = Number.POSITIVE_INFINITY;
  /** Packets given so far: a super-packet or a train counts once. */
  fed = 0;
  #tun = 0;
  #wire = 0;
  readonly #view: DataView;
  readonly #sessions: Sessions;

  constructor(
    readonly hot: HotPath,
    readonly memory: DatapathMemory,
    contents: TableContents,
    /** Whether otherIsUntouched() is to be asked: the other worker's memory is filled then. */
    isWatched = true,
  ) {
    this.base = memory.bases[0] ?? 0;
    this.#view = new DataView(memory.memory.buffer);
    this.#sessions = new Sessions(memory.bytes);
    // A second worker's region lies behind the first: nothing may be written there.
    const other = memory.bases[1] ?? 0;
    if (isWatched) memory.bytes.fill(GUARD, other);
    this.publish(contents);
    hot.init(this.base);
  }

  /** Makes tables live, between two runs. */
  publish(contents: TableContents): void {
    const next = this.#view.getUint32(CONTROL + C_GENERATION, true) + 1;
    writeTables(this.memory.bytes, (next & 1) as 0 | 1, contents, this.#sessions);
    this.#view.setUint32(CONTROL + C_GENERATION, next, true);
  }

  static async open(contents: TableContents): Promise<FuzzDriver> {
    const memory = createMemory({ workers: 2, peerCapacity: 64, prefixCapacity: 256 });
    const hot = instantiateModule(await compileModule(), memory.memory);
    return new FuzzDriver(hot, memory, contents);
  }

  /** A copy of everything before the session records: control block and both tables. */
  snapshot(): Uint8Array {
    return this.memory.bytes.slice(0, this.#sessionsAt());
  }

  #sessionsAt(): number {
    return this.#view.getUint32(CONTROL + C_SESSIONS_AT, true);
  }

  /** The least number that a peer's next packet may have: in the first session there is. */
  expectedNumber(): number {
    return this.#view.getUint32(this.#sessionsAt() + SESSION_EXPECTED, true);
  }

  /** Whether the other worker's region is as it was filled at start. */
  otherIsUntouched(): boolean {
    const other = this.memory.bytes.subarray(this.memory.bases[1] ?? 0);
    return other.every((byte) => byte === GUARD);
  }

  setFeatures(bits: number): void {
    this.#view.setUint32(this.base + W_FEATURES, bits, true);
  }

  get tunFree(): number {
    return BATCH - this.#tun;
  }

  get wireFree(): number {
    return BATCH - this.#wire;
  }

  #feed(list: number, slots: number, index: number, length: number): number {
    const at = this.base + list + index * DESCRIPTOR_SIZE;
    this.fed += 1;
    this.memory.bytes.fill(0, at, at + DESCRIPTOR_SIZE);
    this.#view.setUint32(at + D_ADDRESS, this.base + slots + index * SLOT_SIZE + HEADROOM, true);
    this.#view.setUint32(at + D_CAPACITY, SLOT_SIZE - HEADROOM, true);
    this.#view.setUint32(at + D_LENGTH, length, true);
    return at;
  }

  feedTun(vnet: Uint8Array, packet: Uint8Array, damage?: Damage): void {
    const at = this.#feed(W_TUN_IN, W_TUN_SLOTS, this.#tun++, vnet.length + packet.length);
    const slot = this.#view.getUint32(at + D_ADDRESS, true);
    this.memory.bytes.set(vnet, slot);
    this.memory.bytes.set(packet, slot + vnet.length);
    this.#view.setUint32(this.base + W_TUN_IN_COUNT, this.#tun, true);
    damage?.(this.#view, at);
  }

  feedWire(bytes: Uint8Array, meta: WireMeta, damage?: Damage): void {
    const before = meta.before ?? new Uint8Array(0);
    const length = before.length + bytes.length;
    const at = this.#feed(W_WIRE_IN, W_WIRE_SLOTS, this.#wire++, length);
    const slot = this.#view.getUint32(at + D_ADDRESS, true);
    this.memory.bytes.set(before, slot);
    this.memory.bytes.set(bytes, slot + before.length);
    this.memory.bytes.set(meta.from, at + D_PEER);
    this.#view.setUint8(at + D_FAMILY, meta.family);
    this.#view.setUint16(at + D_SEGMENT, meta.segment ?? 0, true);
    this.#view.setUint8(at + D_TOS, meta.tos ?? 0);
    this.#view.setUint8(at + D_FLAGS, meta.flags ?? 0);
    this.#view.setUint16(at + D_SOCKET, meta.socket ?? 0, true);
    this.#view.setUint32(this.base + W_WIRE_IN_COUNT, this.#wire, true);
    damage?.(this.#view, at);
  }

  inject(packet: Uint8Array): boolean {
    return putInject(this.memory, this.base, packet);
  }

  /** Empties the punt ring; how many there were. */
  punts(): number {
    return drainPunts(this.memory, this.base, () => undefined);
  }

  /** Runs until all inputs are done; `see` gets every round's outputs before they are settled. */
  run(see: (tun: Output[], wire: Output[]) => void, write: Writer): void {
    const word = (offset: number) => this.#view.getUint32(this.base + offset, true);
    for (let rounds = 0; ; rounds++) {
      if (rounds > 500) throw new Error("the hot path makes no progress");
      this.now_us += 50;
      this.deadline_us = this.hot.run(this.now_us);
      const tun = this.#read(W_TUN_OUT, word(W_TUN_OUT_COUNT), write);
      const wire = this.#read(W_WIRE_OUT, word(W_WIRE_OUT_COUNT), write);
      this.#judgePlaces(tun, wire);
      see(tun, wire);
      this.hot.settle();
      this.#judgeCounters();
      const isDone = word(W_TUN_IN_NEXT) === this.#tun && word(W_WIRE_IN_NEXT) === this.#wire;
      if (isDone) break;
    }
    for (const offset of [W_TUN_IN_COUNT, W_TUN_IN_NEXT, W_WIRE_IN_COUNT, W_WIRE_IN_NEXT]) {
      this.#view.setUint32(this.base + offset, 0, true);
    }
    this.#tun = 0;
    this.#wire = 0;
  }

  #read(list: number, count: number, write: Writer): Output[] {
    if (count > OUT_DESCRIPTORS) throw new Error(`${count} output descriptors`);
    return Array.from({ length: count }, (_, i) => {
      const at = this.base + list + i * DESCRIPTOR_SIZE;
      const address = this.#view.getUint32(at + D_ADDRESS, true);
      const output = {
        address,
        bytes: this.memory.bytes.subarray(
          address,
          address + this.#view.getUint32(at + D_LENGTH, true),
        ),
        innerBytes: this.#view.getUint32(at + D_CAPACITY, true),
        segment: this.#view.getUint16(at + D_SEGMENT, true),
        segments: this.#view.getUint16(at + D_SEGMENTS, true),
        socket: this.#view.getUint16(at + D_SOCKET, true),
        tos: this.#view.getUint8(at + D_TOS),
        direction: this.#view.getUint8(at + D_DIRECTION),
        peer: this.memory.bytes.subarray(at + D_PEER, at + D_PEER + 16),
      };
      const { status, failed } = write(output);
      this.#view.setUint32(at + D_STATUS, status, true);
      this.#view.setUint16(at + D_FAILED, failed, true);
      return output;
    });
  }

  #isWithin(output: Output, start: number, size: number): boolean {
    const at = this.base + start;
    return output.address >= at && output.address + output.bytes.length <= at + size;
  }

  /** Every output lies in an arena or where its packet was read, and none over another. */
  #judgePlaces(tun: Output[], wire: Output[]): void {
    const slots = SLOT_SIZE * BATCH;
    const wrongTun = tun.find(
      (o) =>
        !this.#isWithin(o, W_TUN_ARENA, ARENA_SIZE) &&
        !this.#isWithin(o, W_WIRE_SLOTS, slots) &&
        !this.#isWithin(o, W_TUN_SLOTS, slots),
    );
    const wrongWire = wire.find(
      (o) =>
        !this.#isWithin(o, W_WIRE_ARENA, ARENA_SIZE) &&
        !this.#isWithin(o, W_WIRE_SLOTS, slots) &&
        !this.#isWithin(o, W_TUN_SLOTS, slots),
    );
    const wrong = wrongTun ?? wrongWire;
    if (wrong !== undefined) throw new Error(`output at ${wrong.address - this.base} of worker`);
    const all = [...tun, ...wire].sort((a, b) => a.address - b.address);
    all.forEach((output, i) => {
      const next = all[i + 1];
      if (next !== undefined && output.address + output.bytes.length > next.address) {
        throw new Error(`outputs overlap at ${next.address - this.base} of worker`);
      }
    });
  }

  counter(direction: number, offset: number): bigint {
    const at = this.base + W_COUNTERS + direction * COUNTERS_PER_DIRECTION + offset;
    return this.memory.counters[at / 8] ?? 0n;
  }

  /** Drops of one direction by reason number. */
  drops(direction: number): bigint[] {
    return Array.from({ length: MAX_DROPS }, (_, i) =>
      this.counter(direction, N_DROP_PACKETS + 8 * i),
    );
  }

  /** Packets of PPTP calls that wait for those before them. */
  held(): number {
    return this.#view.getUint32(
      this.#view.getUint32(CONTROL + C_CALLS_AT, true) + CALLS_HELD,
      true,
    );
  }

  /** received + generated = forwarded + consumed + dropped, in each direction, exactly. */
  #judgeCounters(): void {
    for (const direction of [0, 1]) {
      const dropped = this.drops(direction).reduce((sum, n) => sum + n, 0n);
      const came = this.counter(direction, N_RECEIVED) + this.counter(direction, N_GENERATED);
      const went = this.counter(direction, N_FORWARDED) + this.counter(direction, N_CONSUMED);
      const held = direction === INGRESS ? BigInt(this.held()) : 0n;
      if (came !== went + dropped + held) {
        throw new Error(`direction ${direction}: ${came} came, ${went} + ${dropped} went`);
      }
    }
  }
}
