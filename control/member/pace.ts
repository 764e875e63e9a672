// How long changes are gathered before they are told as one: hardly after quiet, longer and longer
// while they go on coming. Pure: the clock is its caller's.

export interface PaceLimits {
  least_ms: number;
  most_ms: number;
}

export class Pace {
  readonly #limits: PaceLimits;
  #pause_ms: number;
  #told = Number.NEGATIVE_INFINITY;

  constructor(limits: PaceLimits) {
    this.#limits = limits;
    this.#pause_ms = limits.least_ms;
  }

  /** A change came: how long others are waited for, from now. */
  wait_ms(now_ms: number): number {
    const { least_ms, most_ms } = this.#limits;
    const quiet_ms = now_ms - this.#told;
    if (quiet_ms > 2 * this.#pause_ms) this.#pause_ms = least_ms;
    else if (2 * quiet_ms > this.#pause_ms) this.#pause_ms = Math.max(this.#pause_ms / 2, least_ms);
    else this.#pause_ms = Math.min(2 * this.#pause_ms, most_ms);
    return this.#pause_ms;
  }

  /** What was gathered is told now. */
  told(now_ms: number): void {
    this.#told = now_ms;
  }
}
