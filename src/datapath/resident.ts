// Keeps resident what a node in service needs. Its start and V8's compiler touch most of the
// engine's program and leave free pages in every thread's allocator: both are given back.
import { releasePages } from "node-tun";

export interface ReleasePlan {
  release: () => unknown;
  /** Milliseconds from the opening of the datapath. */
  first_ms: readonly number[];
  every_ms: number;
}

/** First when the agent is up, then when code for the first traffic is compiled. */
const PLAN: ReleasePlan = { release: releasePages, first_ms: [2000, 10_000], every_ms: 20_000 };

/** Gives pages back from now on, without keeping the process alive. @returns what ends it */
export function releaseRegularly({ release, first_ms, every_ms } = PLAN): () => void {
  const timers = first_ms.map((after_ms) => setTimeout(release, after_ms));
  timers.push(setInterval(release, every_ms));
  for (const timer of timers) timer.unref();
  return () => {
    for (const timer of timers) clearTimeout(timer);
  };
}
