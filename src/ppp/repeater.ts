// A frame that is sent again until it had its effect: Reset-Requests, a Success that may be lost.

/** As long and as often as a Configure-Request (RFC 1661 section 4.6). */
export const RESTART_MS = 3_000;
export const SENDS_MAX = 10;

export class Repeater {
  #deadline: number | null = null;
  #left = 0;

  /** @param most how often it is sent in all */
  constructor(
    private readonly interval_ms: number,
    private readonly most: number,
    private readonly send: () => void,
  ) {}

  /** Sends now, unless that is under way. */
  request(now_ms: number): void {
    if (this.#deadline !== null) return;
    this.#left = this.most;
    this.#ask(now_ms);
  }

  /** Sends now, and begins to count anew. */
  start(now_ms: number): void {
    this.stop();
    this.request(now_ms);
  }

  /** It was sent already: only the repeats. */
  sent(now_ms: number): void {
    this.#left = this.most - 1;
    this.#deadline = now_ms + this.interval_ms;
  }

  /** It had its effect, or what it was about is gone. */
  stop(): void {
    this.#deadline = null;
  }

  nextDeadline(): number | null {
    return this.#deadline;
  }

  /** Sends again when it is time; true when the last one had no effect either. */
  tick(now_ms: number): boolean {
    if (this.#deadline === null || now_ms < this.#deadline) return false;
    const isOver = this.#left === 0;
    if (isOver) this.stop();
    else this.#ask(now_ms);
    return isOver;
  }

  #ask(now_ms: number): void {
    this.#left -= 1;
    this.#deadline = now_ms + this.interval_ms;
    this.send();
  }
}
