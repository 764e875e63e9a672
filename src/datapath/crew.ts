// Supervises the worker threads: starts them, restarts one that died on the handles it had, stops
// them. Handles and counters are not the thread's, so a death loses only the packets in its hands.
import { Worker } from "node:worker_threads";
import { wake } from "node-tun";
import {
  COMMAND_MEASURE,
  COMMAND_RUN,
  COMMAND_STOP,
  COMMAND_TELL,
  W_COMMAND,
  W_GENERATION,
  W_HEARTBEAT,
  W_STATE,
  WORKER_PARKED,
} from "../../assembly/shared/layout.js";
import { DatapathError, describe } from "./errors.js";
import type { WorkerHeap } from "./heap.js";
import type { WorkerMessage, WorkerSetup } from "./worker.js";

/** A worker that dies again within this time waits before its next start, longer each time. */
const STABLE_MS = 10_000;
const DELAY_FIRST_MS = 50;
const DELAY_MAX_MS = 5000;
/** A worker answers within one round; one that hangs or has just died does not. */
const MEASURE_DEADLINE_MS = 500;

/** A worker keeps no objects: so much is plenty, and by default V8 takes 2 MB more for each. */
const LIMITS = {
  maxYoungGenerationSizeMb: 1,
  maxOldGenerationSizeMb: 32,
  codeRangeSizeMb: 8,
  stackSizeMb: 1,
};

export type WorkerState = "starting" | "running" | "parked" | "dead" | "stopped";

/** What `status` shows of one worker. */
export interface WorkerStatus {
  index: number;
  /** Number of the thread as Node counts them; -1 while there is none. */
  threadId: number;
  state: WorkerState;
  restarts: number;
  /** Generation of the tables it last worked with. */
  generation: number;
  /** Rounds of its loop; they stand still while it is idle. Wraps at 2^32. */
  rounds: number;
  /** As of the last `measureHeaps`; null before the thread's first. */
  heap: WorkerHeap | null;
}

/** One place in the crew: what its threads, one after another, have in common. */
interface Place {
  setup: WorkerSetup;
  thread: Worker | undefined;
  ready: boolean;
  restarts: number;
  startedAt_ms: number;
  delay_ms: number;
  /** What the thread threw, before its end is reported. */
  failure: string | undefined;
  /** Why the last thread of this place ended. */
  reason: string;
  timer: NodeJS.Timeout | undefined;
  heap: WorkerHeap | null;
  /** Settles when the heap that was asked for is there, or at the deadline. */
  measuring: Promise<void> | undefined;
  measured: () => void;
  /** Settles when a restart under way has launched or given up. */
  restarting: Promise<void>;
}

export interface CrewParts {
  words: Uint32Array;
  setups: readonly WorkerSetup[];
  /** A worker died; awaited before its place is started again. A failure is the next reason. */
  beforeRestart: (worker: number, reason: string) => Promise<void>;
  /** The new thread of a worker that died runs. */
  onRestart: (worker: number, reason: string, restarts: number) => void;
  onPunt: (worker: number) => void;
  /** The answer to `listen`. */
  onRound: () => void;
}

/** All worker threads of one datapath. */
export class Crew {
  readonly #parts: CrewParts;
  readonly #places: Place[];
  #stopping = false;

