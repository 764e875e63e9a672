// npm run bench:scale: how the control plane grows with the number of nodes, and how long full
// tables take.
import { writeFileSync } from "node:fs";
import { describeMachine, formatMachine } from "../support/machine.js";
import { UsageError } from "../support/options.js";
import { pathIn, recordName } from "../support/record.js";
import { formatMeshes, formatTables, type MeshFigures, type ScaleRecord } from "./figures.js";
import { parseScaleOptions, SCALE_USAGE, type ScaleOptions } from "./options.js";
import { Simulation } from "./simulation.js";
import { measureTables } from "./tables.js";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

const print = (text: string) => process.stdout.write(`${text}\n`);
const say = (line: string) => process.stderr.write(`${line}\n`);

async function measureMesh(options: ScaleOptions, nodes: number): Promise<MeshFigures> {
  const simulation = await Simulation.start({ ...options, nodes, say });
  // Broken off: neither processes nor files stay behind.
  const breakOff = () => void simulation.stop().finally(() => process.exit(1));
  for (const signal of SIGNALS) process.once(signal, breakOff);
  try {
    return await simulation.measure();
  } finally {
    for (const signal of SIGNALS) process.off(signal, breakOff);
    await simulation.stop();
  }
}

async function measure(options: ScaleOptions): Promise<void> {
  const machine = describeMachine();
  const { shared, processes } = options;
  const tables = options.hasTables ? measureTables() : null;
  const meshes: MeshFigures[] = [];
  for (const nodes of options.nodes) meshes.push(await measureMesh(options, nodes));
  const record: ScaleRecord = { machine, shared, processes, meshes, tables };
  print(`\n${formatMachine(machine)}\n\n${formatMeshes(meshes)}\n`);
  if (tables !== null) print(formatTables(tables));
  if (!options.isKept) return;
  const path = pathIn(options.results, `${recordName(machine, false)}-scale.json`);
  writeFileSync(path, `${JSON.stringify(record, null, 2)}\n`);
  print(`\nkept: ${path}`);
}

async function main(argv: string[]): Promise<number> {
  const options = parseScaleOptions(argv);
  if (options === "help") print(SCALE_USAGE);
  else await measure(options);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const isUsage = error instanceof UsageError;
  say(`bench: ${(error as Error).message}${isUsage ? "; see --help" : ""}`);
  process.exitCode = isUsage ? 2 : 1;
}
