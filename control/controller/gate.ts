// So much work at once and no more: the rest waits in the order it came. How much that is may
// change meanwhile.

export class Gate {
  readonly #limit: () => number;
  readonly #waiting: (() => void)[] = [];
  #atWork = 0;

  /** `limit`: how much may be at work now. */
  constructor(limit: () => number) {
    this.#limit = limit;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#atWork < this.#limit()) this.#atWork++;
    else await new Promise<void>((enter) => this.#waiting.push(enter));
    try {
      return await work();
    } finally {
      this.#atWork--;
      this.#letIn();
    }
  }

  /** As many as there is room for; they count from now on. One at least, or nobody ever would. */
  #letIn(): void {
    const room = Math.max(this.#limit() - this.#atWork, this.#atWork === 0 ? 1 : 0);
    for (const enter of this.#waiting.splice(0, Math.max(room, 0))) {
      this.#atWork++;
      enter();
    }
  }
}
