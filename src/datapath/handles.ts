// A worker's open handles (file descriptor numbers), in a small shared array: the control thread
// opens and closes them, the worker uses them. A rebind replaces them without stopping the thread.
import { SENDING_SOCKETS } from "../../assembly/shared/layout.js";

/** What a poller's token stands for: bit 1 << token of what an exchange receives. */
export const TOKEN_DEVICE = 0;
export const TOKEN_WIRE = 1;
export const TOKEN_WAKE = 2;

/** Odd while the control thread writes. */
const VERSION = 0;
const SEEN = 1;
const TUN = 2;
const SOCKET_COUNT = 3;
const LISTENING_COUNT = 4;
const LISTENING = 5;
/** Sockets that one worker may listen on: UDP ports of encapsulations in use, and raw ones. */
export const LISTENING_MAX = 12;
const SOCKETS = LISTENING + 2 * LISTENING_MAX;
const SIZE = (SOCKETS + SENDING_SOCKETS) * Int32Array.BYTES_PER_ELEMENT;

/** What a worker reads from and writes to. */
export interface WorkerHandles {
  version: number;
  tun: number;
  /** Those to send from, in the hot path's order; -1 is none. The first listens, too. */
  sockets: Int32Array;
  /** Those to receive from: pairs of a descriptor and its kind, SOCKET_*. */
  listening: Int32Array;
}

/** What a worker shall read from and write to; see {@link WorkerHandles}. */
export interface WantedHandles {
  tun: number;
  sockets: readonly number[];
  listening: readonly { fd: number; kind: number }[];
}

/** Both threads' view of one worker's handles. */
export class HandleTable {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(SIZE)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Control thread: replaces the handles. The old ones stay open until `isSeen`. */
  publish({ tun, sockets, listening }: WantedHandles): void {
    Atomics.add(this.#words, VERSION, 1);
    this.#store(TUN, tun);
    this.#store(SOCKET_COUNT, sockets.length);
    this.#store(LISTENING_COUNT, listening.length);
    for (const [index, socket] of sockets.entries()) this.#store(SOCKETS + index, socket);
    for (const [index, { fd, kind }] of listening.entries()) {
      this.#store(LISTENING + 2 * index, fd);
      this.#store(LISTENING + 2 * index + 1, kind);
    }
    Atomics.add(this.#words, VERSION, 1);
  }

  version(): number {
    return Atomics.load(this.#words, VERSION);
  }

  /** A view whose first word is the version, for native code. */
  guard(): Uint32Array {
    return new Uint32Array(this.buffer, VERSION * Int32Array.BYTES_PER_ELEMENT);
  }

  /** True when the worker uses the newest handles, so that older ones may be closed. */
  isSeen(): boolean {
    return Atomics.load(this.#words, SEEN) === this.version();
  }

  /** Worker: the newest handles, marked as seen; what was used before is not touched again. */
  take(): WorkerHandles {
    for (;;) {
      const version = this.version();
      const sockets = new Int32Array(this.#load(SOCKET_COUNT));
      for (const index of sockets.keys()) sockets[index] = this.#load(SOCKETS + index);
      const listening = new Int32Array(2 * this.#load(LISTENING_COUNT));
      for (const index of listening.keys()) listening[index] = this.#load(LISTENING + index);
      const tun = this.#load(TUN);
      if (version % 2 !== 0 || version !== this.version()) continue;
      Atomics.store(this.#words, SEEN, version);
      return { version, tun, sockets, listening };
    }
  }

  /** Atomic, all of them: only such accesses keep their order on every processor. */
  #load(index: number): number {
    return Atomics.load(this.#words, index);
  }

  #store(index: number, value: number): void {
    Atomics.store(this.#words, index, value);
  }
}
