// Spoiled, older or missing records of controllers get their last good value back; what became of
// the store is known when a view has listed all of it.
import type { View } from "../member/index.js";
import type { Refusal } from "../records.js";
import type { Core } from "./core.js";
import { isKept } from "./memory.js";
import { Sparing } from "./sparing.js";

/** A member may spoil its own record thousands of times in a second: one line for it. */
const refusal_ms = 1_000;
const refusals_max = 1_000;
/** Records that are put back at once. */
const mends_max = 50;

export class Mending {
  /** Whether all of the store was seen once; set by the controller. */
  isListed = false;
  readonly #core: Core;
  readonly #views: readonly View[];
  readonly #refusals = new Sparing(refusal_ms, refusals_max);
  /** Views whose connection is a new one: what they list first may be of another store. */
  readonly #unlisted: Set<View>;

  constructor(core: Core, views: readonly View[]) {
    this.#core = core;
    this.#views = views;
    this.#unlisted = new Set(views);
    for (const view of views) {
      view.on("refused", (refusal: Refusal) => this.#refused(view, refusal));
      view.on("listed", () => this.#compare(view));
    }
  }

  /** The connection is a new one. */
  doubt(): void {
    for (const view of this.#views) this.#unlisted.add(view);
  }

  /** Those of a listing wait for its end: by all of them it is known what became of the store. */
  #refused(view: View, { key, revision, reason }: Refusal): void {
    // Numbers in a reason are no other reason.
    const isDue = this.#refusals.isDue(`${key} ${reason.replace(/\d+/g, "")}`);
    if (isDue) this.#core.log("record-refused", { key, revision, reason });
    if (!view.isListing) void this.#mend([key]);
  }

  /** What the store has, against what this controller saw of it. */
  #compare(view: View): void {
    const isNew = this.#unlisted.delete(view);
    const short = view.refusedKeys().filter(isKept);
    if (short.length === 0) return;
    void this.#judge(short, { isNew, waits: !this.isListed });
  }

  /**
   * In a cluster a watch may be fed by a replica that lags, just started: its leader says what the
   * store has. Nothing new is given until that is known.
   */
  async #judge(short: string[], { isNew, waits }: { isNew: boolean; waits: boolean }) {
    const { losses } = this.#core;
    const known = isNew && waits ? losses.suspect() : undefined;
    if (isNew && (await this.#isOlder(short, waits))) losses.found("older", waits);
    known?.();
    await this.#mend(short);
  }

  /** `unknown`: what is said when the store does not answer. */
  async #isOlder(keys: string[], unknown: boolean): Promise<boolean> {
    const isFaulty = (key: string) =>
      this.#core.store.fault(key).then(
        (fault) => fault !== null,
        () => unknown,
      );
    for (let at = 0; at < keys.length; at += mends_max) {
      const found = await Promise.all(keys.slice(at, at + mends_max).map(isFaulty));
      if (found.includes(true)) return true;
    }
    return false;
  }

  async #mend(keys: string[]): Promise<void> {
    const { store, losses, log } = this.#core;
    const one = async (key: string) => {
      try {
        const was = await store.mend(key);
        if (was === null) return;
        log("record-mended", { key, was });
        losses.restored(key, was, "controller");
      } catch (error) {
        log("record-not-mended", { key, reason: String(error) });
        losses.failed(key, String(error));
      }
    };
    for (let at = 0; at < keys.length; at += mends_max) {
      await Promise.all(keys.slice(at, at + mends_max).map(one));
    }
  }
}
