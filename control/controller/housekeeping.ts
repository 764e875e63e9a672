// Finishes what a controller began and did not live to end, also while others go on: looks at the
// records now and then, and takes for left over what stayed the same between two looks. The
// monotonic clock counts between them: one that was set by days makes nothing old.
import type { ControlLog } from "../errors.js";
import { unfinished_ms } from "./core.js";
import type { IsOld, Members } from "./members.js";

export class Housekeeping {
  readonly #members: Members;
  readonly #again: () => Promise<unknown>;
  readonly #log: ControlLog;
  readonly #period_ms: number;
  #seen = new Map<string, { serial: number; at: number }>();
  #timer: NodeJS.Timeout | null = null;
  #ended = false;

  /** `again`: what else is done at each look. `period_ms`: how long a step may take at most. */
  constructor(
    members: Members,
    again: () => Promise<unknown>,
    log: ControlLog,
    period_ms = unfinished_ms,
  ) {
    this.#members = members;
    this.#again = again;
    this.#log = log;
    this.#period_ms = period_ms;
  }

  /** At a controller's start nobody has looked before: serials follow the writers' clocks. */
  async begin(): Promise<void> {
    await this.#members.finish((_, serial) => Date.now() - serial > unfinished_ms);
    this.#later();
  }

  close(): void {
    this.#ended = true;
    if (this.#timer) clearTimeout(this.#timer);
  }

  /** Not all controllers at once. */
  #later(): void {
    if (this.#ended) return;
    const wait_ms = this.#period_ms * (1 + Math.random() / 4);
    this.#timer = setTimeout(() => {
      this.#look()
        .catch((error: unknown) => this.#log("not-tidied", { reason: String(error) }))
        .finally(() => this.#later());
    }, wait_ms);
  }

  async #look(): Promise<void> {
    const now = performance.now();
    const before = this.#seen;
    const seen: typeof before = new Map();
    this.#seen = seen;
    const isOld: IsOld = (key, serial) => {
      const known = before.get(key);
      const at = known?.serial === serial ? known.at : now;
      seen.set(key, { serial, at });
      return now - at >= this.#period_ms;
    };
    await this.#members.finish(isOld, { joins: true });
    await this.#again();
  }
}
