// Ports of a pump made of a device and an underlay that know nothing of each other, in memory.
import {
  BATCH,
  W_TUN_IN,
  W_TUN_IN_COUNT,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
} from "../../assembly/shared/layout.js";
import { PORT_DEVICE, PORT_WIRE, type Ports } from "../../src/datapath/device.js";

/** A source and sink of packet batches. Neither call blocks; packet bytes stay in the memory. */
export interface BatchPort {
  /**
   * Fills up to `count` descriptors at address `at`, whose ADDRESS and CAPACITY are set.
   * @returns descriptors filled; 0 when nothing is there.
   */
  readBatch(at: number, count: number): number;
  /** Writes `count` descriptors at address `at`. @returns descriptors written whole. */
  writeBatch(at: number, count: number): number;
}

/** Reads the sides in `ready`, as the native ports do, but never waits. */
export class SplitPorts implements Ports {
  ready = PORT_DEVICE | PORT_WIRE;
  clock: () => number;
  #now_us = 0;
  readonly #words: Uint32Array;
  readonly #base: number;
  readonly #device: BatchPort;
  readonly #underlay: BatchPort;

  constructor(
    memory: { words: Uint32Array; base: number },
    device: BatchPort,
    underlay: BatchPort,
    clock: () => number = () => 7,
  ) {
    this.#words = memory.words;
    this.#base = memory.base;
    this.#device = device;
    this.#underlay = underlay;
    this.clock = clock;
  }

  receive(): number {
    const asked = this.ready;
    this.#now_us = this.clock();
    let full = 0;
    if (asked & PORT_DEVICE) full += this.#read(PORT_DEVICE, W_TUN_IN, W_TUN_IN_COUNT);
    if (asked & PORT_WIRE) full += this.#read(PORT_WIRE, W_WIRE_IN, W_WIRE_IN_COUNT);
    this.ready = full === 0 ? 0 : PORT_DEVICE | PORT_WIRE;
    return asked & ~full;
  }

  #read(side: number, at: number, countAt: number): number {
    const port = side === PORT_DEVICE ? this.#device : this.#underlay;
    const count = port.readBatch(this.#base + at, BATCH);
    this.#words[(this.#base + countAt) / 4] = count;
    return count === BATCH ? side : 0;
  }

  expectAll(): void {
    this.ready = PORT_DEVICE | PORT_WIRE;
  }

  send(): void {
    const toWire = this.#words[(this.#base + W_WIRE_OUT_COUNT) / 4] ?? 0;
    const toDevice = this.#words[(this.#base + W_TUN_OUT_COUNT) / 4] ?? 0;
    if (toWire > 0) this.#underlay.writeBatch(this.#base + W_WIRE_OUT, toWire);
    if (toDevice > 0) this.#device.writeBatch(this.#base + W_TUN_OUT, toDevice);
  }

  now_us(): number {
    return this.#now_us;
  }

  mayHoldMore(): boolean {
    return this.ready !== 0;
  }
}
