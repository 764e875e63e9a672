// What a run says: a line a step, a table by fault at the end, and the same as JSON and Markdown.
import type { Holding } from "./procs.js";

export interface StepResult {
  number: number;
  fault: string;
  target: string;
  /** UTC. */
  at: string;
  hurts: "control" | "data" | "change";
  /** Probes without an answer, of all flows. */
  lost: number;
  /** Probes that were answered, but so late that they had counted as lost. */
  late: number;
  /** Streams that began a new connection. */
  resumed: number;
  /** From the healing; null: not within the time that was given. */
  recovery_ms: number | null;
  streams_ms: number | null;
  /** Until agents and administrators were known to reach the control plane again. */
  control_ms: number | null;
  seconds: number;
  wrong: string[];
}

export interface RunReport {
  seed: number;
  began: string;
  minutes: number;
  lab: string;
  steps: StepResult[];
  growth: { name: string; minutes: number; first: Holding; last: Holding }[];
}

const inSeconds = (ms: number | null) => (ms === null ? "never" : `${(ms / 1000).toFixed(1)} s`);

export function stepText(one: StepResult): string {
  const verdict = one.wrong.length === 0 ? "ok  " : "FAIL";
  const number = String(one.number).padStart(3);
  const late = one.late === 0 ? "" : `, ${one.late} late`;
  const loss = `${one.lost} lost${one.hurts === "control" ? "" : " meanwhile"}${late}`;
  const figures = [
    `back in ${inSeconds(one.recovery_ms)}`,
    `streams ${inSeconds(one.streams_ms)}`,
    `control ${inSeconds(one.control_ms)}`,
  ].join(", ");
  const head = `${verdict} ${number} ${one.at} ${one.fault}: ${one.target}`;
  const lines = [`${head}; ${figures}; ${loss} (${one.seconds.toFixed(0)} s)`];
  return [...lines, ...one.wrong.map((what) => `         ${what}`)].join("\n");
}

interface FaultRow {
  fault: string;
  steps: number;
  failed: number;
  lost: number;
  recovery: (number | null)[];
  streams: (number | null)[];
  control: (number | null)[];
}

function rowsOf(steps: readonly StepResult[]): FaultRow[] {
  const rows = new Map<string, FaultRow>();
  for (const one of steps) {
    const row = rows.get(one.fault) ?? {
      ...{ fault: one.fault, steps: 0, failed: 0, lost: 0, recovery: [], streams: [] },
      control: [],
    };
    row.steps += 1;
    row.failed += one.wrong.length === 0 ? 0 : 1;
    row.lost += one.lost;
    row.recovery.push(one.recovery_ms);
    row.streams.push(one.streams_ms);
    row.control.push(one.control_ms);
    rows.set(one.fault, row);
  }
  return [...rows.values()].sort((a, b) => a.fault.localeCompare(b.fault));
}

const worst = (all: readonly (number | null)[]) =>
  inSeconds(all.includes(null) ? null : Math.max(...(all as number[])));
const median = (all: readonly (number | null)[]) => {
  const sorted = all.map((one) => one ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)] ?? 0;
  return inSeconds(Number.isFinite(middle) ? middle : null);
};

/** Faults, one a line, as a Markdown table that also reads well in a terminal. */
export function faultTable(steps: readonly StepResult[]): string {
  const head = ["fault", "steps", "failed", "back (median)", "back (worst)", "streams (worst)"];
  const more = ["control (worst)", "probes lost"];
  const cells = rowsOf(steps).map((row) => [
    ...[row.fault, `${row.steps}`, `${row.failed}`, median(row.recovery), worst(row.recovery)],
    ...[worst(row.streams), worst(row.control), `${row.lost}`],
  ]);
  const all = [[...head, ...more], ...cells];
  const widths = all[0]?.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0))) ?? [];
  const line = (row: string[]) =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  const [first = [], ...rest] = all;
  return [line(first), rule, ...rest.map(line)].join("\n");
}

function growthText({ growth }: RunReport): string {
  const rows = growth
    .filter(({ minutes }) => minutes >= 1)
    .sort((a, b) => a.name.localeCompare(b.name));
  return rows
    .map(({ name, minutes, first, last }) => {
      const memory = `${Math.round(first.rss_kB / 1024)} -> ${Math.round(last.rss_kB / 1024)} MiB`;
      const descriptors = `${first.descriptors} -> ${last.descriptors} descriptors`;
      return `${name}, ${minutes.toFixed(0)} min: ${memory}, ${descriptors}`;
    })
    .join("\n");
}

/** The end of a run, in Markdown. */
export function runText(report: RunReport): string {
  const failed = report.steps.filter(({ wrong }) => wrong.length > 0);
  const sum = `${report.steps.length - failed.length} of ${report.steps.length} steps good`;
  const head = `seed ${report.seed}, ${report.minutes.toFixed(1)} minutes, ${report.lab}: ${sum}`;
  const held = growthText(report);
  return [
    ...[head, "", faultTable(report.steps)],
    ...(held === "" ? [] : ["", "Processes that lived longest since their last kill:", "", held]),
    ...(failed.length === 0 ? [] : ["", ...failed.map(stepText)]),
  ].join("\n");
}
