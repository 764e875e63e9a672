// Entry of a worker thread: blocks in the native poller, never in the event loop, and pumps what is
// there. It learns everything from workerData; it ends when told to stop.
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { clearWake, mapStamps, pinThread, setThreadSlice, wake } from "node-tun";
import {
  COMMAND_MEASURE,
  COMMAND_RUN,
  COMMAND_STOP,
  COMMAND_TELL,
  RING_HEAD,
  RING_TAIL,
  W_COMMAND,
  W_HEARTBEAT,
  W_PUNT_RING,
  W_STATE,
  WORKER_PARKED,
  WORKER_RUNNING,
} from "../../assembly/shared/layout.js";
import { PORT_WAKE } from "./device.js";
import { systemCode } from "./errors.js";
import { NativePorts } from "./exchange.js";
import { HandleTable, type WorkerHandles } from "./handles.js";
import { HeapMeter, type WorkerHeap } from "./heap.js";
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

/**
 * To the control thread: it runs with the handles it was given, its punt ring has packets; or
 * because that was asked for: there was a round, its heap.
 */
export type WorkerMessage = "ready" | "punt" | "round" | WorkerHeap;

/** Rounds after which the heap's records are read though nobody asks: minutes of full load. */
const UNASKED_ROUNDS = 1 << 24;

/**
 * Some 50 ms, for an engine that takes a loop up by the bytes of its code that have run. What it
 * has compiled without ever seeing a branch in use, or a field change, is thrown away when that
 * first happens, and a node with little traffic then runs slow code for hours: so all of it happens
 * here.
 */
const REHEARSAL_TURNS = 12_000;
/** So seldom that the engine does not take what is done then into the loop itself. */
const REHEARSAL_SELDOM = 16;

/**
 * Of a worker with a CPU's calm packets: the least that Linux takes. Woken by a packet it goes
 * before a thread with the usual 3 ms, which is mostly the one that sent it and is done.
 */
const SLICE_US = 100;

/** Turns between two looks at what the engine has compiled. */
const SPELL_TURNS = 1024;

/** A packet is in its queue so much later than the program chose it. */
const ENQUEUE_US = 2;
const toStamp = (time_us: number): number => Math.floor((time_us - ENQUEUE_US) / 1.024) >>> 0;

function stampsOf(fd: number): Uint32Array {
  return fd < 0 ? new Uint32Array(0) : mapStamps(fd);
}

class WorkerLoop {
  readonly #setup: WorkerSetup;
  readonly #words: Uint32Array;
  readonly #table: HandleTable;
  readonly #post: (message: WorkerMessage) => void;
  readonly #ports: NativePorts;
  readonly #pump: Pump;
  #handles: WorkerHandles;
  readonly #meter = new HeapMeter();
  #puntHead = 0;
  readonly #deviceStamps: Uint32Array;
  readonly #wireStamps: Uint32Array;

  constructor(setup: WorkerSetup, post: (message: WorkerMessage) => void) {
    this.#setup = setup;
    this.#post = post;
    this.#words = new Uint32Array(setup.memory.buffer);
    this.#table = new HandleTable(setup.handles);
    this.#handles = this.#table.take();
    this.#deviceStamps = stampsOf(setup.stamps.tun);
    this.#wireStamps = stampsOf(setup.stamps.wire);
    const { module, memory, base, poller } = setup;
    const guard = this.#table.guard();
    const place = { memory: new Uint8Array(memory.buffer), base, poller, guard };
    this.#ports = new NativePorts(place, this.#handles);
    const hotPath = instantiateModule(module, memory);
    hotPath.init(base);
    this.#pump = new Pump({ words: this.#words, base, hotPath, ports: this.#ports });
  }

