// What a carrier's daemons cost while no packets flow.
import { setTimeout as sleep } from "node:timers/promises";
import { fineCpuSeconds } from "../support/processes.js";

const SECONDS = 20;

/** Percent of a core, per daemon. @throws when one of them has ended */
export async function measureIdle(pids: readonly number[]): Promise<number> {
  const before = fineCpuSeconds(pids);
  const began_ms = performance.now();
  await sleep(SECONDS * 1000);
  const seconds = (performance.now() - began_ms) / 1000;
  return ((fineCpuSeconds(pids) - before) / seconds / pids.length) * 100;
}
