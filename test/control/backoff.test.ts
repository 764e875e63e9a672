// Waits after failures: they double up to a limit, and each is between half and the whole.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { backoff_ms } from "../../control/backoff.js";

const limits = { least_ms: 500, most_ms: 30_000 };

test("waits double with each failure up to the limit, between half and the whole", () => {
  for (const [failures, whole_ms] of [
    [0, 500],
    [1, 1_000],
    [5, 16_000],
    [6, 30_000],
    [5_000, 30_000],
  ] as const) {
    const waits = Array.from({ length: 1_000 }, () => backoff_ms(limits, failures));
    assert.ok(Math.min(...waits) >= whole_ms / 2, `${failures}: at least half`);
    assert.ok(Math.max(...waits) <= whole_ms, `${failures}: at most the whole`);
    assert.ok(new Set(waits).size > 900, `${failures}: not all at once`);
  }
});

test.run();
