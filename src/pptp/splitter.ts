// Cuts a TCP stream into control messages, however they were split or merged on the way. It holds
// at most one unfinished message.
import {
  type BadPrefix,
  checkPrefix,
  MESSAGE_SIZE_MAX,
  type Message,
  PREFIX_SIZE,
  readMessage,
} from "./messages.js";

export class Splitter {
  readonly #held = new Uint8Array(MESSAGE_SIZE_MAX);
  #length = 0;

  /** Bytes of a message that is not whole yet. */
  get pending(): number {
    return this.#length;
  }

  /**
   * Takes the next bytes and gives each message that is whole to `take`, which returns false to
   * hear no more. Returns why the stream is no longer one of messages, else undefined. A bad prefix
   * is told as soon as it is there; the rest of the stream has no meaning then.
   */
  push(bytes: Uint8Array, take: (message: Message) => boolean): BadPrefix | undefined {
    let at = 0;
    while (at < bytes.length) {
      at += this.#fill(bytes, at, PREFIX_SIZE);
      if (this.#length < PREFIX_SIZE) return undefined;
      const length = checkPrefix(this.#held, 0);
      if (typeof length !== "number") return length;
      at += this.#fill(bytes, at, length);
      if (this.#length < length) return undefined;
      this.#length = 0;
      if (!take(readMessage(this.#held))) return undefined;
    }
    return undefined;
  }

  /** Copies until `size` bytes are held; returns how many it took. */
  #fill(bytes: Uint8Array, at: number, size: number): number {
    const count = Math.max(0, Math.min(size - this.#length, bytes.length - at));
    this.#held.set(bytes.subarray(at, at + count), this.#length);
    this.#length += count;
    return count;
  }
}
