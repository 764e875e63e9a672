// What a pump reads from and writes to: the overlay device and the underlay, both over descriptors
// in the shared memory (assembly/shared/layout.ts, D_*). Fakes in tests implement the same two.
import { readTunBatch, readUdpBatch, writeTunBatch, writeUdpBatch } from "node-tun";

/** A source and sink of packet batches. Neither call blocks; packet bytes stay in the memory. */
export interface BatchPort {
  /**
   * Fills up to `count` descriptors at address `at`, whose ADDRESS and CAPACITY are set.
   * @returns descriptors filled; 0 when nothing is there.
   */
  readBatch(at: number, count: number): number;
  /**
   * Writes `count` descriptors at address `at`; STATUS and FAILED say what came of each.
   * @returns descriptors written whole.
   */
  writeBatch(at: number, count: number): number;
}

/** The overlay's side: one TUN queue with virtio-net headers. */
export type Device = BatchPort;
/** The underlay's side: one listening socket, and the sockets that are only sent from. */
export type Underlay = BatchPort;

/** One queue of the TUN device. */
export class TunDevice implements Device {
  readonly #memory: Uint8Array;
  readonly #fd: number;
  readonly #fds: Int32Array;

  constructor(memory: Uint8Array, fd: number) {
    this.#memory = memory;
    this.#fd = fd;
    this.#fds = Int32Array.of(fd);
  }

  readBatch(at: number, count: number): number {
    return readTunBatch(this.#fd, this.#memory, at, count, 0);
  }

  writeBatch(at: number, count: number): number {
    return writeTunBatch(this.#fds, this.#memory, at, count);
  }
}

/** UDP sockets of one worker: index 0 receives and sends, the rest only send. */
export class UdpUnderlay implements Underlay {
  readonly #memory: Uint8Array;
  readonly #fds: Int32Array;
  readonly #listening: number;

  constructor(memory: Uint8Array, fds: Int32Array) {
    this.#memory = memory;
    this.#fds = fds;
    this.#listening = fds[0] ?? -1;
  }

  readBatch(at: number, count: number): number {
    return readUdpBatch(this.#listening, this.#memory, at, count, 0);
  }

  writeBatch(at: number, count: number): number {
    return writeUdpBatch(this.#fds, this.#memory, at, count);
  }
}
