// The order of faults: it follows from the seed, and nothing is left out.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FAULTS } from "./faults/index.js";
import { stepsOf } from "./plan.js";
import { faultTable, type StepResult, stepText } from "./report.js";

const NAMES = FAULTS.map(({ name }) => name);

function firstSteps(seed: number, count: number, names = NAMES): string[] {
  const steps = stepsOf(seed, names);
  return Array.from({ length: count }, () => {
    const { value } = steps.next();
    return value === undefined ? "" : `${value.number} ${value.fault} ${value.dice.bits()}`;
  });
}

test("the same seed gives the same faults with the same numbers, another seed others", () => {
  assert.equal(firstSteps(7, 100), firstSteps(7, 100));
  assert.is.not(firstSteps(7, 100).join(), firstSteps(8, 100).join());
});

test("each round has every fault once, in another order than the round before", () => {
  const names = firstSteps(3, NAMES.length * 2).map((step) => step.split(" ")[1] ?? "");
  const rounds = [names.slice(0, NAMES.length), names.slice(NAMES.length)];
  for (const round of rounds) assert.equal([...round].sort(), [...NAMES].sort());
  assert.is.not(rounds[0]?.join(), rounds[1]?.join());
});

test("faults have names of their own, and none of them gives no step", () => {
  assert.is(new Set(NAMES).size, NAMES.length);
  assert.equal(firstSteps(1, 1, []), [""]);
});

const result = (fields: Partial<StepResult>): StepResult => ({
  ...{ number: 1, fault: "loss", target: "n1", at: "12:00:00", hurts: "data", lost: 3 },
  ...{
    resumed: 0,
    late: 0,
    recovery_ms: 1200,
    streams_ms: 0,
    control_ms: 0,
    seconds: 9,
    wrong: [],
  },
  ...fields,
});

test("a step that failed is said with its reasons, and a table counts it", () => {
  const failed = result({ number: 2, recovery_ms: null, wrong: ["n1 is out of balance"] });
  assert.match(stepText(failed), /^FAIL .*back in never.*\n +n1 is out of balance$/);
  assert.match(stepText(result({})), /^ok .*back in 1\.2 s/);
  const table = faultTable([result({}), failed]);
  assert.match(table, /^\| loss +\| 2 +\| 1 +\| .* \| never/m);
});

test.run();
