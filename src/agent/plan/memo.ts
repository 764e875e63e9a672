// What an earlier plan of this node found, used again where nothing that it came from has changed.
// A plan with an empty memo is the whole computation; with a kept one it must give the same
// (test/agent/plan-memo.test.ts).

import type { LostClaims, PrefixClaim } from "../overlap.js";
import { comparePrefixes, type Prefix } from "../prefix.js";
import type { Claimed, KnownOwners, OwnerPart } from "./owner-parts.js";
import type { PeerPart } from "./parts.js";
import { byText } from "./routes.js";
import { byOwner, type Present, Standing } from "./standing.js";
import type { WantedRoute } from "./types.js";

interface Entry<V> {
  from: readonly unknown[];
  value: V;
  round: number;
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** Values by key, each kept while what it was made from is the same, by identity. */
export class Kept<V> {
  readonly #entries = new Map<string, Entry<V>>();
  #round = 0;
  #used = 0;

  /** What it has under a key; made in this plan or an earlier one. */
  get(key: string): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** `from` must name everything that `make` looks at. */
  of(key: string, from: readonly unknown[], make: () => V): V {
    const known = this.#entries.get(key);
    if (known?.round !== this.#round) this.#used++;
    if (known !== undefined && isSame(known.from, from)) {
      known.round = this.#round;
      return known.value;
    }
    const value = make();
    this.#entries.set(key, { from, value, round: this.#round });
    return value;
  }

  /** Forgets what is under a key. */
  drop(key: string): void {
    if (this.#entries.get(key)?.round === this.#round) this.#used--;
    this.#entries.delete(key);
  }

  /** A plan is made: what it did not ask for is forgotten. */
  end(): void {
    if (this.#entries.size > this.#used) {
      for (const [key, { round }] of this.#entries) {
        if (round !== this.#round) this.#entries.delete(key);
      }
    }
    this.#round++;
    this.#used = 0;
  }
}

/** Keeps things in order; those that were there last time are not compared with one another. */
export class Sorted<T> {
  readonly #compare: (a: T, b: T) => number;
  #list: readonly T[] = [];
  #given: readonly T[] = [];
  #known: ReadonlySet<T> = new Set();

  /** What `compare` looks at must not change. */
  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  /** The items, each once there, in order. The array is not to be changed. */
  of(items: readonly T[]): readonly T[] {
    if (isSame(items, this.#given)) return this.#list;
    this.#given = items;
    const now = new Set(items);
    const fresh = items.filter((item) => !this.#known.has(item));
    const isLess = now.size - fresh.length < this.#list.length;
    if (fresh.length === 0 && !isLess) return this.#list;
    const kept = isLess ? this.#list.filter((item) => now.has(item)) : this.#list;
    this.#list = fresh.length === 0 ? kept : this.#merge(kept, fresh.sort(this.#compare));
    this.#known = now;
    return this.#list;
  }

  #merge(kept: readonly T[], fresh: readonly T[]): T[] {
    const merged: T[] = [];
    let from = 0;
    for (const item of fresh) {
      const at = this.#place(kept, item, from);
      for (; from < at; from++) merged.push(kept[from] as T);
      merged.push(item);
    }
    for (; from < kept.length; from++) merged.push(kept[from] as T);
    return merged;
  }

  /** Where in the ordered list an item goes, not before `low`; found by bisection. */
  #place(list: readonly T[], item: T, low: number): number {
    let high = list.length;
    let at = low;
    while (at < high) {
      const middle = (at + high) >> 1;
      if (this.#compare(list[middle] as T, item) < 0) at = middle + 1;
      else high = middle;
    }
    return at;
  }
}

/** Parts of peers as made last; null where the owner has no prefix that stands. */
export interface MadeParts {
  shared: unknown;
  owners: readonly Present[];
  parts: readonly (PeerPart | null)[];
}

export class Memo {
  /** Settings and facts of this host that are the same as last time, as the same objects. */
  readonly constants = new Kept<unknown>();
  readonly pools = new Kept<Prefix[]>();
  readonly lost = new Kept<LostClaims>();
  /** Members and static peers: what each would be, and claims. */
  readonly claimed = new Kept<Claimed>();
  readonly owners = new Kept<OwnerPart>();
  known: KnownOwners | null = null;
  readonly present = new Sorted<Present>(byOwner);
  readonly standing = new Standing();
  readonly claims = new Sorted<PrefixClaim>((a, b) => comparePrefixes(a.prefix, b.prefix));
  /** Where claims overlap: those that are left of an owner's. */
  readonly accepted = new Kept<readonly PrefixClaim[]>();
  readonly peers = new Kept<PeerPart>();
  made: MadeParts | null = null;
  readonly routes = new Sorted<WantedRoute>((a, b) => byText(a.destination, b.destination));

  /** One object for all values of one text. */
  stable<T>(name: string, value: T): T {
    return this.constants.of(name, [JSON.stringify(value)], () => value) as T;
  }

  end(): void {
    for (const kept of [this.constants, this.pools, this.lost, this.accepted, this.peers]) {
      kept.end();
    }
  }
}
