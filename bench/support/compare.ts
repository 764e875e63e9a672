// What has changed between two runs by more than noise. Only ratios are compared: absolute figures
// of two days differ by what else the machine does. docs/benchmarks.md has the rule in words.
import { sharesOf } from "../kernels/row.js";
import { GOALS, type Verdict } from "./goals.js";
import type { FigureRecord, RunRecord } from "./record.js";
import { median } from "./statistics.js";
import { formatNumber, formatTable } from "./table.js";

/** Something that two runs both have. */
interface Series {
  title: string;
  /** Whether less is better. */
  isCost: boolean;
  value: number;
  /** The same of single rounds. */
  rounds: number[];
}

export interface Change {
  title: string;
  before: number;
  after: number;
  /** By how much it must differ to count: 0.1 = a tenth. */
  noise: number;
  verdict: "better" | "worse" | "same";
}

/** Runs of one state of the code differ by this much even when their rounds agree. */
const BETWEEN_RUNS = 0.1;
/** Standard errors of the difference that are still called noise. */
const ERRORS = 3;
/** A run of one round says nothing of its spread: then it is taken for this. */
const UNKNOWN_SPREAD = 0.15;
/** A median's standard error, in standard deviations of a value by the root of their count. */
const OF_MEDIAN = 1.25;
/** Mean range of n values of a normal distribution, in standard deviations: n = 2, 3, ... */
const RANGE = [1.13, 1.69, 2.06, 2.33, 2.53, 2.7, 2.85, 2.97, 3.08];

/** Standard deviation of the logarithms of some positive values, by their range. */
export function spread(values: readonly number[]): number {
  const logs = values.filter((value) => value > 0).map(Math.log);
  if (logs.length < 2) return UNKNOWN_SPREAD;
  const range = Math.max(...logs) - Math.min(...logs);
  return range / (RANGE[Math.min(logs.length, RANGE.length + 1) - 2] ?? 1);
}

/** By how much two runs' figures may differ for no reason, as a share: 0.1 = a tenth. */
export function noiseOf(before: readonly number[], after: readonly number[]): number {
  const error = (values: readonly number[]) =>
    (OF_MEDIAN * spread(values)) / Math.sqrt(Math.max(1, values.length));
  const both = Math.hypot(error(before), error(after));
  return Math.expm1(Math.hypot(ERRORS * both, Math.log1p(BETWEEN_RUNS)));
}

function judgeChange(before: Series, after: Series): Change {
  const noise = noiseOf(before.rounds, after.rounds);
  const factor = after.value / before.value;
  const isChanged = Math.abs(Math.log(factor)) > Math.log1p(noise);
  const isBetter = factor > 1 !== after.isCost;
  return {
    title: after.title,
    ...{ before: before.value, after: after.value, noise },
    verdict: isChanged ? (isBetter ? "better" : "worse") : "same",
  };
}

function goalSeries(verdicts: readonly Verdict[]): [string, Series][] {
  return GOALS.flatMap((goal): [string, Series][] => {
    const verdict = verdicts.find(({ id }) => id === goal.id);
    if (verdict?.value === undefined) return [];
    const { title, isCost } = goal;
    const { value, rounds } = verdict;
    return [[`goal ${goal.id}`, { title, isCost, value, rounds }]];
  });
}

const COSTS: readonly string[] = ["daemons", "machine", "resident", "idle", "ping50", "ping99"];
/** Of meshd to kernel VXLAN, what no goal has already. */
const FIGURES: readonly string[] = [
  "tcp1",
  "tcp1cubic",
  "tcp4",
  "udp1400",
  "udp64",
  "udp64lossless",
  "machine",
];

function ratioSeries(own: FigureRecord, base: FigureRecord): Series | undefined {
  const rounds = own.rounds.flatMap((round, index) => {
    const other = base.values[base.rounds.indexOf(round)];
    const value = own.values[index];
    return other === undefined || other === 0 || value === undefined ? [] : [value / other];
  });
  if (rounds.length === 0 || base.median === 0) return undefined;
  const title = `${own.leg}: ${own.figure} / kernel VXLAN`;
  const value = own.median / base.median;
  return { title, isCost: COSTS.includes(own.figure), value, rounds };
}

function figureSeries(figures: readonly FigureRecord[]): [string, Series][] {
  const isGoal = ({ leg, figure }: FigureRecord) =>
    GOALS.some(
      ({ of }) =>
        "leg" in of && of.leg === leg && of.figure === figure && typeof of.base === "object",
    );
  const own = figures.filter((one) => one.carrier === "meshd" && FIGURES.includes(one.figure));
  return own.flatMap((one): [string, Series][] => {
    const base = figures.find(
      ({ leg, figure, carrier }) => leg === one.leg && figure === one.figure && carrier === "vxlan",
    );
    const series = base === undefined || isGoal(one) ? undefined : ratioSeries(one, base);
    return series === undefined ? [] : [[`${one.leg} ${one.figure}`, series]];
  });
}

function kernelSeries({ kernels }: RunRecord): [string, Series][] {
  const known = GOALS.flatMap(({ of }) => ("kernel" in of ? [of.kernel] : []));
  return kernels.flatMap((row): [string, Series][] => {
    if (row.share === undefined || known.includes(row.name)) return [];
    const rounds = sharesOf(row.passes);
    const value = row.share;
    return [
      [`kernel ${row.name}`, { title: `${row.name}, wasm / C`, isCost: false, value, rounds }],
    ];
  });
}

function seriesOf(record: RunRecord): Map<string, Series> {
  return new Map([
    ...goalSeries(record.goals),
    ...figureSeries(record.figures),
    ...kernelSeries(record),
  ]);
}

/** What both runs have, each with whether it changed. */
export function compareRecords(before: RunRecord, after: RunRecord): Change[] {
  const old = seriesOf(before);
  return [...seriesOf(after)].flatMap(([key, series]) => {
    const earlier = old.get(key);
    return earlier === undefined || earlier.value <= 0 || series.value <= 0
      ? []
      : [judgeChange(earlier, series)];
  });
}

const percent = (share: number) => `${(share * 100).toFixed(0)} %`;

/** What changed first, then how much is as it was. */
export function formatChanges(changes: readonly Change[], since: string): string {
  const changed = changes.filter(({ verdict }) => verdict !== "same");
  const same = changes.length - changed.length;
  const rest = `${same} of ${changes.length} ratios are the same within noise`;
  if (changed.length === 0) return `nothing has changed since ${since}: ${rest}`;
  const rows = changed.map(({ title, before, after, noise, verdict }) => {
    const factor = after / before - 1;
    const sign = factor > 0 ? "+" : "";
    const change = `${sign}${percent(factor)}`;
    return [title, formatNumber(before), formatNumber(after), change, percent(noise), verdict];
  });
  const noises = changes.map(({ noise }) => noise);
  const table = formatTable(["changed", "before", "now", "change", "noise", ""], rows);
  return `${table}\n\n${rest} (noise: median ${percent(median(noises))}); since ${since}`;
}
