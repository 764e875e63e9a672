// Drop reasons: each has a sentence, and the page in docs/ is the one the program would write.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import {
  dropNames,
  dropReasonsPage,
  dropSentences,
  explainDrop,
} from "../../src/telemetry/index.js";

test("every drop reason of the hot path has a sentence that ends in a full stop", () => {
  const reasons = Object.keys(Drop).filter((key) => !/^\d+$/.test(key));
  assert.equal(Object.keys(dropSentences).sort(), reasons.sort());
  for (const sentence of Object.values(dropSentences))
    assert.match(sentence, /^[A-Z].{15,}\.( |$)/);
});

test("the names are in the order of their numbers, from 1 to COUNT without a gap", () => {
  assert.equal(
    dropNames.map((name) => Drop[name]),
    Array.from({ length: Drop.COUNT - 1 }, (_, index) => index + 1),
  );
});

test("docs/drop-reasons.md is what write-drop-reasons.js writes", () => {
  assert.is(readFileSync("docs/drop-reasons.md", "utf8"), dropReasonsPage());
});

test("a reason of a newer agent is explained as unknown", () => {
  assert.match(explainDrop("SOMETHING_NEW"), /newer/);
  assert.match(explainDrop("toString"), /newer/);
  assert.is(explainDrop("NO_ROUTE"), dropSentences.NO_ROUTE);
});

test.run();
