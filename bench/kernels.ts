// What do the hot path's kernels cost per packet, and how far is that from C? Runs the real module
// on one thread; no root, no network.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { callSubject, checksumSubjects } from "./kernels/checksum.js";
import { openLoops } from "./kernels/loops.js";
import { mppeSubjects } from "./kernels/mppe.js";
import { packetSubjects } from "./kernels/packets.js";
import { Room } from "./kernels/room.js";
import { routeSubjects } from "./kernels/routes.js";
import { type Row, type Subject, timeAll } from "./kernels/row.js";
import { tunnelSubjects } from "./kernels/tunnel.js";
import { describeMachine, formatMachine } from "./support/machine.js";
import { compileFlags } from "./support/native.js";
import { formatRecord } from "./support/record.js";
import { formatNumber, formatTable } from "./support/table.js";

const USAGE = `Times the hot path's kernels, each beside a C twin where there is one.

Usage: node dist/bench/kernels.js [--json FILE]        (from the repository's root)`;

function cells(row: Row): string[] {
  const { name, unit, ns, ns99, bytes, twin_ns, share } = row;
  return [
    name,
    `ns/${unit}`,
    formatNumber(ns),
    formatNumber(ns99),
    formatNumber(1000 / ns),
    bytes === undefined ? "" : formatNumber(bytes / ns),
    twin_ns === undefined ? "" : formatNumber(twin_ns),
    share === undefined ? "" : share.toFixed(2),
  ];
}

/** Everything that is timed; each has proven that it gives what its C twin gives. */
export async function allSubjects(): Promise<Subject[]> {
  const room = await Room.open();
  const loops = await openLoops(room.module);
  return [
    callSubject(room),
    ...checksumSubjects(room, loops),
    ...(await tunnelSubjects()),
    ...packetSubjects(room),
    ...mppeSubjects(room, loops),
    ...(await routeSubjects()),
  ];
}

/** Measures everything and prints the table. */
export async function measureKernels(): Promise<Row[]> {
  const rows = timeAll(await allSubjects());
  const head = ["", "", "median", "p99", "M/s", "GB/s", "C", "speed / C's"];
  process.stdout.write(`kernels: C by cc ${compileFlags}, its output proven equal\n\n`);
  process.stdout.write(`${formatTable(head, rows.map(cells))}\n`);
  return rows;
}

async function main(argv: string[]): Promise<number> {
  const text = { json: { type: "string" }, help: { type: "boolean" } } as const;
  try {
    const { values } = parseArgs({ args: argv, options: text });
    if (values.help === true) {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    const machine = describeMachine();
    process.stdout.write(`${formatMachine(machine)}\n\n`);
    const kernels = await measureKernels();
    if (values.json !== undefined) {
      writeFileSync(values.json, formatRecord({ bench: "kernels", machine, kernels }));
    }
    return 0;
  } catch (error) {
    const isUsage = (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS") ?? false;
    process.stderr.write(`kernels: ${(error as Error).message}${isUsage ? "; see --help" : ""}\n`);
    return isUsage ? 2 : 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
