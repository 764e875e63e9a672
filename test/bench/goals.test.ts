// Whether a run reached its goals, and what it says where it cannot know.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Row } from "../../bench/kernels/row.js";
import { formatGoals, GOALS, judge, type Verdict } from "../../bench/support/goals.js";
import { Results } from "../../bench/support/results.js";

const leg = "mtu1500";

function verdict(results: Results, id: string, rows: Row[] = []): Verdict {
  const found = judge(results, rows).find((one) => one.id === id);
  if (found === undefined) throw new Error(`no goal ${id}`);
  return found;
}

function tcp(...pairs: [meshd: number, vxlan: number][]): Results {
  const results = new Results();
  pairs.forEach(([meshd, vxlan], index) => {
    results.add({ leg, round: index + 1, carrier: "meshd" }, { tcp1: meshd });
    results.add({ leg, round: index + 1, carrier: "vxlan" }, { tcp1: vxlan });
  });
  return results;
}

test("every goal has a name of its own and an aim beyond what it asks for at least", () => {
  assert.is(new Set(GOALS.map(({ id }) => id)).size, GOALS.length);
  for (const { id, least, aim, isCost } of GOALS) assert.is(aim < least, isCost, id);
});

test("a gain is judged by its ratio of medians: aim, at least, or missed", () => {
  const outcome = (meshd: number) => verdict(tcp([meshd, 10], [meshd, 10]), "tcp1").outcome;
  assert.equal([9, 6.5, 6.4].map(outcome), ["aim", "least", "missed"]);
  const found = verdict(tcp([5, 10], [8, 10], [20, 10]), "tcp1");
  assert.equal([found.value, found.min, found.max], [0.8, 0.5, 2]);
  assert.equal(found.rounds, [0.5, 0.8, 2]);
});

test("of a cost, less is better", () => {
  const outcome = (resident: number) => {
    const results = new Results();
    results.add({ leg, round: 1, carrier: "meshd" }, { resident });
    return verdict(results, "resident").outcome;
  };
  assert.equal([80, 120, 121].map(outcome), ["aim", "least", "missed"]);
});

test("figures of other legs count for nothing", () => {
  const results = tcp([9, 10]);
  assert.is(verdict(results, "tcp1-9000").outcome, "not measured");
  assert.is(verdict(results, "tcp1").outcome, "aim");
});

test("a goal that could not be measured says why", () => {
  const results = tcp([9, 10]);
  assert.match(verdict(results, "ping50").remark ?? "", /not part of this run/);
  assert.match(verdict(results, "tcp1-peer").remark ?? "", /no user-space peer/);
  assert.match(verdict(results, "fib").remark ?? "", /kernels/);
  const failed = new Results();
  const failure = { leg, round: 1, carrier: "meshd", measure: "tcp1", reason: "it broke" } as const;
  failed.failures.push(failure);
  assert.match(verdict(failed, "tcp1").remark ?? "", /tcp1 failed: it broke/);
  const absent = tcp([9, 10]);
  absent.absences.push({ carrier: "vxlan", reason: "no such kernel" });
  absent.samples.splice(1, 1);
  assert.match(verdict(absent, "tcp1").remark ?? "", /vxlan: no such kernel/);
});

test("a kernel's figure is its speed as a share of its C twin's", () => {
  const passes = [
    { ns: 40, twin_ns: 20 },
    { ns: 10, twin_ns: 10 },
  ];
  const times = { ns: 25, ns99: 50, twin_ns: 15, share: 0.75 };
  const row = { name: "checksum 1460 B", unit: "sum", ...times, passes };
  const found = verdict(new Results(), "checksum", [row]);
  assert.equal([found.value, found.rounds, found.outcome], [0.75, [0.5, 1], "aim"]);
});

test("the table has a line per goal, with bounds and outcome", () => {
  const lines = formatGoals(judge(tcp([6, 10]), [])).split("\n");
  assert.is(lines.length, GOALS.length + 2);
  assert.match(lines[2] ?? "", /TCP 1 stream.* 0\.600 .*>= 0\.65 .*>= 0\.9 .*NOT reached$/);
});

test.run();
