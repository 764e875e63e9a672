// Answers to nonsense are bounded: nobody makes us send more than a few Rejects a second.

const REJECTS_MAX = 16;
const WINDOW_MS = 1_000;

export class RejectLimit {
  #since_ms = 0;
  #count = 0;

  /** Whether one more may be sent. */
  take(now_ms: number): boolean {
    if (now_ms - this.#since_ms >= WINDOW_MS) {
      this.#since_ms = now_ms;
      this.#count = 0;
    }
    this.#count += 1;
    return this.#count <= REJECTS_MAX;
  }
}
