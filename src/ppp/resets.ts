// Our CCP Reset-Requests: one at a time, repeated until its Reset-Ack comes or patience ends.

const REPEAT_MS = 1_000;
/** Some peers send no Reset-Ack (RFC 3078 needs none): asking for ever would help nobody. */
const REPEATS_MAX = 10;

export class Resets {
  #deadline: number | null = null;
  #left = 0;

  constructor(private readonly send: () => void) {}

  request(now_ms: number): void {
    if (this.#deadline !== null) return;
    this.#left = REPEATS_MAX;
    this.#ask(now_ms);
  }

  /** It was answered, or what it was about is gone. */
  stop(): void {
    this.#deadline = null;
  }

  nextDeadline(): number | null {
    return this.#deadline;
  }

  tick(now_ms: number): void {
    if (this.#deadline === null || now_ms < this.#deadline) return;
    this.#left -= 1;
    if (this.#left <= 0) this.stop();
    else this.#ask(now_ms);
  }

  #ask(now_ms: number): void {
    this.#deadline = now_ms + REPEAT_MS;
    this.send();
  }
}
