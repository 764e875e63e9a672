// Notices that nothing has come for too long, of something that is never silent while it lives.

export class Silence {
  readonly #most_ms: number;
  readonly #fell: () => void;
  #timer: NodeJS.Timeout | undefined;
  #heard = performance.now();
  #ended = false;

  /** `fell` is called once, when nothing was heard for `most_ms`; not before `watch`. */
  constructor(most_ms: number, fell: () => void) {
    this.#most_ms = most_ms;
    this.#fell = fell;
  }

  hear(): void {
    this.#heard = performance.now();
  }

  /** Looks again when the silence could be long enough, not before: an idle node hardly wakes. */
  watch(): void {
    if (this.#ended) return;
    const left_ms = this.#left_ms();
    if (left_ms <= 0) {
      // A process that was held up reads first what came meanwhile.
      setImmediate(() => setImmediate(() => this.#judge()));
      return;
    }
    this.#timer = setTimeout(() => this.watch(), Math.ceil(left_ms));
    this.#timer.unref();
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #left_ms(): number {
    return this.#heard + this.#most_ms - performance.now();
  }

  #judge(): void {
    if (this.#ended) return;
    if (this.#left_ms() > 0) {
      this.watch();
      return;
    }
    this.#ended = true;
    this.#fell();
  }
}
