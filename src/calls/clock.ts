// The clock of calls: monotonic milliseconds and timers that keep no process alive.
import type { Clock } from "./types.js";

/** setTimeout takes no more. */
const LONGEST_MS = 2_147_000_000;

export const systemClock: Clock = {
  now: () => performance.now(),
  at(time_ms, work) {
    const wait_ms = Math.min(Math.max(time_ms - performance.now(), 0), LONGEST_MS);
    // A timer may come a fraction of a millisecond early: what is due then is due now.
    const timer = setTimeout(work, Math.ceil(wait_ms));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
