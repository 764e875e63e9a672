// The record of a run: everything that is needed to show it again, to plot it, or to compare a
// later one with it. One JSON file per run, small: every value of every round, no raw samples.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "../kernels/row.js";
import { FIGURES, type FigureName } from "../measure/measures.js";
import type { CarrierName } from "../network/carriers.js";
import { judge, type Verdict } from "./goals.js";
import type { Machine } from "./machine.js";
import type { Absence, Failure, Results } from "./results.js";
import { type Summary, summarize } from "./statistics.js";

/** Raised when a reader of older records could no longer read newer ones. */
const FORMAT = 1;

/** One figure of one carrier in one leg. */
export interface FigureRecord extends Summary {
  leg: string;
  carrier: CarrierName;
  figure: FigureName;
  unit: string;
  /** Of the rounds, in their order; round numbers, as one may have failed. */
  rounds: number[];
  values: number[];
}

export interface RunRecord {
  bench: "meshd";
  format: typeof FORMAT;
  machine: Machine;
  options: object;
  goals: Verdict[];
  figures: FigureRecord[];
  kernels: Row[];
  absences: Absence[];
  failures: Failure[];
  versions: Record<string, string>;
}

export class RecordError extends Error {
  override readonly name = "RecordError";
}

function figureRecords(results: Results): FigureRecord[] {
  return results.legs().flatMap((leg) =>
    results.carriers(leg).flatMap((carrier) =>
      (Object.keys(FIGURES) as FigureName[]).flatMap((figure) => {
        const byRound = results.values(leg, carrier, figure);
        if (byRound.size === 0) return [];
        const values = [...byRound.values()];
        const { unit } = FIGURES[figure];
        const rounds = [...byRound.keys()];
        return [{ leg, carrier, figure, unit, ...summarize(values), rounds, values }];
      }),
    ),
  );
}

/** Everything of a run, judged. */
export function makeRecord(
  machine: Machine,
  options: object,
  results: Results,
  kernels: readonly Row[],
): RunRecord {
  return {
    ...({ bench: "meshd", format: FORMAT, machine, options } as const),
    goals: judge(results, kernels),
    figures: figureRecords(results),
    kernels: [...kernels],
    absences: results.absences,
    failures: results.failures,
    versions: Object.fromEntries(results.versions),
  };
}

/** "2026-11-22T0430": runs sort by it. */
const stamp = (date: string) => `${date.slice(0, 13)}${date.slice(14, 16)}`;

/** Name of a run's files, without their ending: when, and on what machine. */
export function recordName({ date, cores, cpu }: Machine, isFull = false): string {
  const machine = cpu
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return `${stamp(date)}-${cores}x-${machine.slice(0, 40)}${isFull ? "-full" : ""}`;
}

/** JSON in which a row of numbers takes one line: a diff of two records can be read. */
export function formatRecord(value: unknown): string {
  const text = JSON.stringify(value, null, 1);
  return `${text.replace(/\[[\s\d.,e+-]*\]/g, (list) => list.replace(/\s+/g, " "))}\n`;
}

export function writeRecord(path: string, record: RunRecord): void {
  writeFileSync(path, formatRecord(record));
}

/** Makes the folder of results where it is missing. @returns the path of a file in it */
export function pathIn(folder: string, file: string): string {
  mkdirSync(folder, { recursive: true });
  return join(folder, file);
}

/** @throws {RecordError} when the file is no record of this bench */
export function readRecord(path: string): RunRecord {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new RecordError(`${path}: ${(error as Error).message}`);
  }
  const record = value as Partial<RunRecord> | null;
  if (record?.bench !== "meshd" || record.format !== FORMAT) {
    throw new RecordError(`${path}: not a record of this bench (format ${FORMAT})`);
  }
  return value as RunRecord;
}

/** Newest file of a folder whose name begins with a date and ends so; undefined = there is none. */
export function newest(folder: string, ending: string): string | undefined {
  try {
    const names = readdirSync(folder).filter((name) => /^\d{4}-/.test(name));
    const last = names
      .filter((name) => name.endsWith(ending))
      .sort()
      .pop();
    return last === undefined ? undefined : join(folder, last);
  } catch {
    return undefined;
  }
}
