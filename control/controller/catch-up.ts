// Reads of what was just written through another controller: its answer came before our watch told
// us. A request of an administrator waits until this controller has seen all that the store has.
import { setTimeout as sleep } from "node:timers/promises";
import type { View } from "../member/index.js";
import type { Bucket } from "../nats/index.js";

/** Longer than a cluster takes to elect a stream's leader, and a watch to be made anew. */
const wait_max_ms = 25_000;
const ask_least_ms = 500;
const ask_max_ms = 2_000;
const look_ms = 10;
/** A write that was answered comes within milliseconds. */
const hurry_ms = 1_000;

/**
 * Resolves when the view has every write that the bucket has now, or when it took too long. A watch
 * that does not bring them is not waited for: a new one is made.
 */
export async function catchUp(bucket: Bucket, view: View): Promise<void> {
  const end = performance.now() + wait_max_ms;
  let ask_ms = ask_least_ms;
  const newest = () => bucket.newest(ask_ms).catch(() => null);
  let last = await newest();
  while (last === null && performance.now() < end) {
    await sleep(10 * look_ms);
    // A stream that had no leader when it was asked never answers: so it is asked soon again.
    ask_ms = Math.min(2 * ask_ms, ask_max_ms);
    last = await newest();
  }
  let hurry = performance.now() + hurry_ms;
  while (view.delivered < (last ?? 0) && performance.now() < end) {
    await sleep(look_ms);
    if (performance.now() < hurry) continue;
    view.replaceStale();
    hurry = end;
  }
}