  /** A CPU may have been taken from us since the start: the worker then runs where it can. */
  #pin(): void {
    try {
      if (this.#setup.cpu < 0) return;
      pinThread(this.#setup.cpu);
      setThreadSlice(SLICE_US);
    } catch (error) {
      if (systemCode(error) !== "EINVAL") throw error;
    }
  }

  run(): void {
    this.#pin();
    this.#store(W_STATE, WORKER_RUNNING);
    let goesOn = this.#rehearse();
    this.#post("ready");
    while (goesOn) goesOn = this.#spell(SPELL_TURNS);
    this.#store(W_STATE, WORKER_PARKED);
  }

  /**
   * Some turns: a loop that the engine has compiled as one piece, and enters anew now and then so
   * that what it has compiled since is used. @returns false when the worker was told to stop.
   */
  #spell(turns: number): boolean {
    for (let turn = 0; turn < turns; turn += 1) {
      if (!this.#turn()) return false;
    }
    return true;
  }

  /** One round. @returns as `#spell` */
  #turn(): boolean {
    const got = this.#pump.round();
    const rounds = this.#peek(W_HEARTBEAT);
    this.#words[this.#index(W_HEARTBEAT)] = rounds + 1;
    this.#stamp();
    const isPlain =
      (got & PORT_WAKE) === 0 &&
      this.#peek(W_COMMAND) === COMMAND_RUN &&
      this.#peek(W_PUNT_RING + RING_HEAD) === this.#puntHead &&
      rounds % UNASKED_ROUNDS !== 0;
    return isPlain || this.#attend(got, rounds);
  }

  /** What is not for every round. @returns as `#spell` */
  #attend(got: number, rounds: number): boolean {
    // First of all, so that what is asked from here on wakes again.
    if (got & PORT_WAKE) clearWake(this.#setup.wakeFd);
    if (rounds % UNASKED_ROUNDS === 0) this.#meter.read(() => undefined);
    this.#announcePunts();
    this.#takeHandles();
    const command = this.#load(W_COMMAND);
    if (command === COMMAND_STOP) return false;
    if (command !== COMMAND_RUN) this.#answer(command);
    return true;
  }

  /**
   * Turns until the engine has compiled it all: a packet that comes seldom would else meet
   * interpreted code for a long time. What is there meanwhile is done as always.
   * @returns as `#spell`
   */
  #rehearse(): boolean {
    let goesOn = true;
    for (let turn = 0; turn < REHEARSAL_TURNS && goesOn; turn += 1) {
      // A round with nothing to write is another way through the pump than one that writes.
      this.#pump.isRehearsing = turn % 2 === 0;
      const kind = turn % REHEARSAL_SELDOM;
      if (kind === 1) wake(this.#setup.wakeFd);
      else this.#ports.expectAll();
      if (kind === 5) this.#puntHead -= 1;
      // PPTP alone asks to be called again; a wait is a whole number or not.
      if (kind === 7) this.#pump.deadline_us = this.#ports.now_us() + turn / REHEARSAL_SELDOM;
      if (kind === 9) this.#useHandles();
      goesOn = this.#spell(1);
    }
    this.#pump.isRehearsing = false;
    return goesOn;
  }

  /** A stop that came meanwhile stays. */
  #answer(command: number): void {
    Atomics.compareExchange(this.#words, this.#index(W_COMMAND), command, COMMAND_RUN);
    if (command === COMMAND_MEASURE) this.#meter.read(this.#post);
    if (command === COMMAND_TELL) this.#post("round");
  }

  /**
   * The control thread closes what it replaced soon after. It wakes for that, and until then
   * `receive` reads nothing from handles that are not the newest and says "woken", too.
   */
  #takeHandles(): void {
    if (this.#table.version() !== this.#handles.version) this.#useHandles();
  }

  #useHandles(): void {
    this.#handles = this.#table.take();
    this.#ports.use(this.#handles);
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

  /** Not in order with other words: V8 calls a function for each atomic access. */
  #peek(offset: number): number {
    return this.#words[this.#index(offset)] ?? 0;
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
