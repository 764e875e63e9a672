// How fast is meshd beside kernel VXLAN, the bare underlay and other user-space overlays? Two hosts
// as network namespaces, all carriers on one wire, every measurement in turn, several rounds.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Leg, legTitle, makeLeg } from "./support/legs.js";
import { describeMachine, formatMachine } from "./support/machine.js";
import {
  parseThroughputOptions,
  THROUGHPUT_USAGE,
  type ThroughputOptions,
  UsageError,
} from "./support/options.js";
import { formatRecord, makeRecord } from "./support/record.js";
import { formatResults } from "./support/report.js";
import { Results } from "./support/results.js";
import { runLegs } from "./support/runner.js";

function legOf(options: ThroughputOptions): Leg {
  const { rounds, seconds, carriers, mtu, offloads, crew } = options;
  const measures = () => options.measures;
  return makeLeg({ rounds, seconds, carriers, mtu, offloads, crew, measures });
}

/** Measures, prints the table and writes the JSON file. @returns false when something failed */
async function runThroughput(options: ThroughputOptions): Promise<boolean> {
  const machine = describeMachine();
  const results = new Results();
  const leg = legOf(options);
  await runLegs([leg], results);
  process.stdout.write(`${formatMachine(machine)}\n\n`);
  process.stdout.write(`${options.rounds} round(s), TCP ${options.seconds} s\n`);
  process.stdout.write(`${formatResults(results, new Map([[leg.id, legTitle(leg)]]))}\n`);
  if (options.json !== undefined) {
    writeFileSync(options.json, formatRecord(makeRecord(machine, options, results, [])));
  }
  return results.failures.length === 0;
}

async function main(argv: string[]): Promise<number> {
  try {
    const options = parseThroughputOptions(argv);
    if (options === "help") {
      process.stdout.write(`${THROUGHPUT_USAGE}\n`);
      return 0;
    }
    if (process.getuid?.() !== 0) throw new UsageError("network namespaces need root");
    return (await runThroughput(options)) ? 0 : 1;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    const text = isUsage ? `throughput: ${error.message}; see --help` : `throughput: ${error}`;
    process.stderr.write(`${text}\n`);
    return isUsage ? 2 : 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
