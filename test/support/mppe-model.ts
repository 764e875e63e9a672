// What MPPE's receiver has to answer, said apart from it by counts alone, without cryptography: how
// many key changes it has made, and where in the key stream it is. For the fuzz test.
import { Drop } from "../../assembly/shared/drop.js";
import { MPPE_NEEDS_RESET } from "../../assembly/shared/mppe.js";

const COUNTS = 4096;
const HALF = 2048;
const AT_ONCE = 256;
const SKIPPED_MAX = 2 ** 20;

/** Place in the keys: changes since the first session key, bytes of the present key stream. */
export interface Place {
  changes: number;
  bytes: number;
}

export class SenderModel {
  readonly place: Place = { changes: 0, bytes: 0 };
  #count = COUNTS - 1;
  #isAsked = false;

  constructor(readonly stateful: boolean) {}

  reset(): void {
    this.#isAsked = true;
  }

  /** Takes note of a packet with `length` bytes behind its count; returns where it begins. */
  send(length: number): Place {
    this.#count = (this.#count + 1) % COUNTS;
    if (!this.stateful || this.#isAsked || this.#count % 256 === 255) {
      this.place.changes++;
      this.place.bytes = 0;
    }
    this.#isAsked = false;
    const begin = { ...this.place };
    this.place.bytes += length;
    return begin;
  }
}

export class ReceiverModel {
  readonly place: Place = { changes: 0, bytes: 0 };
  #count = COUNTS - 1;
  #missing = 0;
  #isFirst = true;
  #isLost = false;

  constructor(readonly stateful: boolean) {}

  /** Packets that are known to be missing since the last one taken. */
  get missing(): number {
    return this.#missing;
  }

  skipped(count: number): void {
    this.#missing = count <= SKIPPED_MAX ? count : 0;
  }

  /** How far ahead the count is, at most what may be missing where that is more than a half. */
  #ahead(count: number): number {
    const near = (count - this.#count + COUNTS) % COUNTS;
    const most = this.#missing + 1;
    if (most <= HALF || near > most) return near;
    return near + Math.floor((most - near) / COUNTS) * COUNTS;
  }

  #take(count: number): number {
    this.#count = count;
    this.#missing = 0;
    this.#isLost = false;
    this.#isFirst = false;
    return 0;
  }

  #lose(): number {
    this.#isLost = true;
    this.#missing++;
    return MPPE_NEEDS_RESET;
  }

  #receiveStateless(isFlushed: boolean, count: number, ahead: number): number {
    if (!isFlushed) return -Drop.BAD_FLAGS;
    if (ahead <= AT_ONCE) {
      this.place.changes += ahead;
      this.place.bytes = 0;
      return this.#take(count);
    }
    this.place.changes += AT_ONCE;
    this.#isFirst = false;
    this.#count = (this.#count + AT_ONCE) % COUNTS;
    this.#missing = Math.max(this.#missing + 1, ahead) - AT_ONCE;
    return -Drop.MPPE_BAD_COUNT;
  }

  #receiveStateful(isFlushed: boolean, count: number, ahead: number): number {
    const isNext = !this.#isLost && ahead === 1;
    if (!isNext && !isFlushed) return this.#lose();
    if (!isFlushed && count % 256 !== 255) return this.#take(count);
    const begin = this.#count + 1;
    const flags = Math.floor((begin + ahead - 1) / 256) - Math.floor(begin / 256);
    if (flags > AT_ONCE) {
      this.place.changes += AT_ONCE + 1;
      this.#missing -= AT_ONCE * 256;
      return this.#lose();
    }
    this.place.changes += flags + (this.#isFirst && count === 0 ? 0 : 1);
    this.place.bytes = 0;
    return this.#take(count);
  }

  /** The answer to a packet of `length` bytes, the count word among them. */
  receive(word: number, length: number): number {
    if (length < 3) return -Drop.TOO_SHORT;
    if ((word & 0x1000) === 0) return -Drop.BAD_FLAGS;
    const isFlushed = (word & 0x8000) !== 0;
    const count = word % COUNTS;
    const ahead = this.#ahead(count);
    const isOld = ahead === 0 || (ahead > HALF && ahead > this.#missing + 1);
    if (!this.stateful) {
      if (isFlushed && isOld) return -Drop.MPPE_BAD_COUNT;
      return this.#receiveStateless(isFlushed, count, ahead);
    }
    if (isOld && !this.#isLost) return -Drop.MPPE_BAD_COUNT;
    return this.#receiveStateful(isFlushed, count, ahead === 0 ? COUNTS : ahead);
  }
}
