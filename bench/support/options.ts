// Options of the benches, checked before anything is set up.
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { builtProtocols } from "../../control/index.js";
import type { MeasureName } from "../measure/measures.js";
import type { CarrierName } from "../network/carriers.js";
import { ALL_CARRIERS, ALL_MEASURES, type Crew } from "./legs.js";

/** What both benches of the network take. */
interface Common {
  rounds: number;
  /** Of one TCP transfer; a UDP flood takes half of it, at least 1. */
  seconds: number;
  carriers: CarrierName[];
  measures: MeasureName[];
  /** File for the results as JSON. */
  json?: string;
}

export interface ThroughputOptions extends Common {
  mtu: 1500 | 9000;
  offloads: boolean;
  crew: Crew;
}

export interface RunOptions extends Common {
  full: boolean;
  /** Go on with the journal of an earlier full run: that file, or the newest there is. */
  resume: boolean;
  journal?: string;
  /** Folder of the figures that are kept. */
  results: string;
  isKept: boolean;
  /** Whether the kernels are timed, too. */
  hasKernels: boolean;
  /** Records to compare: none = the newest kept one; one = that; two = with each other only. */
  compare?: string[];
  /** A kept run to put into the documents; measures nothing. */
  document?: string;
}

const SELECTION = `
  --rounds N          every measurement is taken N times, carriers in turn (default 3)
  --seconds N         of one TCP transfer, after one of warm-up (default 4)
  --only LIST         carriers and measures to do, by comma (default all):
                      ${ALL_CARRIERS.join(", ")};
                      ${ALL_MEASURES.join(", ")}
  --json FILE         write results, options and machine there`;

export const THROUGHPUT_USAGE = `Measures meshd beside kernel VXLAN, the bare underlay and other
user-space overlays that are installed, in own namespaces.

Usage: node dist/bench/throughput.js [OPTIONS]        (as root, from the repository's root)
${SELECTION}
  --workers N         worker threads of meshd (default: as the product comes)
  --steering auto|off (default: as the product comes)
  --encap NAME        what meshd's lab encapsulates with, whatever the column is called: one of
                      ${builtProtocols.join(", ")}
  --mtu 1500|9000     of the underlay (default 1500)
  --offloads on|off   UDP and tunnel segmentation of the veth; off is nearest to a plain wire
                      (default on)
  --help`;

export const RUN_USAGE = `Times the hot path's kernels, measures the network, says which goals are
reached, and keeps the figures.

Usage: npm run bench -- [OPTIONS]                     (as root)
       npm run bench -- --compare OLD.json NEW.json   (measures nothing)
${SELECTION}
  --full              the whole matrix: MTU, offloads, workers and steering of all carriers; takes
                      hours, each finished cell is appended to a journal
  --resume            with --full: go on with the newest journal in the folder of results
  --journal FILE      with --full: this journal; what it has already is not measured again
  --results DIR       folder of the figures that are kept (default bench/results)
  --no-keep           keep no figures
  --no-kernels        only the network
  --compare [FILE]    then say what has changed since FILE (default: the newest kept run) by more
                      than noise
  --document FILE     put a kept run into docs/benchmarks.md; measures nothing
  --help`;

/** What is wrong with the command line, in one line. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

function wholeNumber(name: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new UsageError(`--${name} ${text}: allowed is a whole number from 1 to ${most}`);
}

function oneOf<T extends string>(name: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((word) => word === text);
  if (found !== undefined) return found;
  throw new UsageError(`--${name} ${text}: allowed are ${allowed.join(", ")}`);
}

/** The named ones in the table's order; all of a kind of which none is named. */
function chosen<T extends string>(all: readonly T[], words: readonly string[]): T[] {
  const some = all.filter((name) => words.includes(name));
  return some.length === 0 ? [...all] : some;
}

function selection(only: string | undefined) {
  const words = only === undefined ? [] : only.split(",");
  for (const word of words) oneOf("only", word, [...ALL_CARRIERS, ...ALL_MEASURES]);
  return { carriers: chosen(ALL_CARRIERS, words), measures: chosen(ALL_MEASURES, words) };
}

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const COMMON = { rounds: string, seconds: string, only: string, json: string, help: flag };

interface CommonValues {
  rounds?: string;
  seconds?: string;
  only?: string;
  json?: string;
}

function common(values: CommonValues): Common {
  const { json } = values;
  if (json !== undefined && !existsSync(dirname(json))) {
    throw new UsageError(`--json ${json}: there is no folder ${dirname(json)}`);
  }
  return {
    rounds: wholeNumber("rounds", values.rounds ?? "3", 1000),
    seconds: wholeNumber("seconds", values.seconds ?? "4", 3600),
    ...selection(values.only),
    ...(json === undefined ? {} : { json }),
  };
}

/** Runs a parser; what it finds wrong is a mistake of usage. */
function parsing<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError((error as Error).message);
  }
}

function crewOf(values: { workers?: string; steering?: string; encap?: string }): Crew {
  const { workers, steering, encap } = values;
  return {
    ...(workers === undefined ? {} : { workers: wholeNumber("workers", workers, 32) }),
    ...(steering === undefined ? {} : { steering: oneOf("steering", steering, ["auto", "off"]) }),
    ...(encap === undefined ? {} : { encap: oneOf("encap", encap, builtProtocols) }),
  };
}

/** @throws UsageError */
export function parseThroughputOptions(argv: string[]): ThroughputOptions | "help" {
  const more = { workers: string, steering: string, encap: string, mtu: string, offloads: string };
  const options = { ...COMMON, ...more };
  const { values } = parsing(() => parseArgs({ args: argv, options, allowPositionals: false }));
  if (values.help === true) return "help";
  return {
    ...common(values),
    crew: crewOf(values),
    mtu: Number(oneOf("mtu", values.mtu ?? "1500", ["1500", "9000"])) as 1500 | 9000,
    offloads: oneOf("offloads", values.offloads ?? "on", ["on", "off"]) === "on",
  };
}

/** What belongs together on the command line. @throws UsageError */
function checkRun(options: RunOptions, files: readonly string[]): RunOptions {
  const { full, resume, journal, compare } = options;
  if (!full && (resume || journal !== undefined)) {
    throw new UsageError("--resume and --journal need --full");
  }
  if (resume && journal !== undefined) {
    throw new UsageError(
      "--resume takes the newest journal, --journal names one: give one of them",
    );
  }
  if (compare === undefined && files.length > 0) {
    throw new UsageError(`${files[0]}: unexpected; files belong to --compare`);
  }
  if (files.length > 2) throw new UsageError("--compare takes at most two files");
  return options;
}

/** @throws UsageError */
export function parseRunOptions(argv: string[]): RunOptions | "help" {
  const more = { full: flag, resume: flag, journal: string, results: string, compare: flag };
  const files = { document: string };
  const options = { ...COMMON, ...more, "no-keep": flag, "no-kernels": flag, ...files };
  const parsed = parsing(() => parseArgs({ args: argv, options, allowPositionals: true }));
  const { values, positionals } = parsed;
  if (values.help === true) return "help";
  const run: RunOptions = {
    ...common(values),
    full: values.full ?? false,
    resume: values.resume ?? false,
    ...(values.journal === undefined ? {} : { journal: values.journal }),
    results: values.results ?? "bench/results",
    isKept: values["no-keep"] !== true,
    hasKernels: values["no-kernels"] !== true,
    ...(values.document === undefined ? {} : { document: values.document }),
    ...(values.compare === true ? { compare: positionals } : {}),
  };
  return checkRun(run, positionals);
}
