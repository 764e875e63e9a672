// What counts as a change between two runs, and how runs are kept.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compareRecords, formatChanges, noiseOf, spread } from "../../bench/support/compare.js";
import { describeMachine } from "../../bench/support/machine.js";
import { DocumentError, runMarkdown, withFigures } from "../../bench/support/markdown.js";
import {
  makeRecord,
  newest,
  RecordError,
  type RunRecord,
  readRecord,
  recordName,
  writeRecord,
} from "../../bench/support/record.js";
import { Results } from "../../bench/support/results.js";

const machine = {
  ...describeMachine(),
  date: "2026-11-22T04:30:11.000Z",
  cores: 4,
  cpu: "AMD EPYC",
};

/** A run whose meshd gets these shares of kernel VXLAN's 10 Gbit/s, round by round. */
function run(shares: number[], udp1400 = 3): RunRecord {
  const results = new Results();
  shares.forEach((share, index) => {
    const at = { leg: "mtu1500", round: index + 1 } as const;
    results.add({ ...at, carrier: "vxlan" }, { tcp1: 10, udp1400: 100 });
    results.add({ ...at, carrier: "meshd" }, { tcp1: 10 * share, udp1400: 100 * udp1400 });
  });
  return makeRecord(machine, {}, results, []);
}

const verdictOf = (before: number[], after: number[]) => {
  const [change] = compareRecords(run(before), run(after));
  return change?.verdict;
};

test("the same run twice has changed nothing", () => {
  const changes = compareRecords(run([0.8, 0.9, 1]), run([0.8, 0.9, 1]));
  assert.equal(
    changes.map(({ verdict }) => verdict),
    ["same", "same"],
  );
  assert.match(formatChanges(changes, "x.json"), /^nothing has changed since x\.json: 2 of 2/);
});

test("a change within the rounds' spread is noise, one beyond it is told", () => {
  assert.is(verdictOf([0.5, 0.9, 1.3], [0.4, 0.7, 1.1]), "same");
  assert.is(verdictOf([0.89, 0.9, 0.91], [0.69, 0.7, 0.71]), "worse");
  assert.is(verdictOf([0.69, 0.7, 0.71], [0.89, 0.9, 0.91]), "better");
});

test("less than a tenth is never told, however steady the rounds", () => {
  assert.is(verdictOf([1, 1, 1], [1.09, 1.09, 1.09]), "same");
  assert.is(verdictOf([1, 1, 1], [1.12, 1.12, 1.12]), "better");
});

test("a run of one round is trusted least", () => {
  assert.ok(noiseOf([1], [1]) > noiseOf([1, 1.1, 1.2], [1, 1.1, 1.2]));
  assert.ok(noiseOf([1, 1.1, 1.2], [1, 1.1, 1.2]) > noiseOf([1, 1, 1], [1, 1, 1]));
});

test("the spread is that of ratios: scale does not matter", () => {
  assert.ok(Math.abs(spread([1, 2, 4]) - spread([100, 200, 400])) < 1e-9);
  assert.is(spread([3, 3, 3]), 0);
});

test("absolute figures of two days are not compared, only what is on both sides", () => {
  const before = run([0.9, 0.9, 0.9]);
  const after = run([0.9, 0.9, 0.9], 6);
  for (const figure of after.figures) {
    figure.median *= 2;
    figure.values = figure.values.map((value) => 2 * value);
  }
  const changes = compareRecords(before, after);
  const [changed] = changes.filter(({ verdict }) => verdict !== "same");
  assert.is(changed?.title, "mtu1500: udp1400 / kernel VXLAN");
  assert.match(formatChanges(changes, "x"), /udp1400 .* 3\.00 +6\.00 +\+100 % .* better/);
});

const folder = mkdtempSync(join(tmpdir(), "meshd-record-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

test("a record is read as it was written, a line per list of numbers", () => {
  const record = run([0.8, 0.9, 1]);
  const path = join(folder, `${recordName(machine)}.json`);
  assert.is(recordName(machine), "2026-11-22T0430-4x-amd-epyc");
  writeRecord(path, record);
  assert.equal(readRecord(path), JSON.parse(JSON.stringify(record)));
  assert.match(readFileSync(path, "utf8"), /"values": \[ 8, 9, 10 \]/);
});

test("the newest record of a machine is found, full runs and plots apart", () => {
  const own = recordName(machine);
  const names = ["2026-11-21T2359-4x-amd-epyc.json", `${own}.svg`, `${own}-full.json`, "zz.json"];
  for (const name of names) writeFileSync(join(folder, name), "{}");
  assert.is(newest(folder, "-4x-amd-epyc.json"), join(folder, `${own}.json`));
  assert.is(newest(folder, "-8x-other.json"), undefined);
  assert.is(newest(join(folder, "missing"), ".json"), undefined);
});

test("a run goes between the marks of a document, and a later one takes its place", () => {
  const marks = ["begin", "end"].map((end) => `<!-- figures of a kept run: ${end} -->`);
  const document = `before\n${marks.join("\n")}\nafter\n`;
  const text = runMarkdown(run([0.8, 0.9, 1]), "bench/results/x.json");
  assert.match(
    text,
    /\| TCP 1 stream \/ kernel VXLAN \| 0\.900 \(0\.800-1\.00\) \|.*aim reached \|/,
  );
  assert.match(text, /\]\(\.\.\/bench\/results\/x\.svg\)/);
  const once = withFigures(document, text);
  assert.is(withFigures(once, text), once);
  assert.is(withFigures(once, "x"), `before\n${marks.join("\nx\n")}\nafter\n`);
  assert.throws(
    () => withFigures("no marks", text),
    (error: unknown) => error instanceof DocumentError,
  );
});

test("what is no record is refused by name", () => {
  const path = join(folder, "zz.json");
  for (const text of ["{}", "null", "nonsense", '{"bench":"meshd","format":99}']) {
    writeFileSync(path, text);
    assert.throws(
      () => readRecord(path),
      (error: unknown) => error instanceof RecordError && error.message.startsWith(path),
    );
  }
});

test.run();
