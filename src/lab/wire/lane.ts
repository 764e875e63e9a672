// One direction of a wire. Pure: frames and times go in, frames come out; what happens to a frame
// follows from the seed and the frame's number alone.
import type { Impairment } from "./impairment.js";

const PPM = 1_000_000;
const ETHERNET_HEADER = 14;
/** Ethertype 802.1Q: four more bytes before the packet. */
const TAGGED = 0x8100;
/** A frame is held back no longer than this, also when nothing follows. */
const HOLD_US_MAX = 20_000;
const WAITING_MAX = 16_384;

/** What came of the frames of one direction since its settings were made. */
export interface LaneCounts {
  /** Frames that came in. */
  frames: number;
  /** Frames that went out, copies included. */
  sent: number;
  lost: number;
  duplicated: number;
  corrupted: number;
  reordered: number;
  tooLong: number;
  cut: number;
  /** Dropped because they would have waited too long for the rate, or too many waited. */
  queueFull: number;
}

interface Waiting {
  frame: Uint8Array;
  /** Due at this time in microseconds. */
  at_us: number;
}

interface Held extends Waiting {
  /** Or once so many frames have gone. */
  after: number;
}

/** Numbers from a seed (mulberry32). Each frame draws as many, whatever is set. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** True in `share_ppm` of a million. */
  hits(share_ppm: number): boolean {
    return this.next() % PPM < share_ppm;
  }
}

function noCounts(): LaneCounts {
  return {
    ...{ frames: 0, sent: 0, lost: 0, duplicated: 0, corrupted: 0, reordered: 0 },
    ...{ tooLong: 0, cut: 0, queueFull: 0 },
  };
}

function packetLength(frame: Uint8Array): number {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  return frame.length - ETHERNET_HEADER - (type === TAGGED ? 4 : 0);
}

/** A copy with one bit of its packet turned over. */
function damaged(frame: Uint8Array, place: number): Uint8Array {
  const copy = Uint8Array.from(frame);
  if (copy.length <= ETHERNET_HEADER) return copy;
  const bit = place % ((copy.length - ETHERNET_HEADER) * 8);
  const at = ETHERNET_HEADER + (bit >>> 3);
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

export class Lane {
  counts = noCounts();
  #impairment: Impairment;
  #dice: Dice;
  /** In the order in which they are due; taken from `#first` on. */
  #waiting: Waiting[] = [];
  #first = 0;
  #held: Held[] = [];
  /** Frames that went their own turn: what held frames wait for. */
  #gone = 0;
  /** When the line has sent all that it was given. */
  #lineFree_us = 0;
  #lastDue_us = 0;

  /** `emit` gets each frame that is due; its bytes are only lent. */
  constructor(
    impairment: Impairment,
    seed: number,
    readonly emit: (frame: Uint8Array) => void,
  ) {
    this.#impairment = impairment;
    this.#dice = new Dice(seed);
  }

  /** Counts and numbers begin anew; what is held back goes now. */
  set(impairment: Impairment, seed: number, now_us: number): void {
    for (const { frame } of this.#held.splice(0)) this.#send(frame, now_us);
    this.#impairment = impairment;
    this.#dice = new Dice(seed);
    this.counts = noCounts();
  }

  /** Takes a frame, whose bytes are only lent. */
  take(frame: Uint8Array, now_us: number): void {
    const { counts } = this;
    const { loss_ppm, duplicate_ppm, corrupt_ppm, reorder_ppm, mtu, cut } = this.#impairment;
    counts.frames += 1;
    const isLost = this.#dice.hits(loss_ppm);
    const isTwice = this.#dice.hits(duplicate_ppm);
    const isDamaged = this.#dice.hits(corrupt_ppm);
    const isHeld = this.#dice.hits(reorder_ppm);
    const place = this.#dice.next();
    const jitter = this.#dice.next();
    if (cut) counts.cut += 1;
    else if (mtu > 0 && packetLength(frame) > mtu) counts.tooLong += 1;
    else if (isLost) counts.lost += 1;
    else {
      counts.corrupted += isDamaged ? 1 : 0;
      counts.duplicated += isTwice ? 1 : 0;
      const passing = isDamaged ? damaged(frame, place) : frame;
      for (let copy = isTwice ? 2 : 1; copy > 0; copy -= 1) {
        if (isHeld) this.#hold(passing, now_us);
        else this.#send(passing, now_us, jitter);
      }
      counts.reordered += isHeld ? 1 : 0;
      if (!isHeld) this.#letHeldGo(now_us);
    }
  }

  /** Emits what is due. */
  drain(now_us: number): void {
    while ((this.#held[0]?.at_us ?? Number.POSITIVE_INFINITY) <= now_us) {
      this.#send((this.#held.shift() as Held).frame, now_us);
    }
    for (;;) {
      const next = this.#waiting[this.#first];
      if (next === undefined || next.at_us > now_us) break;
      this.#first += 1;
      this.#emit(next.frame);
    }
    if (this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
  }

  /** When `drain` has something to do; infinite: nothing waits. */
  nextDue(): number {
    const never = Number.POSITIVE_INFINITY;
    const waiting = this.#waiting[this.#first]?.at_us ?? never;
    return Math.min(waiting, this.#held[0]?.at_us ?? never);
  }

  #hold(frame: Uint8Array, now_us: number): void {
    const after = this.#gone + this.#impairment.gap;
    this.#held.push({ frame: Uint8Array.from(frame), at_us: now_us + HOLD_US_MAX, after });
  }

  #letHeldGo(now_us: number): void {
    this.#gone += 1;
    while ((this.#held[0]?.after ?? Number.POSITIVE_INFINITY) <= this.#gone) {
      this.#send((this.#held.shift() as Held).frame, now_us);
    }
  }

  #send(frame: Uint8Array, now_us: number, jitter = 0): void {
    const due = this.#dueAt(frame, now_us, jitter);
    if (due === undefined || this.#waiting.length - this.#first >= WAITING_MAX) {
      this.counts.queueFull += 1;
    } else if (due <= now_us && this.#first === this.#waiting.length) this.#emit(frame);
    else this.#waiting.push({ frame: Uint8Array.from(frame), at_us: due });
  }

  /** Undefined: it would wait too long for the rate. Never before the frame that went before. */
  #dueAt(frame: Uint8Array, now_us: number, jitter: number): number | undefined {
    const { rate, queue_us, delay_us, jitter_us } = this.#impairment;
    let begin = now_us;
    if (rate > 0) {
      begin = Math.max(now_us, this.#lineFree_us);
      if (begin - now_us > queue_us) return undefined;
      begin += (frame.length * 8 * 1_000_000) / rate;
      this.#lineFree_us = begin;
    }
    const more = jitter_us === 0 ? 0 : (jitter % (2 * jitter_us + 1)) - jitter_us;
    this.#lastDue_us = Math.max(this.#lastDue_us, begin + Math.max(0, delay_us + more));
    return this.#lastDue_us;
  }

  #emit(frame: Uint8Array): void {
    this.counts.sent += 1;
    this.emit(frame);
  }
}
