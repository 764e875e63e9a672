// What is another than before, found by identity: records do not change once they are made, so
// nothing is looked into.
import { changedNames } from "../../../control/index.js";

/** More than this many keys that moved: whoever asks begins anew. */
const MOVED_MAX = 64;

/**
 * Keys whose values are not the same objects in both maps, or are in one of them alone; where the
 * control plane knows what it changed, maybe some more. Maps made by copying and setting keep their
 * order, so that else most of it is a walk along both; null when the order is another.
 */
export function changedKeys<T>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
): string[] | null {
  if (before === after) return [];
  const known = changedNames(before, after);
  if (known !== null) return [...known];
  const changed: string[] = [];
  const walk = after.entries();
  let removed = 0;
  let next = walk.next();
  for (const [key, value] of before) {
    const [name, current] = next.done === true ? [] : next.value;
    if (name === key) {
      if (current !== value) changed.push(key);
      next = walk.next();
    } else {
      // Taken away, or set again after that: then it stands at the end.
      removed++;
      if (removed > MOVED_MAX) return null;
      changed.push(key);
    }
  }
  for (; next.done !== true; next = walk.next()) changed.push(next.value[0]);
  return changed;
}

/** What two ordered lists do not share, by identity. */
export interface Difference<T> {
  gone: T[];
  come: T[];
}

/** Both lists are in the order of `compare`; what compares as equal may still be another. */
export function differenceOf<T>(
  before: readonly T[],
  after: readonly T[],
  compare: (a: T, b: T) => number,
): Difference<T> {
  const gone: T[] = [];
  const come: T[] = [];
  let at = 0;
  for (const item of after) {
    let known = before[at];
    while (known !== undefined && known !== item && compare(known, item) < 0) {
      gone.push(known);
      at++;
      known = before[at];
    }
    if (known === item) at++;
    else come.push(item);
  }
  gone.push(...before.slice(at));
  return { gone, come };
}
