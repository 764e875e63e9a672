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
  W_TUN_OUT_COUNT,
  W_TUN_SLOTS,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_IN_NEXT,
  W_WIRE_OUT_COUNT,
  W_WIRE_SLOTS,
} from "../../assembly/shared/layout.js";
import { PORT_DEVICE, PORT_WIRE, type Ports } from "./device.js";
import type { HotPath } from "./module.js";

/** Runs in a row without a packet taken or made, after which the hot path counts as stuck. */
const STALLED_RUNS_MAX = 16;
/** Longest wait when the hot path named a deadline, so that a far one cannot overflow. */
const SLEEP_MAX_US = 1_000_000_000;

/** What a pump is made of. `words` views the whole memory; `base` is the worker's block. */
export interface PumpParts {
  words: Uint32Array;
  base: number;
  hotPath: Pick<HotPath, "run" | "settle">;
  ports: Ports;
}

/** Moves packets of one worker. One instance lives as long as its worker thread. */
export class Pump {
  /** When the hot path wants to run again without input, in the ports' time; +Infinity = never. */
  deadline_us = 0;
  /** Sends and settles although there is nothing. */
  isRehearsing = false;
  /** When each side was last seen empty with all that came out of it written. */
  readonly drained = { device_us: 0, wire_us: 0 };
  readonly #words: Uint32Array;
  readonly #base: number;
  readonly #hotPath: Pick<HotPath, "run" | "settle">;
  readonly #ports: Ports;

  constructor(parts: PumpParts) {
    this.#words = parts.words;
    this.#base = parts.base;
    this.#hotPath = parts.hotPath;
    this.#ports = parts.ports;
    this.#presetSlots(W_TUN_IN, W_TUN_SLOTS, BATCH);
    this.#presetSlots(W_WIRE_IN, W_WIRE_SLOTS, BATCH);
    this.#clearCounts();
  }

  /**
   * One round: waits for something when nothing is known to be there, reads it, works until both
   * inputs are consumed and all outputs are written. Rings and tables are looked at even when
   * nothing was read.
   * @returns what `receive` gave.
   */
  round(): number {
    const empty = this.#ports.receive(this.#wait_us());
    const now_us = this.#ports.now_us();
    this.#work(this.#word(W_TUN_IN_COUNT), this.#word(W_WIRE_IN_COUNT));
    if (empty & PORT_DEVICE) this.drained.device_us = now_us;
    if (empty & PORT_WIRE) this.drained.wire_us = now_us;
    return empty;
  }

  #wait_us(): number {
    if (this.deadline_us === Number.POSITIVE_INFINITY) return -1;
    const wait_us = Math.ceil(this.deadline_us - this.#ports.now_us());
    return Math.max(0, Math.min(wait_us, SLEEP_MAX_US));
  }

  /**
   * The hot path stops early when an output is nearly full: write, settle, run again. No branch has
   * arithmetic of its own that seldom runs: see worker.ts, REHEARSAL_TURNS.
   */
  #work(fromDevice: number, fromWire: number): void {
    let stalled = 0;
    let left = fromDevice + fromWire;
    let written = false;
    do {
      // The time is not handed from method to method: V8 makes an object of it at each such border.
      this.deadline_us = this.#hotPath.run(this.#ports.now_us());
      written = this.#writeOutputs();
      const now = this.#left(fromDevice, fromWire);
      stalled = now === left && !written ? stalled + 1 : 0;
      if (stalled > STALLED_RUNS_MAX) throw new Error(`hot path leaves ${left} inputs untouched`);
      left = now;
    } while (left !== 0 || (written && this.#injectWaiting()));
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
    if (toWire === 0 && toDevice === 0 && !this.isRehearsing) return false;
    this.#ports.send();
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
