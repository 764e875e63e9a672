// What is another in a map than in an earlier one of the same line. Whoever shows a new map for
// each change says what it changed, so that readers need not walk both to find it.

interface Place {
  line: Lineage;
  at: number;
}

const places = new WeakMap<ReadonlyMap<string, unknown>, Place>();

/** Who lies further behind than so many maps, or names, walks. */
const steps_max = 64;
const names_max = 1_024;

/** Maps of which each takes the place of the one before it. */
export class Lineage {
  /** Names that changed, of the last maps; the newest is that of map `#last`. */
  #steps: (readonly string[])[] = [];
  #names = 0;
  #last = 0;

  /** The next map, and the names whose values are others in it, or that it has more or less. */
  add(map: ReadonlyMap<string, unknown>, changed: readonly string[]): void {
    places.set(map, { line: this, at: ++this.#last });
    this.#steps.push(changed);
    this.#names += changed.length;
    while (this.#steps.length > steps_max || this.#names > names_max) {
      this.#names -= this.#steps.shift()?.length ?? 0;
    }
  }

  /** Names that changed after one map, up to another; null: that is forgotten. */
  between(before: number, after: number): Set<string> | null {
    const known = this.#last - this.#steps.length;
    if (before < known || after < before) return null;
    return new Set(this.#steps.slice(before - known, after - known).flat());
  }
}

/**
 * Names whose values may be others in `after` than in `before`; all others are the same objects in
 * both. null: the maps are of no line, or too far from each other.
 */
export function changedNames(
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
): ReadonlySet<string> | null {
  const [from, to] = [places.get(before), places.get(after)];
  if (from === undefined || to === undefined || from.line !== to.line) return null;
  return to.line.between(from.at, to.at);
}
