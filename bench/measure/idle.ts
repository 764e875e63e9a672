// What a carrier's daemons cost while no packets flow.
import { setTimeout as sleep } from "node:timers/promises";
import { fineCpuSeconds } from "../support/processes.js";

/** What setting the lab up has left to do, it does in this time. */
const SETTLE_SECONDS = 30;
/** Long enough that the rare looks at the whole host weigh as much as they do in an hour. */
const SECONDS = 60;

/** Percent of a core, per daemon. @throws when one of them has ended */
export async function measureIdle(pids: readonly number[]): Promise<number> {
  await sleep(SETTLE_SECONDS * 1000);
  const before = fineCpuSeconds(pids);
  const began_ms = performance.now();
  await sleep(SECONDS * 1000);
  const seconds = (performance.now() - began_ms) / 1000;
  return ((fineCpuSeconds(pids) - before) / seconds / pids.length) * 100;
}
