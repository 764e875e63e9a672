// One retransmission timer without a clock: a packet that is sent again until somebody answers.

/** RFC 1661 section 4.6 has the same numbers for Configure-Requests. */
const RESTART_MS = 3_000;
const SENDS_MAX = 10;

export class Retransmission {
  #due_ms: number | null = null;
  #sends = 0;

  constructor(readonly send: () => void) {}

  start(now_ms: number): void {
    this.#sends = 0;
    this.#again(now_ms);
  }

  stop(): void {
    this.#due_ms = null;
  }

  get due_ms(): number | null {
    return this.#due_ms;
  }

  /** Sends again when it is time; true when nobody answered the last one either. */
  isOver(now_ms: number): boolean {
    if (this.#due_ms === null || now_ms < this.#due_ms) return false;
    if (this.#sends < SENDS_MAX) {
      this.#again(now_ms);
      return false;
    }
    this.stop();
    return true;
  }

  #again(now_ms: number): void {
    this.#sends++;
    this.#due_ms = now_ms + RESTART_MS;
    this.send();
  }
}
