// Made inputs that are drawn again: for tests whose time would go into making them.
import type { Random } from "./random.js";

/** Inputs kept for spoiling: building each anew takes most of a run; some are replaced. */
const KEPT = 1500;
const REPLACED_ONCE_IN = 32;

/** Draws from a collection that fills up, then renews itself slowly. */
export class Kept<T> {
  readonly #items: T[] = [];

  constructor(
    readonly random: Random,
    readonly make: () => T,
  ) {}

  draw(): T {
    const at = this.random.between(0, KEPT - 1);
    const kept = this.#items[at];
    if (kept !== undefined && !this.random.once(REPLACED_ONCE_IN)) return kept;
    const made = this.make();
    this.#items[at] = made;
    return made;
  }
}
