// What is known of one peer's life and of both ways to it, from all that it lets us hear: answers,
// questions of its own, data. Knows no timers and no packets; the clock is its caller's.
import { PROBE_HEARD_MAX, PROBE_HEARD_NEVER } from "../../../assembly/shared/layout.js";

/** How long after the last packet of the host a peer still counts as one with traffic. */
export const BUSY_MS = 60_000;
/** Questions without an answer that make a peer unreachable, once the first is so old. */
export const MISSES_MAX = 3;
export const UNANSWERED_MS = 2500;
/** A peer that was heard so lately, and is not now, has fallen silent all of a sudden. */
const SUDDEN_MS = 5000;
/** Turns, and what is counted between two of them, come a little early or late. */
const SLACK_MS = 1500;
/** A peer that says it heard us so lately need not have said before when that was. */
const LATELY_MS = 3000;
/** What it says is rounded, counted by it once a second, and read by us once a second. */
const SAID_SPREAD_MS = 3000;

/**
 * heard: it lets us hear things, and has not answered yet. unanswered: it answers nothing, more is
 * not known yet. unheard: it does not hear us. silent: nothing is heard of it.
 */
export type Verdict = "unknown" | "heard" | "ok" | "unanswered" | "unheard" | "silent";

/** Questions in a row after which nothing came. */
interface Run {
  count: number;
  since_ms: number;
}

export class PeerLife {
  asked_ms = Number.NEGATIVE_INFINITY;
  /** When anything of it was last heard; when a packet of ours last arrived there, at least. */
  heard_ms: number | null = null;
  proven_ms: number | null = null;
  /** What is to be asked at once: it is back, or says that it does not hear us. */
  isPrompted = false;
  /** Since the last answer, and since it was last heard at all. */
  private readonly unanswered: Run = { count: 0, since_ms: 0 };
  private readonly unbroken: Run = { count: 0, since_ms: 0 };
  /** Its questions in a row that say it did not hear our answers to those before. */
  private unheard = 0;
  private said_ms: number | null = null;
  private busyUntil_ms = Number.NEGATIVE_INFINITY;
  /** Signs of life in this turn, without having been asked for; and in the turn before. */
  private signs = 0;
  private isVocal = false;
  private vocal_ms = Number.NEGATIVE_INFINITY;

  /** `mayBeMute`: one that never answers may forward all the same. */
  constructor(private readonly mayBeMute = false) {}

  /** Packets of the host went to it, or came from it. */
  noteTraffic(now: number): void {
    this.busyUntil_ms = now + BUSY_MS;
  }

  /** Something came from it, without a question of this prober's. */
  noteSign(now: number): void {
    this.hear(now);
    this.signs++;
  }

  private hear(now: number): void {
    if (this.unbroken.count >= MISSES_MAX) this.isPrompted = true;
    this.heard_ms = now;
    this.unbroken.count = 0;
  }

  /** It answered a question that went out at `asked_ms`. */
  noteAnswer(asked_ms: number, now: number): void {
    this.hear(now);
    this.isPrompted = false;
    this.prove(asked_ms);
    this.unanswered.count = 0;
    this.unheard = 0;
  }

  private prove(at_ms: number): void {
    this.proven_ms = Math.max(this.proven_ms ?? at_ms, at_ms);
  }

  /** It asked us, and was answered; `said`: how long it has not heard us (PROBE_HEARD_*). */
  noteSaid(said: number, now: number): void {
    const gap_ms = this.said_ms === null ? null : now - this.said_ms;
    this.said_ms = now;
    const age_ms = said === PROBE_HEARD_NEVER ? Number.POSITIVE_INFINITY : (said - 1) * 1000;
    // Longer than can be said.
    if (said === PROBE_HEARD_MAX && (gap_ms ?? age_ms) + SLACK_MS >= age_ms) return;
    if (gap_ms !== null && age_ms >= gap_ms + SLACK_MS) {
      this.unheard++;
      if (this.unheard === 1) this.isPrompted = true;
      return;
    }
    if (gap_ms === null && age_ms > LATELY_MS) return;
    this.unheard = 0;
    const at_ms = now - age_ms - SAID_SPREAD_MS;
    this.prove(at_ms);
    if (at_ms > this.unanswered.since_ms) this.unanswered.count = 0;
  }

  /** A question goes out. */
  noteAsked(now: number): void {
    this.asked_ms = now;
    this.isPrompted = false;
    for (const run of [this.unanswered, this.unbroken]) {
      if (run.count === 0) run.since_ms = now;
      run.count++;
    }
  }

  /** A turn begins: what came before it belongs to the last one. */
  turn(now: number): void {
    this.isVocal = this.signs > 0;
    this.signs = 0;
    if (this.isVocal) this.vocal_ms = now;
  }

  /** Questions since the last answer. */
  get misses(): number {
    return this.unanswered.count;
  }

  isBusy(now: number): boolean {
    return now < this.busyUntil_ms;
  }

  /** Signs of life come by themselves: it need not be asked for them. */
  get comesByItself(): boolean {
    return this.isVocal;
  }

  /** What cannot wait for its turn: a doubt, or the sudden silence of a peer with traffic. */
  isUrgent(now: number): boolean {
    const isDoubtful = this.proven_ms !== null && this.misses > 0 && this.misses < MISSES_MAX;
    const isSudden = !this.isVocal && this.isBusy(now) && now - this.vocal_ms < SUDDEN_MS;
    return this.isPrompted || isDoubtful || (isSudden && this.misses < MISSES_MAX);
  }

  /** How long it was not heard, as a question says it. */
  said(now: number): number {
    if (this.heard_ms === null) return PROBE_HEARD_NEVER;
    return Math.min(Math.floor((now - this.heard_ms) / 1000) + 1, PROBE_HEARD_MAX);
  }

  /**
   * What is to be believed. Whoever lives asks each peer within `walk_ms`: one that is not heard so
   * long is silent, and not only out of our reach.
   */
  verdict(now: number, walk_ms: number): Verdict {
    if (this.mayBeMute && this.proven_ms === null) return this.ofMute(now);
    const isDeaf = this.unheard >= MISSES_MAX;
    const isUnanswered = isOver(this.unanswered, now) || isDeaf;
    if (!isUnanswered) {
      if (this.proven_ms !== null) return "ok";
      return this.heard_ms === null ? "unknown" : "heard";
    }
    const wasHeardSince = (this.heard_ms ?? -1) > this.unanswered.since_ms;
    const silent_ms = this.unbroken.count < MISSES_MAX ? 0 : now - this.unbroken.since_ms;
    // It spoke while it did not hear us: so often it would have done so again.
    if (wasHeardSince || isDeaf) return silent_ms < 3 * walk_ms ? "unheard" : "silent";
    return silent_ms < walk_ms + SLACK_MS ? "unanswered" : "silent";
  }

  private ofMute(now: number): Verdict {
    return this.heard_ms !== null && now - this.heard_ms < BUSY_MS ? "heard" : "unknown";
  }
}

function isOver({ count, since_ms }: Run, now: number): boolean {
  return count >= MISSES_MAX && now - since_ms >= UNANSWERED_MS;
}
