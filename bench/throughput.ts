// How fast is meshd beside kernel VXLAN and the bare underlay? Two hosts as network namespaces, all
// carriers on one wire, every measurement in turn on each of them, several rounds.
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { MEASURES } from "./measure/measures.js";
import { CARRIERS, type Carrier, openCarrier } from "./network/carriers.js";
import { type Lab, openLab } from "./network/lab.js";
import { layWire } from "./network/wire.js";
import { describeMachine, formatMachine } from "./support/machine.js";
import {
  parseThroughputOptions,
  type ThroughputOptions,
  USAGE,
  UsageError,
} from "./support/options.js";
import { Results } from "./support/results.js";

const say = (text: string) => process.stderr.write(`${text}\n`);

/** The carriers, beginning with another one each round: none profits from its place. */
function inTurn(carriers: readonly Carrier[], round: number): Carrier[] {
  const first = (round - 1) % carriers.length;
  return [...carriers.slice(first), ...carriers.slice(0, first)];
}

async function runRound(
  lab: Lab,
  carriers: readonly Carrier[],
  options: ThroughputOptions,
  results: Results,
  round: number,
): Promise<void> {
  for (const measure of options.measures) {
    for (const carrier of inTurn(carriers, round)) {
      try {
        const values = await MEASURES[measure](lab, carrier, options.seconds);
        results.add(round, carrier.name, values);
        const shown = Object.entries(values).map(([name, value]) => `${name} ${value.toFixed(2)}`);
        say(`round ${round}: ${carrier.name}: ${shown.join(", ")}`);
      } catch (error) {
        const reason = (error as Error).message;
        results.failures.push({ round, carrier: carrier.name, measure, reason });
        say(`round ${round}: ${carrier.name}: ${measure} FAILED: ${reason}`);
      }
    }
  }
}

async function measureAll(options: ThroughputOptions): Promise<Results> {
  const results = new Results();
  const lab = openLab(options.workers);
  try {
    await layWire(lab, options);
    const carriers: Carrier[] = [];
    for (const name of options.carriers) carriers.push(await openCarrier(lab, name));
    for (let round = 1; round <= options.rounds; round++) {
      say(`round ${round} of ${options.rounds}, load ${loadavg()[0]?.toFixed(2)}`);
      await runRound(lab, carriers, options, results, round);
    }
  } finally {
    lab.close();
  }
  return results;
}

/** Measures, prints the table and writes the JSON file. @returns false when something failed */
export async function runThroughput(options: ThroughputOptions): Promise<boolean> {
  const machine = describeMachine();
  const results = await measureAll(options);
  const { carriers, rounds, seconds, workers, mtu, offloads } = options;
  const what = `MTU ${mtu}, veth offloads ${offloads ? "on" : "off"}, ${workers} worker(s)`;
  const cells = "median (min-max), ratios of medians (min-max of single rounds)";
  process.stdout.write(`${formatMachine(machine)}\n\n`);
  process.stdout.write(`${what}; ${rounds} round(s) of ${seconds} s; ${cells}\n\n`);
  process.stdout.write(`${results.table(carriers)}\n`);
  for (const { round, carrier, measure, reason } of results.failures) {
    process.stdout.write(`FAILED: round ${round}, ${CARRIERS[carrier].title}, ${measure}: `);
    process.stdout.write(`${reason}\n`);
  }
  if (options.json !== undefined) {
    const { samples, failures } = results;
    const summary = results.summaries(carriers);
    const all = { bench: "throughput", machine, options, summary, samples, failures };
    writeFileSync(options.json, `${JSON.stringify(all, null, 2)}\n`);
  }
  return results.failures.length === 0;
}

async function main(argv: string[]): Promise<number> {
  try {
    const options = parseThroughputOptions(argv);
    if (options === "help") {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    if (process.getuid?.() !== 0) throw new UsageError("network namespaces need root");
    return (await runThroughput(options)) ? 0 : 1;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    say(isUsage ? `throughput: ${error.message}; see --help` : `throughput: ${error}`);
    return isUsage ? 2 : 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
