// What one way to a peer carries, found by probes alone: the states of RFC 8899 section 5.2, pure
// and on the caller's clock. Sizes are bytes of inner packet; an ICMP error is never believed.

export interface PathLimits {
  /** Every path of this underlay carries so much: 576 or 1,280 bytes outside. */
  least: number;
  /** Nearly every path carries so much; where data goes on while the true size is looked for. */
  base: number;
  /** What both ends' interfaces and settings allow. */
  most: number;
}

export interface PathTimers {
  /** The size in use is asked this often while packets go to the peer... */
  confirm_ms: number;
  /** ... and this often while none do. */
  idle_ms: number;
  /** After this time more than a reduced size is tried (PMTU_RAISE_TIMER, RFC 8899 5.1.1). */
  raise_ms: number;
  /** Between two questions of one size that got lost: one burst must not count twice. */
  retry_ms: number;
}

export const PATH_TIMERS: PathTimers = {
  confirm_ms: 500,
  idle_ms: 60_000,
  raise_ms: 600_000,
  retry_ms: 200,
};

/** Losses in a row that refute a size (MAX_PROBES, RFC 8899 section 5.1.2). */
export const LOSSES_MAX = 3;
/** After a question that says nothing (the peer is silent altogether), doubling up to the most. */
const SILENCE_MS = 500;
const SILENCE_MAX_MS = 16_000;

/**
 * base: data fell to a size that is not proven yet. search: larger ones are tried. complete: the
 * largest that gets through is known. error: not even the smallest gets through.
 */
export type PathPhase = "base" | "search" | "complete" | "error";

export class PathSearch {
  /** Bytes of inner packet that data may have now. */
  mtu: number;
  phase: PathPhase = "search";
  /** When the size in use was last proven by an answer; null: never. */
  proven_ms: number | null = null;
  /** When the size in use last changed. */
  changed_ms: number | null = null;
  /** Largest size answered, and smallest one lost, as far as both still count. */
  private proven = 0;
  private refuted: number;
  private candidate: number;
  private losses = 0;
  private silences = 0;
  private isDoubted = false;
  private wait_ms = 0;
  private raiseAt_ms = Number.POSITIVE_INFINITY;

  /**
   * Begins with the largest size, which mostly is right, and asks for it at once. A smaller one
   * known from before (`mtu`) stays in use until a larger one is proven.
   */
  constructor(
    readonly limits: PathLimits,
    private readonly timers: PathTimers,
    mtu = limits.most,
  ) {
    this.mtu = Math.min(Math.max(mtu, limits.least), limits.most);
    this.candidate = this.mtu;
    this.refuted = limits.most + 1;
  }

  /** When the next question is due; `isBusy`: packets go to this peer. */
  due_ms(isBusy: boolean): number {
    if (this.isDoubtful()) {
      // A silent peer is asked soon again only where somebody waits for it.
      const early_ms = isBusy ? Math.max(this.silence_ms() - this.timers.confirm_ms, 0) : 0;
      return this.wait_ms - early_ms;
    }
    const pause_ms = isBusy ? this.timers.confirm_ms : this.timers.idle_ms;
    return Math.min((this.proven_ms ?? 0) + pause_ms, this.raiseAt_ms);
  }

  /** The size to ask for now; to be asked before `isDoubtful`. */
  size(now: number): number {
    if (this.phase === "complete" && now >= this.raiseAt_ms) {
      // Mostly nothing changed, and the size that was too large still is: three questions say so.
      this.phase = "search";
      this.candidate = Math.min(this.refuted, this.limits.most);
      this.refuted = this.limits.most + 1;
      this.losses = 0;
    }
    return this.candidate;
  }

  /** True when a loss is to be expected or judged: the next question wants a small one with it. */
  isDoubtful(): boolean {
    return this.phase !== "complete" || this.isDoubted || this.losses + this.silences > 0;
  }

  /** A question without a small one beside it was not answered: ask again, with one. */
  doubt(now: number): void {
    this.isDoubted = true;
    this.wait_ms = now;
  }

  /** A question of that size was answered, maybe late. */
  answered(size: number, now: number): void {
    this.silences = 0;
    this.isDoubted = false;
    const isNews = this.phase !== "complete" || size > this.mtu;
    this.proven = Math.max(this.proven, size);
    if (size >= this.refuted) {
      this.refuted = this.limits.most + 1;
    }
    if (size >= this.mtu) {
      this.proven_ms = now;
      this.use(Math.min(size, this.limits.most), now);
    }
    if (size >= this.candidate) {
      this.losses = 0;
    }
    if (size >= this.candidate && isNews) {
      this.step(now);
    }
  }

  /** A question of that size was lost while a small one beside it was answered. */
  lost(size: number, now: number): void {
    this.silences = 0;
    this.isDoubted = false;
    if (size !== this.candidate) {
      return;
    }
    this.losses++;
    this.wait_ms = now + this.timers.retry_ms;
    if (this.losses < LOSSES_MAX) {
      return;
    }
    this.losses = 0;
    this.refuted = size;
    if (size <= this.mtu) {
      this.fall(size, now);
    } else {
      this.step(now);
    }
  }

  /** Nothing was answered, so nothing is known: the peer may be gone. */
  unclear(now: number): void {
    this.silences++;
    this.wait_ms = now + this.silence_ms();
  }

  private silence_ms(): number {
    const doubled = SILENCE_MS * 2 ** (Math.min(this.silences, 10) - 1);
    return this.silences === 0 ? 0 : Math.min(doubled, SILENCE_MAX_MS);
  }

  /** Data of this size is lost (RFC 8899 section 4.3): on at once with one that should pass. */
  private fall(size: number, now: number): void {
    const { least, base } = this.limits;
    this.proven = 0;
    if (size <= least) {
      this.phase = "error";
      this.refuted = this.limits.most + 1;
      this.candidate = least;
      this.wait_ms = now + SILENCE_MAX_MS;
      return;
    }
    this.phase = "base";
    this.candidate = size > base ? base : least;
    this.wait_ms = now;
    this.use(this.candidate, now);
  }

  /** Halves what lies between the proven and the refuted; done when nothing does. */
  private step(now: number): void {
    this.wait_ms = now;
    if (this.refuted - this.proven <= 1 || this.proven >= this.limits.most) {
      this.phase = "complete";
      this.candidate = this.mtu;
      const isReduced = this.mtu < this.limits.most;
      this.raiseAt_ms = isReduced ? now + this.timers.raise_ms : Number.POSITIVE_INFINITY;
      return;
    }
    this.phase = "search";
    const isOpen = this.refuted > this.limits.most;
    this.candidate = isOpen ? this.limits.most : Math.floor((this.proven + this.refuted) / 2);
  }

  private use(mtu: number, now: number): void {
    if (mtu !== this.mtu) {
      this.mtu = mtu;
      this.changed_ms = now;
    }
  }
}
