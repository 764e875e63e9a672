// Clocks that are wrong: code run under `withClock`, and all that it starts, sees another time of
// day. Monotonic clocks and timers are the real ones, as when a host's clock is set.
import { AsyncLocalStorage } from "node:async_hooks";

/** How far the clock is off; may be changed while code runs under it. */
export interface Shift {
  ms: number;
}

const shifts = new AsyncLocalStorage<Shift>();
const RealDate = Date;
const now = () => RealDate.now() + (shifts.getStore()?.ms ?? 0);

class ShiftedDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(now());
    else super(...(given as [number]));
  }
  static override now(): number {
    return now();
  }
}

globalThis.Date = ShiftedDate as DateConstructor;

export const DAY_MS = 86_400_000;

/** Runs work whose clock is off. */
export function withClock<T>(shift: Shift, work: () => T): T {
  return shifts.run(shift, work);
}
