// Numbers that the benches report: medians, percentiles, ratios, and how they are written.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compare, median, percentile, summarize } from "../../bench/support/statistics.js";
import { formatNumber, formatTable } from "../../bench/support/table.js";

const rounds = (...values: number[]) => new Map(values.map((value, index) => [index + 1, value]));

test("the median is the middle value, or the mean of the two in the middle", () => {
  assert.is(median([9, 1, 5]), 5);
  assert.is(median([4, 1, 2, 100]), 3);
  assert.is(median([7]), 7);
  assert.throws(() => median([]), /no values/);
});

test("a percentile is a value that occurred, by nearest rank", () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.is(percentile(values, 50), 50);
  assert.is(percentile(values, 99), 99);
  assert.is(percentile(values, 100), 100);
  assert.is(percentile(values, 0), 1);
  assert.is(percentile([3], 99), 3);
});

test("statistics leave the values as they were", () => {
  const values = [3, 1, 2];
  summarize(values);
  assert.equal(values, [3, 1, 2]);
});

test("a ratio is that of the medians, its range that of single rounds", () => {
  const ratio = compare(rounds(10, 30, 20), rounds(10, 10, 40));
  assert.equal(ratio, { median: 2, min: 0.5, max: 3, count: 3 });
});

test("rounds that one side has not measured do not count", () => {
  const ratio = compare(rounds(10, 100), new Map([[1, 5]]));
  assert.equal(ratio, { median: 2, min: 2, max: 2, count: 1 });
  assert.is(compare(rounds(1), new Map()), undefined);
  assert.is(compare(rounds(1), rounds(0)), undefined, "nothing is a multiple of 0");
});

test("numbers have three digits and no exponent", () => {
  const written = [0, 0.01234, 1.005, 12.34, 123.4, 12345.6, 0.0000001].map(formatNumber);
  assert.equal(written, ["0", "0.0123", "1.00", "12.3", "123", "12346", "0.000000"]);
});

test("a table's first column stands to the left, the others to the right", () => {
  const text = formatTable(
    ["", "one"],
    [
      ["long name", "1"],
      ["x", "22.2"],
    ],
  );
  assert.is(text, "            one\n---------  ----\nlong name     1\nx          22.2");
});

test.run();
