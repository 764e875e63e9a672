// Questions to peers that wait for their answers, by the sequence number that both carry.
import type { ProbeReply } from "./probe-packets.js";

export interface Question {
  /** Overlay address that was asked, as a number. */
  address: bigint;
  asked_ms: number;
}

/** Answers that are older come too late. */
const REMEMBERED_MS = 5000;

/** A range of numbers for each who asks, so that nobody takes another's answer. */
export interface Sequences {
  first: number;
  count: number;
}

/** ICMP has 16 bits of sequence: liveness and path probes share them; members alone are flipped. */
export const LIVENESS: Sequences = { first: 0, count: 0x8000 };
export const PATH_MTU: Sequences = { first: 0x8000, count: 0x8000 };
export const FLIPS: Sequences = { first: 0x10000, count: 0x7fff_0000 };

export class Questions<T extends Question> {
  private readonly open = new Map<number, T>();
  private turn = 0;

  constructor(private readonly sequences: Sequences) {}

  /** Number of the next question. */
  next(): number {
    this.turn = (this.turn + 1) % this.sequences.count;
    return this.sequences.first + this.turn;
  }

  /** A question that went out. */
  add(sequence: number, question: T): void {
    // A number that comes round again is the newest, also in the map's order.
    this.open.delete(sequence);
    this.open.set(sequence, question);
  }

  forgetOld(now: number): void {
    for (const [sequence, { asked_ms }] of this.open) {
      if (now - asked_ms < REMEMBERED_MS) return;
      this.open.delete(sequence);
    }
  }

  /** The question that a reply answers, which is closed then; undefined for a stranger's. */
  take({ sequence, source }: ProbeReply): T | undefined {
    const question = this.open.get(sequence);
    if (question === undefined || question.address !== source.value) return undefined;
    this.open.delete(sequence);
    return question;
  }
}
