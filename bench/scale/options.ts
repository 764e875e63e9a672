// Options of the simulation, checked before anything is started.
import { parseArgs } from "node:util";
import { UsageError } from "../support/options.js";

export interface ScaleOptions {
  nodes: number[];
  processes: number;
  shared: boolean;
  changes: number;
  rest_s: number;
  results: string;
  isKept: boolean;
  hasTables: boolean;
}

export const SCALE_USAGE = `Simulates meshes of many nodes, with a real nats-server, a
controller, and agents without
datapath and host, and measures how they grow; then how long a change of full tables takes.

Usage: npm run bench:scale -- [OPTIONS]               (no root)
  --nodes LIST        sizes of meshes, by comma (default 10,100,1000)
  --processes N       that the agents are spread over (default 4)
  --changes N         of each kind that are followed into all plans (default 5)
  --rest N            seconds of rest that are counted (default 20)
  --alone             each agent checks each record by itself: a record that several agents of
                      one process get is checked once otherwise
  --results DIR       folder of the figures that are kept (default bench/results)
  --no-keep           keep no figures
  --no-tables         only the meshes
  --help`;

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`--${name} ${text}: allowed is a whole number from ${least} to ${most}`);
}

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** @throws UsageError */
export function parseScaleOptions(argv: string[]): ScaleOptions | "help" {
  const options = {
    ...{ nodes: string, processes: string, changes: string, rest: string, results: string },
    ...{ alone: flag, "no-keep": flag, "no-tables": flag, help: flag },
  };
  const { values } = parsed(() => parseArgs({ args: argv, options, allowPositionals: false }));
  if (values.help === true) return "help";
  const sizes = (values.nodes ?? "10,100,1000").split(",");
  return {
    nodes: sizes.map((size) => whole("nodes", size, 2, 4000)),
    processes: whole("processes", values.processes ?? "4", 1, 64),
    shared: values.alone !== true,
    changes: whole("changes", values.changes ?? "5", 1, 100),
    rest_s: whole("rest", values.rest ?? "20", 1, 3600),
    results: values.results ?? "bench/results",
    isKept: values["no-keep"] !== true,
    hasTables: values["no-tables"] !== true,
  };
}

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
