// Options of the throughput bench, checked before anything is set up.
import { parseArgs } from "node:util";
import { MEASURES, type MeasureName } from "../measure/measures.js";
import { CARRIERS, type CarrierName } from "../network/carriers.js";

export interface ThroughputOptions {
  rounds: number;
  /** Of one TCP transfer; a UDP flood takes half of it, at least 1. */
  seconds: number;
  carriers: CarrierName[];
  measures: MeasureName[];
  workers: number;
  mtu: 1500 | 9000;
  offloads: boolean;
  /** File for the results as JSON. */
  json?: string;
}

export const USAGE = `Measures meshd beside kernel VXLAN and the bare underlay, in own namespaces.

Usage: node dist/bench/throughput.js [OPTIONS]        (as root, from the repository's root)

  --rounds N          every measurement is taken N times, all carriers in turn (default 3)
  --seconds N         of one TCP transfer (default 5)
  --only LIST         carriers and measures to do, by comma (default all):
                      ${Object.keys(CARRIERS).join(", ")};
                      ${Object.keys(MEASURES).join(", ")}
  --workers N         worker threads of meshd (default 1)
  --mtu 1500|9000     of the underlay (default 1500)
  --offloads on|off   UDP and tunnel segmentation of the veth; off is nearest to a plain wire
                      (default on)
  --json FILE         write results, options and machine there
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
function chosen<T extends string>(table: Record<T, unknown>, words: readonly string[]): T[] {
  const all = Object.keys(table) as T[];
  const some = all.filter((name) => words.includes(name));
  return some.length === 0 ? all : some;
}

function selection(only: string | undefined) {
  const words = only === undefined ? [] : only.split(",");
  const known = [...Object.keys(CARRIERS), ...Object.keys(MEASURES)];
  for (const word of words) oneOf("only", word, known);
  return { carriers: chosen(CARRIERS, words), measures: chosen(MEASURES, words) };
}

/** @throws UsageError */
export function parseThroughputOptions(argv: string[]): ThroughputOptions | "help" {
  const text = { type: "string" } as const;
  const options = {
    ...{ rounds: text, seconds: text, only: text, workers: text, mtu: text, offloads: text },
    ...{ json: text, help: { type: "boolean" } as const },
  };
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>["values"];
  try {
    values = parseArgs({ args: argv, options, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help === true) return "help";
  return {
    rounds: wholeNumber("rounds", values.rounds ?? "3", 1000),
    seconds: wholeNumber("seconds", values.seconds ?? "5", 3600),
    ...selection(values.only),
    workers: wholeNumber("workers", values.workers ?? "1", 32),
    mtu: Number(oneOf("mtu", values.mtu ?? "1500", ["1500", "9000"])) as 1500 | 9000,
    offloads: oneOf("offloads", values.offloads ?? "on", ["on", "off"]) === "on",
    ...(values.json === undefined ? {} : { json: values.json }),
  };
}