  constructor(parts: CrewParts) {
    this.#parts = parts;
    this.#places = parts.setups.map((setup) => ({
      setup,
      thread: undefined,
      ready: false,
      restarts: 0,
      startedAt_ms: 0,
      delay_ms: 0,
      failure: undefined,
      reason: "",
      timer: undefined,
      heap: null,
      measuring: undefined,
      measured: () => undefined,
      restarting: Promise.resolve(),
    }));
  }

  /**
   * Starts every worker and resolves when all of them run.
   * @throws {DatapathError} MESHD_WORKER_FAILED when one ends before it ran.
   */
  async start(): Promise<void> {
    process.once("exit", this.#letGo);
    await Promise.all(this.#places.map((_, index) => this.#startFirst(index)));
  }

  #startFirst(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const thread = this.#launch(index);
      thread.once("message", () => resolve());
      thread.once("exit", () => {
        const reason = this.#places[index]?.reason ?? "";
        reject(new DatapathError("MESHD_WORKER_FAILED", `worker ${index} ended: ${reason}`));
      });
    });
  }

  status(): WorkerStatus[] {
    return this.#places.map((place, index) => ({
      index,
      threadId: place.thread?.threadId ?? -1,
      state: this.#stateOf(place),
      restarts: place.restarts,
      generation: this.#load(place, W_GENERATION),
      rounds: this.#load(place, W_HEARTBEAT),
      heap: place.heap,
    }));
  }

  /** Lets every thread measure its heap; `status` has what they answered. */
  async measureHeaps(): Promise<void> {
    await Promise.all(this.#places.map((place, index) => this.#measure(place, index)));
  }

  #measure(place: Place, index: number): Promise<void> {
    if (!place.ready) return Promise.resolve();
    place.measuring ??= new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, MEASURE_DEADLINE_MS);
      place.measured = () => {
        clearTimeout(timer);
        resolve();
      };
      const at = (place.setup.base + W_COMMAND) >>> 2;
      for (const before of [COMMAND_RUN, COMMAND_TELL]) {
        Atomics.compareExchange(this.#parts.words, at, before, COMMAND_MEASURE);
      }
      this.wake(index);
    }).finally(() => {
      place.measuring = undefined;
    });
    return place.measuring;
  }

  /** Every worker says once when it has had a round: packets, or what else woke it. */
  listen(): void {
    for (const { setup } of this.#places) {
      const at = (setup.base + W_COMMAND) >>> 2;
      Atomics.compareExchange(this.#parts.words, at, COMMAND_RUN, COMMAND_TELL);
    }
  }

  /** Wakes a worker that may be blocked, so that it looks at its rings, command and handles. */
  wake(index: number): void {
    const place = this.#places[index];
    if (place !== undefined) wake(place.setup.wakeFd);
  }

  /** True when the place has a thread that runs. */
  isAlive(index: number): boolean {
    return this.#places[index]?.thread !== undefined;
  }

  /** Ends one thread as a crash would; its place is started again. For tests of just that. */
  async terminate(index: number): Promise<void> {
    const ending = this.#places[index]?.thread?.terminate();
    this.wake(index);
    await ending;
  }

  /**
   * process.exit() joins the threads, and one that is blocked in the poller never ends: so that no
   * exit hangs, whoever calls for it, every thread is told to stop and woken.
   */
  readonly #letGo = (): void => {
    this.#stopping = true;
    for (const [index, place] of this.#places.entries()) {
      this.#store(place, W_COMMAND, COMMAND_STOP);
      this.wake(index);
    }
  };

  /** Stops all workers and resolves when their threads are gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#places.map((place, index) => this.#stopOne(place, index)));
    process.off("exit", this.#letGo);
  }

  async #stopOne(place: Place, index: number): Promise<void> {
    clearTimeout(place.timer);
    await place.restarting;
    const thread = place.thread;
    if (thread === undefined) return;
    const gone = new Promise((resolve) => thread.once("exit", resolve));
    this.#store(place, W_COMMAND, COMMAND_STOP);
    this.wake(index);
    await gone;
  }

  #launch(index: number): Worker {
    const place = this.#at(index);
    this.#store(place, W_COMMAND, COMMAND_RUN);
    const url = new URL("./worker.js", import.meta.url);
    const name = `meshd-worker-${index}`;
    const thread = new Worker(url, { workerData: place.setup, name, resourceLimits: LIMITS });
    place.thread = thread;
    place.ready = false;
    place.heap = null;
    place.failure = undefined;
    place.startedAt_ms = performance.now();
    thread.on("message", (message: WorkerMessage) => this.#onMessage(index, message));
    thread.on("error", (error) => {
      place.failure = describe(error);
    });
    thread.on("exit", (code) => this.#onExit(index, code));
    return thread;
  }

  #onMessage(index: number, message: WorkerMessage): void {
    const place = this.#at(index);
    if (message === "punt") {
      this.#parts.onPunt(index);
      return;
    }
    if (message === "round") {
      this.#parts.onRound();
      return;
    }
    if (message !== "ready") {
      place.heap = message;
      place.measured();
      return;
    }
    place.ready = true;
    if (place.restarts > 0) {
      this.#parts.onRestart(index, place.reason, place.restarts);
    }
  }

  /** A dead worker reads no tables: it counts as parked until its place runs again. */
  #onExit(index: number, code: number): void {
    const place = this.#at(index);
    place.thread = undefined;
    this.#store(place, W_STATE, WORKER_PARKED);
    if (this.#stopping) return;
    place.reason = place.failure ?? `thread ended with exit code ${code}`;
    const neverRan = !place.ready && place.restarts === 0;
    place.ready = false;
    if (!neverRan) this.#restartLater(index, place);
  }

  /** A worker that keeps dying is started again ever later, so that it cannot take the machine. */
  #restartLater(index: number, place: Place): void {
    place.restarts += 1;
    const wasStable = performance.now() - place.startedAt_ms >= STABLE_MS;
    const longer_ms = Math.min(Math.max(place.delay_ms * 2, DELAY_FIRST_MS), DELAY_MAX_MS);
    place.delay_ms = wasStable ? 0 : longer_ms;
    place.timer = setTimeout(() => {
      place.restarting = this.#relaunch(index, place);
    }, place.delay_ms);
  }

  async #relaunch(index: number, place: Place): Promise<void> {
    try {
      await this.#parts.beforeRestart(index, place.reason);
      if (!this.#stopping) this.#launch(index);
    } catch (error) {
      place.reason = describe(error);
      place.startedAt_ms = performance.now();
      if (!this.#stopping) this.#restartLater(index, place);
    }
  }

  #stateOf(place: Place): WorkerState {
    if (place.thread === undefined) return this.#stopping ? "stopped" : "dead";
    if (!place.ready) return "starting";
    return this.#load(place, W_STATE) === WORKER_PARKED ? "parked" : "running";
  }

  #at(index: number): Place {
    const place = this.#places[index];
    if (place === undefined) throw new RangeError(`no worker ${index}`);
    return place;
  }

  #load(place: Place, offset: number): number {
    return Atomics.load(this.#parts.words, (place.setup.base + offset) >>> 2);
  }

  #store(place: Place, offset: number, value: number): void {
    Atomics.store(this.#parts.words, (place.setup.base + offset) >>> 2, value);
  }
}
