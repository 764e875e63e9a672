// Every kernel of the bench and its C twin give the same bytes: each subject proves it when it is
// made. Nothing is timed here.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { hasOpenssl } from "../../bench/kernels/mppe.js";
import { MPPE_BESIDE_RC4 } from "../../bench/kernels/row.js";
import { assertEqualOutput } from "../../bench/kernels/twin.js";
import { allSubjects } from "../../bench/kernels.js";
import { GOALS } from "../../bench/support/goals.js";

test("kernels and twins agree, and those the goals name are among them", async () => {
  const subjects = await allSubjects();
  const names = subjects.map(({ name }) => name);
  assert.is(new Set(names).size, names.length);
  for (const { of } of GOALS) {
    if (!("kernel" in of)) continue;
    if (of.kernel === MPPE_BESIDE_RC4 && !hasOpenssl()) continue;
    const subject = subjects.find(({ name }) => name === of.kernel);
    assert.type(subject?.sampleTwin, "function", of.kernel);
  }
});

test("a twin that differs by one byte is refused by name", () => {
  const own = Uint8Array.of(1, 2, 3);
  assertEqualOutput("x", own, own.slice());
  assert.throws(() => assertEqualOutput("fib", own, Uint8Array.of(1, 2, 4)), /^fib: /);
  assert.throws(() => assertEqualOutput("fib", own, own.subarray(0, 2)), /^fib: /);
});

test.run();
