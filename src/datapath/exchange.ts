// A worker's device and sockets as one pair of native calls: one waits and reads, one writes. The
// plan tells the addon where in the shared memory its descriptors and counts are.
import { exchangePlan, openExchange } from "node-tun";
import {
  BATCH,
  W_STATE,
  W_TUN_IN,
  W_TUN_IN_COUNT,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
  WORKER_PARKED,
  WORKER_RUNNING,
} from "../../assembly/shared/layout.js";
import { PORT_DEVICE, PORT_WIRE, type Ports } from "./device.js";
import type { WorkerHandles } from "./handles.js";

const indexOf = (field: string): number => {
  const index = exchangePlan[field];
  if (index === undefined) throw new RangeError(`node-tun knows no plan field ${field}`);
  return index;
};
const NOW = indexOf("NOW");
const WAIT = indexOf("WAIT");
const READY = indexOf("READY");
const GUARD = indexOf("GUARD");
const SOCKETS = indexOf("SOCKETS");
const FIRST_SOCKET = indexOf("FIRST_SOCKET");
const LISTENING = indexOf("LISTENING");
const FIRST_LISTENING = indexOf("FIRST_LISTENING");
const DEVICE = indexOf("DEVICE");

/**
 * Some 16 super-packets: a whole batch of them would touch 4 MiB a side, more than a cache holds,
 * and they would stay resident.
 */
const BATCH_BYTES = 1 << 20;

/** What of a worker stays the same while its handles change. */
export interface ExchangePlace {
  memory: Uint8Array;
  /** Address of the worker's block. */
  base: number;
  poller: number;
  /** First word: version of the handles; see handles.ts. */
  guard: Uint32Array;
}

/** The fields that never change, by name. Where offsets stand: from the worker's block. */
const fixedFields = ({ base, poller }: ExchangePlace): Record<string, number> => ({
  POLLER: poller,
  STATE_AT: base + W_STATE,
  STATE_WAITING: WORKER_PARKED,
  STATE_RUNNING: WORKER_RUNNING,
  BATCH,
  BATCH_BYTES,
  DEVICE_IN_AT: base + W_TUN_IN,
  DEVICE_IN_COUNT_AT: base + W_TUN_IN_COUNT,
  WIRE_IN_AT: base + W_WIRE_IN,
  WIRE_IN_COUNT_AT: base + W_WIRE_IN_COUNT,
  DEVICE_OUT_AT: base + W_TUN_OUT,
  DEVICE_OUT_COUNT_AT: base + W_TUN_OUT_COUNT,
  WIRE_OUT_AT: base + W_WIRE_OUT,
  WIRE_OUT_COUNT_AT: base + W_WIRE_OUT_COUNT,
});

/** Kernel handles of one worker. The worker counts as parked while `receive` may block. */
export class NativePorts implements Ports {
  readonly send: () => void;
  readonly #receive: () => number;
  readonly #words: Uint32Array;
  readonly #times: Float64Array;

  constructor(place: ExchangePlace, handles: WorkerHandles) {
    const plan = new ArrayBuffer(indexOf("SIZE") * Uint32Array.BYTES_PER_ELEMENT);
    this.#words = new Uint32Array(plan);
    this.#times = new Float64Array(plan, 0, 2);
    for (const [field, value] of Object.entries(fixedFields(place))) {
      this.#words[indexOf(field)] = value;
    }
    this.use(handles);
    const { receive, send } = openExchange(place.memory, this.#words, place.guard);
    this.#receive = receive;
    this.send = send;
  }

  /** Goes over to other handles; both sides may have something there. */
  use(handles: WorkerHandles): void {
    this.#words[DEVICE] = handles.tun;
    this.#words[SOCKETS] = handles.sockets.length;
    this.#words.set(handles.sockets, FIRST_SOCKET);
    this.#words[LISTENING] = handles.listening.length / 2;
    this.#words.set(handles.listening, FIRST_LISTENING);
    this.#words[GUARD] = handles.version;
    this.expectAll();
  }

  expectAll(): void {
    this.#words[READY] = PORT_DEVICE | PORT_WIRE;
  }

  receive(wait_us: number): number {
    this.#times[WAIT] = wait_us;
    return this.#receive();
  }

  now_us(): number {
    return this.#times[NOW] ?? 0;
  }
}
