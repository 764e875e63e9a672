// How often something is said of one thing, however often it happens.

export class Sparing {
  readonly #said = new Map<string, number>();
  constructor(
    /** Milliseconds between two times. */
    private readonly every_ms: number,
    /** Things that are remembered; of more of them, all are said anew. */
    private readonly count_max: number,
  ) {}

  /** Whether it is time to say it of this thing; it counts as said then. */
  isDue(thing: string): boolean {
    const now = performance.now();
    const last = this.#said.get(thing);
    if (last !== undefined && now - last < this.every_ms) return false;
    if (this.#said.size >= this.count_max) this.#said.clear();
    this.#said.set(thing, now);
    return true;
  }
}
