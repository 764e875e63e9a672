// A kept run as Markdown, put into docs/benchmarks.md between two marks: figures in the documents
// are copied by a program, not by hand.
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { Row } from "../kernels/row.js";
import { FIGURES, type FigureName } from "../measure/measures.js";
import { CARRIERS, type CarrierName } from "../network/carriers.js";
import { goalRows } from "./goals.js";
import { ALL_CARRIERS } from "./legs.js";
import type { FigureRecord, RunRecord } from "./record.js";
import { formatNumber } from "./table.js";

const DOCUMENT = "docs/benchmarks.md";
const BEGIN = "<!-- figures of a kept run: begin -->";
const END = "<!-- figures of a kept run: end -->";

export class DocumentError extends Error {
  override readonly name = "DocumentError";
}

const cellText = (text: string) => text.trim().replace(/\|/g, "\\|");

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((row) => `| ${row.map(cellText).join(" | ")} |`).join("\n");
}

function value(record: FigureRecord | undefined): string {
  if (record === undefined) return "";
  const { median, min, max, count } = record;
  const range = count === 1 ? "" : ` (${formatNumber(min)}-${formatNumber(max)})`;
  return `${formatNumber(median)}${range}`;
}

function legTable(figures: readonly FigureRecord[], leg: string): string {
  const own = figures.filter((one) => one.leg === leg);
  const carriers = ALL_CARRIERS.filter((name) => own.some(({ carrier }) => carrier === name));
  const names = (Object.keys(FIGURES) as FigureName[]).filter((name) =>
    own.some(({ figure }) => figure === name),
  );
  const rows = names.map((figure) => {
    const of = (name: CarrierName) =>
      own.find((one) => one.carrier === name && one.figure === figure);
    return [`${FIGURES[figure].title}, ${FIGURES[figure].unit}`, ...carriers.map(of).map(value)];
  });
  return markdownTable(["", ...carriers.map((name) => CARRIERS[name].title)], rows);
}

function kernelTable(kernels: readonly Row[]): string {
  const rows = kernels.map(({ name, unit, ns, ns99, twin_ns, share }) => [
    ...[name, unit, formatNumber(ns), formatNumber(ns99)],
    twin_ns === undefined ? "" : formatNumber(twin_ns),
    share === undefined ? "" : share.toFixed(2),
  ]);
  return markdownTable(["", "unit", "ns, median", "ns, p99", "C: ns", "speed / C's"], rows);
}

function missing({ absences, failures, versions }: RunRecord): string[] {
  const title = (name: string) => CARRIERS[name as CarrierName]?.title ?? name;
  return [
    ...Object.entries(versions).map(([name, text]) => `- ${title(name)}: ${text}`),
    ...absences.map(({ carrier, reason }) => `- ${title(carrier)} was not measured: ${reason}`),
    ...failures.map(
      ({ leg, carrier, measure, reason }) =>
        `- ${leg}: ${measure} of ${title(carrier)} failed: ${reason.split("\n")[0]}`,
    ),
  ];
}

/** The run that is kept at `path`, as the body of a section. */
export function runMarkdown(record: RunRecord, path: string): string {
  const { machine } = record;
  const name = basename(path, ".json");
  const picture = `../bench/results/${name}`;
  const legs = [...new Set(record.figures.map(({ leg }) => leg))];
  const when = machine.date.slice(0, 16).replace("T", " ");
  const heads = ["goal", "figure (rounds)", "at least", "aim", "outcome"];
  return [
    `\`${machine.command}\`, ${when} UTC, commit ${machine.commit}: `,
    `${machine.cores} x ${machine.cpu}, ${machine.memory_gb} GB, ${machine.system}, Linux `,
    `${machine.kernel}, Node ${machine.node}, load ${machine.load.toFixed(2)} before the run. `,
    `[Record](${picture}.json), [plot](${picture}.svg).\n\n`,
    `![goals and figures of this run](${picture}.png)\n\n`,
    `${markdownTable(heads, goalRows(record.goals))}\n\n`,
    ...legs.map((leg) => `### ${leg}\n\n${legTable(record.figures, leg)}\n\n`),
    record.kernels.length === 0 ? "" : `### Kernels\n\n${kernelTable(record.kernels)}\n\n`,
    missing(record).join("\n"),
  ]
    .join("")
    .trimEnd();
}

/** A document with `text` between the marks. @throws {DocumentError} when it has no marks */
export function withFigures(document: string, text: string): string {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new DocumentError(`${DOCUMENT} has no marks for figures`);
  return `${document.slice(0, begin + BEGIN.length)}\n${text}\n${document.slice(end)}`;
}

/** Puts a kept run into docs/benchmarks.md. @returns the document's path */
export function documentRun(record: RunRecord, path: string): string {
  writeFileSync(DOCUMENT, withFigures(readFileSync(DOCUMENT, "utf8"), runMarkdown(record, path)));
  return DOCUMENT;
}
