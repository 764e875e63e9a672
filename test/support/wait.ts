// What tests wait for: a condition, or the end of some work.
import { setTimeout as sleep } from "node:timers/promises";

/** Polls until the condition holds; throws with `what` after the deadline. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadline_ms = 10_000,
): Promise<void> {
  const end = performance.now() + deadline_ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${deadline_ms} ms: ${what}`);
    await sleep(20);
  }
}

/** The code of the error that work ends with, or "" when it ends well. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}
