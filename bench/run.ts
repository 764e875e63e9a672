// npm run bench: the kernels, then the network; which goals are reached; what has changed. Keeps
// the figures and plots them.
import { writeFileSync } from "node:fs";
import type { Row } from "./kernels/row.js";
import { measureKernels } from "./kernels.js";
import { writePlots } from "./plot/index.js";
import { compareRecords, formatChanges } from "./support/compare.js";
import { formatGoals } from "./support/goals.js";
import { Journal, resultsOf } from "./support/journal.js";
import { defaultLegs, fullLegs, type Leg, legTitle } from "./support/legs.js";
import { describeMachine, formatMachine, type Machine } from "./support/machine.js";
import { documentRun } from "./support/markdown.js";
import { parseRunOptions, RUN_USAGE, type RunOptions, UsageError } from "./support/options.js";
import {
  formatRecord,
  makeRecord,
  newest,
  pathIn,
  type RunRecord,
  readRecord,
  recordName,
} from "./support/record.js";
import { formatResults } from "./support/report.js";
import { Results } from "./support/results.js";
import { listenToNobody, runLegs } from "./support/runner.js";

const print = (text: string) => process.stdout.write(`${text}\n`);

function journalPath(options: RunOptions, machine: Machine): string {
  if (options.journal !== undefined) return options.journal;
  const found = newest(options.results, "-full.jsonl");
  if (options.resume && found === undefined) {
    throw new UsageError(
      `--resume: ${options.results} has no journal (*-full.jsonl) to go on with`,
    );
  }
  if (options.resume && found !== undefined) return found;
  return pathIn(options.results, `${recordName(machine, true)}.jsonl`);
}

/** The whole matrix, from where the journal ends. */
async function measureFull(options: RunOptions, legs: Leg[], machine: Machine): Promise<Results> {
  const journal = Journal.open(journalPath(options, machine));
  const results = resultsOf(journal.entries);
  process.stderr.write(`journal ${journal.path}: ${journal.entries.length} cells are done\n`);
  journal.begin({ machine, seconds: options.seconds });
  await runLegs(legs, results, {
    isDone: (cell) => journal.isDone(cell),
    onValues: (cell, values, version) =>
      journal.add({ ...cell, values, ...(version === undefined ? {} : { version }) }),
    onFailure: (failure) => journal.fail(failure),
  });
  return results;
}

async function measureNetwork(options: RunOptions, legs: Leg[], machine: Machine) {
  if (options.full) return measureFull(options, legs, machine);
  const results = new Results();
  await runLegs(legs, results, listenToNobody);
  const [failure] = results.failures;
  if (results.samples.length > 0 || failure === undefined) return results;
  throw new Error(`nothing could be measured: ${failure.reason}`);
}

/** Writes the record and its plots to where they are wanted. */
function keep(options: RunOptions, record: RunRecord): void {
  if (options.json !== undefined) writeFileSync(options.json, formatRecord(record));
  if (!options.isKept) return;
  const name = recordName(record.machine, options.full);
  const path = pathIn(options.results, `${name}.json`);
  writeFileSync(path, formatRecord(record));
  const plots = writePlots(record, pathIn(options.results, name));
  print(`\nkept: ${[path, ...plots.written].join(", ")}`);
  if (plots.missing !== undefined) print(plots.missing);
}

/** Before anything takes long: what comes, and what becomes of it when it is broken off. */
function announce({ full, compare }: RunOptions): void {
  const then = compare === undefined ? "" : "; then it says what has changed";
  const instead = compare === undefined ? "" : " (--compare OLD NEW measures nothing)";
  const kept = full ? "finished cells are in the journal: --resume" : "nothing is kept of this run";
  process.stderr.write(
    `measuring now, at full load, for many minutes${then}${instead}; if broken off, ${kept}\n`,
  );
  process.once("SIGINT", () => process.stderr.write(`\nbench: broken off; ${kept}\n`));
}

async function measure(options: RunOptions): Promise<boolean> {
  const machine = describeMachine();
  const before = baseline(options, machine);
  announce(options);
  const legs = options.full ? fullLegs(options) : defaultLegs(options);
  const rows: Row[] = options.hasKernels ? await measureKernels() : [];
  const results = await measureNetwork(options, legs, machine);
  const record = makeRecord(machine, options, results, rows);
  print(`\n${formatMachine(machine)}\n`);
  print(`${options.rounds} round(s), TCP ${options.seconds} s`);
  print(`${formatResults(results, new Map(legs.map((leg) => [leg.id, legTitle(leg)])))}\n`);
  print(formatGoals(record.goals));
  if (before !== undefined) {
    print(`\n${formatChanges(compareRecords(before.record, record), before.path)}`);
  }
  keep(options, record);
  return results.failures.length === 0;
}

/** The record to compare this run with, looked for before it is measured. */
function baseline(options: RunOptions, machine: Machine) {
  if (options.compare === undefined) return undefined;
  const ending = `${recordName(machine, options.full).slice("2026-01-01T0000".length)}.json`;
  const path = options.compare[0] ?? newest(options.results, ending);
  if (path === undefined) {
    throw new UsageError(`--compare: ${options.results} has no earlier run of such a machine`);
  }
  return { path, record: readRecord(path) };
}

async function main(argv: string[]): Promise<number> {
  const options = parseRunOptions(argv);
  if (options === "help") {
    print(RUN_USAGE);
    return 0;
  }
  if (options.document !== undefined) {
    print(`written: ${documentRun(readRecord(options.document), options.document)}`);
    return 0;
  }
  const [before, after] = options.compare ?? [];
  if (before !== undefined && after !== undefined) {
    print(formatChanges(compareRecords(readRecord(before), readRecord(after)), before));
    return 0;
  }
  if (process.getuid?.() !== 0) throw new UsageError("network namespaces need root");
  return (await measure(options)) ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const isUsage = error instanceof UsageError;
  process.stderr.write(`bench: ${(error as Error).message}${isUsage ? "; see --help" : ""}\n`);
  process.exitCode = isUsage ? 2 : 1;
}
