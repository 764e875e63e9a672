// Entry of a worker thread: blocks in the native poller, never in the event loop, and pumps what is
// there. It learns everything from workerData; it ends when told to stop.
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { clearWake, mapStamps, pinThread, pollerWait } from "node-tun";
import {
  COMMAND_RUN,
  RING_HEAD,
  RING_TAIL,
  W_COMMAND,
  W_HEARTBEAT,
  W_PUNT_RING,
  W_STATE,
  WORKER_PARKED,
  WORKER_RUNNING,
} from "../../assembly/shared/layout.js";
import { TunDevice, UdpUnderlay } from "./device.js";
import { systemCode } from "./errors.js";
import {
  HandleTable,
  TOKEN_DEVICE,
  TOKEN_WAKE,
  TOKEN_WIRE,
  type WorkerHandles,
} from "./handles.js";
import { instantiateModule } from "./module.js";
import { Pump } from "./pump.js";
import type { Stamps } from "./steering.js";

/** What the control thread hands to a new worker. Handles stay the control thread's. */
export interface WorkerSetup {
  memory: WebAssembly.Memory;
  module: WebAssembly.Module;
  /** Address of this worker's block. */
  base: number;
  poller: number;
  wakeFd: number;
  handles: SharedArrayBuffer;
  /** The CPU whose packets this worker gets, or -1. */
  cpu: number;
  stamps: Stamps;
  index: number;
}

/** To the control thread: it runs with the handles it was given, or its punt ring has packets. */
export type WorkerMessage = "ready" | "punt";

/** Longest sleep when the hot path named a deadline, so that a far one cannot overflow. */
const CLOCK_SAMPLES = 16;
const SLEEP_MAX_US = 1_000_000_000;

/**
 * performance.now() counts from the thread's own start; this makes it CLOCK_MONOTONIC for all. Time
 * lost between the two calls makes the offset too small, so the largest of several is the best.
 */
function monotonicClock(): () => number {
  const sample = () => Number(process.hrtime.bigint()) / 1000 - performance.now() * 1000;
  const offset_us = Math.max(...Array.from({ length: CLOCK_SAMPLES }, sample));
  return () => offset_us + performance.now() * 1000;
}

/** A packet is in its queue so much later than the program chose it. */
const ENQUEUE_US = 2;
const toStamp = (time_us: number): number => Math.floor((time_us - ENQUEUE_US) / 1.024) >>> 0;

function stampsOf(fd: number): Uint32Array {
  return fd < 0 ? new Uint32Array(0) : mapStamps(fd);
}

class WorkerLoop {
  readonly #setup: WorkerSetup;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #table: HandleTable;
  readonly #now_us = monotonicClock();
  readonly #ready = new Uint32Array(8);
  readonly #post: (message: WorkerMessage) => void;
  #handles: WorkerHandles;
  #pump: Pump;
  #puntHead = 0;
  readonly #deviceStamps: Uint32Array;
  readonly #wireStamps: Uint32Array;

  constructor(setup: WorkerSetup, post: (message: WorkerMessage) => void) {
    this.#setup = setup;
    this.#post = post;
    this.#bytes = new Uint8Array(setup.memory.buffer);
    this.#words = new Uint32Array(setup.memory.buffer);
    this.#table = new HandleTable(setup.handles);
    this.#handles = this.#table.take();
    this.#deviceStamps = stampsOf(setup.stamps.tun);
    this.#wireStamps = stampsOf(setup.stamps.wire);
    this.#pump = this.#makePump();
  }

  #makePump(): Pump {
    const { module, memory, base } = this.#setup;
    const hotPath = instantiateModule(module, memory);
    hotPath.init(base);
    return new Pump({
      words: this.#words,
      base,
      hotPath,
      device: new TunDevice(this.#bytes, this.#handles.tun),
      underlay: new UdpUnderlay(this.#bytes, this.#handles.sockets),
      now_us: this.#now_us,
    });
  }

  /** A CPU may have been taken from us since the start: the worker then runs where it can. */
  #pin(): void {
    try {
      if (this.#setup.cpu >= 0) pinThread(this.#setup.cpu);
    } catch (error) {
      if (systemCode(error) !== "EINVAL") throw error;
    }
  }

  run(): void {
    this.#pin();
    this.#store(W_STATE, WORKER_RUNNING);
    this.#post("ready");
    while (this.#load(W_COMMAND) === COMMAND_RUN) {
      const more = this.#pump.round();
      Atomics.add(this.#words, this.#index(W_HEARTBEAT), 1);
      this.#announcePunts();
      this.#stamp();
      if (more) this.#takeHandles();
      else this.#park();
    }
    this.#store(W_STATE, WORKER_PARKED);
  }

  /** Parked before it blocks, so that a sleeper never holds up a table; running again after. */
  #park(): void {
    const wait_us = this.#wait_us();
    this.#store(W_STATE, WORKER_PARKED);
    const count = pollerWait(this.#setup.poller, this.#ready, wait_us);
    this.#store(W_STATE, WORKER_RUNNING);
    for (let index = 0; index < count; index += 1) this.#note(this.#ready[index] ?? TOKEN_WAKE);
    this.#takeHandles();
  }

  #note(token: number): void {
    if (token === TOKEN_DEVICE) this.#pump.ready.device = true;
    else if (token === TOKEN_WIRE) this.#pump.ready.wire = true;
    else clearWake(this.#setup.wakeFd);
  }

  /** After every round, busy or not: the control thread closes what it replaced soon after. */
  #takeHandles(): void {
    if (this.#table.version() === this.#handles.version) return;
    this.#handles = this.#table.take();
    this.#pump.underlay = new UdpUnderlay(this.#bytes, this.#handles.sockets);
    this.#pump.device = new TunDevice(this.#bytes, this.#handles.tun);
    this.#pump.ready.device = true;
    this.#pump.ready.wire = true;
  }

  /** Tells the steering programs up to when all that came is sent (node-tun, mapStamps). */
  #stamp(): void {
    const { drained } = this.#pump;
    const slot = 2 * this.#setup.index;
    if (this.#deviceStamps.length > 0) {
      this.#deviceStamps[slot] = toStamp(drained.device_us);
      this.#wireStamps[slot] = toStamp(drained.wire_us);
    }
  }

  #wait_us(): number {
    const deadline_us = this.#pump.deadline_us;
    if (deadline_us === Number.POSITIVE_INFINITY) return -1;
    const wait_us = Math.ceil(deadline_us - this.#now_us());
    return Math.max(0, Math.min(wait_us, SLEEP_MAX_US));
  }

  /** postMessage works from a loop that never returns to the event loop; once per new head. */
  #announcePunts(): void {
    const head = this.#load(W_PUNT_RING + RING_HEAD);
    if (head === this.#puntHead) return;
    this.#puntHead = head;
    if (head !== this.#load(W_PUNT_RING + RING_TAIL)) this.#post("punt");
  }

  #index(offset: number): number {
    return (this.#setup.base + offset) >>> 2;
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, this.#index(offset));
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#words, this.#index(offset), value);
  }
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  new WorkerLoop(workerData as WorkerSetup, (message) => port.postMessage(message)).run();
}
