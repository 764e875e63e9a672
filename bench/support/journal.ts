// A run's cells as lines of JSON, each appended when it is finished: whatever ends the run, what it
// measured is kept, and a later one goes on from there.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import type { Values } from "../measure/measures.js";
import { ALL_CARRIERS, ALL_MEASURES, type Cell, cellKey } from "./legs.js";
import type { Machine } from "./machine.js";
import { type Failure, Results } from "./results.js";

/** A finished cell; `version` is that of a carrier which is not ours. */
export type Entry = Cell & { values: Values; version?: string };

/** What the figures of one table have in common. */
export interface Conditions {
  machine: Machine;
  /** Of one TCP transfer. */
  seconds: number;
}

export class JournalError extends Error {
  override readonly name = "JournalError";
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

function isValues(value: unknown): value is Values {
  return isObject(value) && Object.values(value).every((one) => typeof one === "number");
}

function isEntry(value: unknown): value is Entry {
  if (!isObject(value)) return false;
  const { leg, round, carrier, measure, values } = value;
  const isNamed = typeof leg === "string" && Number.isFinite(round);
  const isKnown =
    ALL_CARRIERS.some((name) => name === carrier) && ALL_MEASURES.some((name) => name === measure);
  return isNamed && isKnown && isValues(values);
}

type Head = { bench: "meshd"; machine?: Partial<Machine>; seconds?: number };

const isHead = (value: unknown): value is Head => isObject(value) && value.bench === "meshd";

/** By name and as text; what a head does not say is not compared. */
function termsOf({ machine = {}, seconds }: Partial<Head>): [string, string | undefined][] {
  const { cpu, cores, kernel, commit } = machine;
  const terms = { cpu, cores, kernel, commit, seconds };
  return Object.entries(terms).map(([name, value]) => [name, value?.toString()]);
}

/** What is another one than in an earlier part: "commit 1a2b3c4, not 5d6e7f8"; else undefined. */
function difference(heads: readonly Head[], now: Conditions): string | undefined {
  const wanted = new Map(termsOf(now));
  for (const [name, before] of heads.flatMap(termsOf)) {
    const value = wanted.get(name);
    if (before !== undefined && before !== value) return `${name} ${before}, not ${value}`;
  }
  return undefined;
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // A run that was cut off while it wrote leaves half a line: its cell is measured again.
    return undefined;
  }
}

/**
 * Finished cells of a journal's text; the last one of a cell counts.
 * @throws {JournalError} when it is not a journal of this bench
 */
export function parseJournal(text: string): Entry[] {
  const lines = text.split("\n").filter((line) => line !== "");
  const values = lines.map(parseLine);
  if (lines.length > 0 && !values.some(isHead))
    throw new JournalError("not a journal of this bench");
  const entries = new Map<string, Entry>();
  for (const entry of values.filter(isEntry)) entries.set(cellKey(entry), entry);
  return [...entries.values()];
}

/** The file of one run, to be appended to. Nothing is written before the first `begin`. */
export class Journal {
  readonly path: string;
  readonly #done: Map<string, Entry>;

  private constructor(path: string, entries: readonly Entry[]) {
    this.path = path;
    this.#done = new Map(entries.map((entry) => [cellKey(entry), entry]));
  }

  /** @throws {JournalError} when the file is there and something else */
  static open(path: string): Journal {
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    try {
      return new Journal(path, parseJournal(text));
    } catch (error) {
      throw new JournalError(`${path}: ${(error as Error).message}`);
    }
  }

  /**
   * Says under which conditions the lines that follow were measured.
   * @throws {JournalError} when those before were measured under others
   */
  begin(now: Conditions): void {
    const text = existsSync(this.path) ? readFileSync(this.path, "utf8") : "";
    const differs = difference(text.split("\n").map(parseLine).filter(isHead), now);
    if (differs !== undefined) {
      const todo = "begin another journal, by --full alone or --journal FILE";
      throw new JournalError(`${this.path} was measured with ${differs}: ${todo}`);
    }
    const isCut = text !== "" && !text.endsWith("\n");
    const head = JSON.stringify({ bench: "meshd", ...now });
    appendFileSync(this.path, `${isCut ? "\n" : ""}${head}\n`);
  }

  get entries(): readonly Entry[] {
    return [...this.#done.values()];
  }

  isDone(cell: Cell): boolean {
    return this.#done.has(cellKey(cell));
  }

  add(entry: Entry): void {
    appendFileSync(this.path, `${JSON.stringify(entry)}\n`);
    this.#done.set(cellKey(entry), entry);
  }

  /** Failures are told, not skipped by the next run. */
  fail(failure: Failure): void {
    appendFileSync(this.path, `${JSON.stringify({ failure })}\n`);
  }
}

/** Results of an earlier part of the run. */
export function resultsOf(entries: readonly Entry[]): Results {
  const results = new Results();
  for (const entry of entries) {
    results.add(entry, entry.values);
    if (entry.version !== undefined) results.versions.set(entry.carrier, entry.version);
  }
  return results;
}
