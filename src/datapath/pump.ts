// One worker's loop body: read a batch of each side, one call of the hot path, write what it made.
// Knows no threads, clocks or descriptors of the system, so that tests run it on fakes.
import {
  BATCH,
  D_ADDRESS,
  D_CAPACITY,
  DESCRIPTOR_SIZE,
  HEADROOM,
  RING_HEAD,
  RING_TAIL,
  SLOT_SIZE,
  W_INJECT_RING,
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
import type { Device, Underlay } from "./device.js";
import type { HotPath } from "./module.js";

/** Runs in a row without a packet taken or made, after which the hot path counts as stuck. */
const STALLED_RUNS_MAX = 16;

/** What a pump is made of. `words` views the whole memory; `base` is the worker's block. */
export interface PumpParts {
  words: Uint32Array;
  base: number;
  hotPath: Pick<HotPath, "run" | "settle">;
  device: Device;
  underlay: Underlay;
  /** Microseconds of a clock that never goes back, the same for all workers of this machine. */
  now_us: () => number;
}

/**
 * Which inputs may have something: set by the poller, cleared by reads that came back short. While
 * one side is full nobody asks the poller, so both stay set: a flood of one must not starve the
 * other.
 */
export interface Readiness {
  device: boolean;
  wire: boolean;
}

/** Moves packets of one worker. One instance lives as long as its worker thread. */
export class Pump {
  /** When the hot path wants to run again without input, in `now_us` time; +Infinity = never. */
  deadline_us = 0;
  readonly ready: Readiness = { device: true, wire: true };
  /** When each side was last seen empty with all that came out of it written. */
  readonly drained = { device_us: 0, wire_us: 0 };
  /** Replaced between rounds when the handles behind them were. */
  device: Device;
  underlay: Underlay;
  readonly #words: Uint32Array;
  readonly #base: number;
  readonly #hotPath: Pick<HotPath, "run" | "settle">;
  readonly #now_us: () => number;

  constructor(parts: PumpParts) {
    this.#words = parts.words;
    this.#base = parts.base;
    this.#hotPath = parts.hotPath;
    this.device = parts.device;
    this.#now_us = parts.now_us;
    this.underlay = parts.underlay;
    this.#presetSlots(W_TUN_IN, W_TUN_SLOTS, BATCH);
    this.#presetSlots(W_WIRE_IN, W_WIRE_SLOTS, BATCH);
    this.#clearCounts();
  }

  /**
   * One round: reads the sides that are ready, works until both inputs are consumed and all outputs
   * are written. Rings and tables are looked at even when nothing was read.
   * @returns true when a side may hold more: call again before blocking.
   */
  round(): boolean {
    const start_us = this.#now_us();
    const { device, wire } = this.ready;
    const fromDevice = device ? this.#readDevice() : 0;
    const fromWire = wire ? this.#readWire() : 0;
    const mayHoldMore = fromDevice === BATCH || fromWire === BATCH;
    this.ready.device = mayHoldMore;
    this.ready.wire = mayHoldMore;
    this.#work(fromDevice, fromWire);
    if (device && fromDevice < BATCH) this.drained.device_us = start_us;
    if (wire && fromWire < BATCH) this.drained.wire_us = start_us;
    return mayHoldMore;
  }

  #readDevice(): number {
    const count = this.device.readBatch(this.#base + W_TUN_IN, BATCH);
    this.#setWord(W_TUN_IN_COUNT, count);
    this.#setWord(W_TUN_IN_NEXT, 0);
    return count;
  }

  #readWire(): number {
    const count = this.underlay.readBatch(this.#base + W_WIRE_IN, BATCH);
    this.#setWord(W_WIRE_IN_COUNT, count);
    this.#setWord(W_WIRE_IN_NEXT, 0);
    return count;
  }

  /** The hot path stops early when an output is nearly full: write, settle, run again. */
  #work(fromDevice: number, fromWire: number): void {
    let stalled = 0;
    let left = fromDevice + fromWire;
    for (;;) {
      this.deadline_us = this.#hotPath.run(this.#now_us());
      const written = this.#writeOutputs();
      const now = this.#left(fromDevice, fromWire);
      stalled = now === left && !written ? stalled + 1 : 0;
      left = now;
      if (left === 0 && !(written && this.#injectWaiting())) break;
      if (stalled > STALLED_RUNS_MAX) throw new Error(`hot path leaves ${left} inputs untouched`);
    }
    this.#presetSlots(W_TUN_IN, W_TUN_SLOTS, fromDevice);
    this.#presetSlots(W_WIRE_IN, W_WIRE_SLOTS, fromWire);
    this.#clearCounts();
  }

  /** The hot path may leave injected packets for the next run when an output filled up. */
  #injectWaiting(): boolean {
    return this.#word(W_INJECT_RING + RING_HEAD) !== this.#word(W_INJECT_RING + RING_TAIL);
  }

  #left(fromDevice: number, fromWire: number): number {
    return fromDevice - this.#word(W_TUN_IN_NEXT) + fromWire - this.#word(W_WIRE_IN_NEXT);
  }

  #writeOutputs(): boolean {
    const toWire = this.#word(W_WIRE_OUT_COUNT);
    const toDevice = this.#word(W_TUN_OUT_COUNT);
    if (toWire === 0 && toDevice === 0) return false;
    if (toWire > 0) this.underlay.writeBatch(this.#base + W_WIRE_OUT, toWire);
    if (toDevice > 0) this.device.writeBatch(this.#base + W_TUN_OUT, toDevice);
    this.#hotPath.settle();
    return true;
  }

  #presetSlots(descriptors: number, slots: number, count: number): void {
    const words = this.#words;
    for (let index = 0; index < count; index += 1) {
      const at = this.#base + descriptors + index * DESCRIPTOR_SIZE;
      words[(at + D_ADDRESS) >>> 2] = this.#base + slots + index * SLOT_SIZE + HEADROOM;
      words[(at + D_CAPACITY) >>> 2] = SLOT_SIZE - HEADROOM;
    }
  }

  #clearCounts(): void {
    this.#setWord(W_TUN_IN_COUNT, 0);
    this.#setWord(W_TUN_IN_NEXT, 0);
    this.#setWord(W_WIRE_IN_COUNT, 0);
    this.#setWord(W_WIRE_IN_NEXT, 0);
  }

  #word(offset: number): number {
    return this.#words[(this.#base + offset) >>> 2] ?? 0;
  }

  #setWord(offset: number, value: number): void {
    this.#words[(this.#base + offset) >>> 2] = value;
  }
}
