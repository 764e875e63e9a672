// Tests that change the kernel's network state need root. Without it they are named and counted as
// skipped, never as passed.
import type { Callback, Test } from "uvu";

/** True when this process may create namespaces, links and routes. */
export const isRoot: boolean = process.getuid?.() === 0;

/**
 * Registers a test that needs root: `rootTest(test, "a sentence", async () => { ... })`.
 * Not root: uvu counts it as skipped and its name is printed.
 */
export function rootTest<T>(suite: Test<T>, name: string, body: Callback<T>): void {
  if (isRoot) {
    suite(name, body);
    return;
  }
  const { skip: countAsSkipped } = suite;
  countAsSkipped(name, body);
  process.stdout.write(`  SKIPPED (needs root): ${name}\n`);
}
