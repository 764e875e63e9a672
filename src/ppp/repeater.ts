// A frame that is sent again until it had its effect: Reset-Requests, a Success that may be lost.

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

  tick(now_ms: number): void {
    if (this.#deadline === null || now_ms < this.#deadline) return;
    if (this.#left > 0) this.#ask(now_ms);
    else this.stop();
  }

  #ask(now_ms: number): void {
    this.#left -= 1;
    this.#deadline = now_ms + this.interval_ms;
    this.send();
  }
}
