// npm run chaos: breaks a lab in every way that is known, in an order that follows from a seed, and
// checks after each fault that what must hold does.
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Chaos } from "./chaos.js";
import type { Fault, World } from "./fault.js";
import { FAULTS } from "./faults/index.js";
import { ChaosLab } from "./lab.js";
import { type RunReport, runText, stepText } from "./report.js";
import { Traffic } from "./traffic.js";

const PROTOCOLS = ["vxlan", "geneve", "gre", "ipip", "udp"];
const HELP = `npm run chaos -- [--seed N] [--minutes M] [--steps K] [--only FAULT,...]
                 [--not FAULT,...] [--nodes N] [--servers 3] [--encap PROTOCOL] [--workers W]
                 [--name LAB] [--report FILE] [--keep FOLDER] [--list]

Breaks a lab of network namespaces, fault after fault, and checks after each that the mesh is whole.
Root only. The same seed gives the same faults in the same order.

--seed N      number that the run follows from (default: a new one, which is printed)
--minutes M   no fault strikes later than this (default 5)
--steps K     not more than so many faults
--only, --not names of faults, with commas; --list shows them
--name LAB    a lab that is up already ('meshd lab up --name LAB'): only faults that leave its hosts
              as they were; without it a lab of its own is made and removed
--report FILE writes the run's table there, and FILE.json beside it
--keep FOLDER where logs of failed steps go (default: a folder below ${tmpdir()})
--go-on       a failed step does not end the run
`;

class WrongUsage extends Error {}

const OPTIONS = {
  seed: { type: "string" },
  minutes: { type: "string" },
  steps: { type: "string" },
  only: { type: "string" },
  not: { type: "string" },
  nodes: { type: "string" },
  servers: { type: "string" },
  encap: { type: "string" },
  workers: { type: "string" },
  name: { type: "string" },
  report: { type: "string" },
  keep: { type: "string" },
  "go-on": { type: "boolean" },
  list: { type: "boolean" },
  help: { type: "boolean" },
} as const;

type Given = ReturnType<typeof given>;

function given() {
  try {
    return parseArgs({ options: OPTIONS, strict: true }).values;
  } catch (error) {
    throw new WrongUsage(error instanceof Error ? error.message : String(error));
  }
}

function number(name: string, text: string | undefined, least: number, most: number): number {
  const value = Number(text);
  if (text !== undefined && text !== "" && value >= least && value <= most) return value;
  throw new WrongUsage(`--${name} ${text}: allowed are ${least} to ${most}`);
}

function namesIn(option: string, text: string | undefined): string[] {
  const names = (text ?? "").split(",").filter(Boolean);
  const unknown = names.find((name) => !FAULTS.some((fault) => fault.name === name));
  if (unknown === undefined) return names;
  throw new WrongUsage(`--${option} ${unknown}: no such fault; --list shows them`);
}

function chosenFaults(options: Given): Fault[] {
  const [only, not] = [namesIn("only", options.only), namesIn("not", options.not)];
  return FAULTS.filter(({ name }) => only.length === 0 || only.includes(name)).filter(
    ({ name }) => !not.includes(name),
  );
}

/** What can be had on this lab; says what is left out, and why. */
function possibleFaults(faults: readonly Fault[], world: World): Fault[] {
  return faults.filter((fault) => {
    const isForbidden = !world.lab.isOwn && !fault.isSafe;
    const why = isForbidden ? "not on a lab of yours" : fault.unavailable?.(world);
    if (why !== undefined) say(`left out: ${fault.name} (${why})`);
    return why === undefined;
  });
}

const say = (line: string) => void process.stdout.write(`${line}\n`);

async function labOf(options: Given): Promise<ChaosLab> {
  if (options.name !== undefined) {
    const stateDir = process.env.MESHD_STATE_DIR ?? "/var/lib/meshd";
    const runDir = process.env.MESHD_RUN_DIR ?? "/run/meshd";
    return ChaosLab.adopt(options.name, { stateDir, runDir });
  }
  const words = [
    ...(options.encap === undefined ? [] : ["--encap", options.encap]),
    ...(options.workers === undefined ? [] : ["--workers", options.workers]),
  ];
  const nodes = number("nodes", options.nodes ?? "3", 2, 20);
  const servers = number("servers", options.servers ?? "1", 1, 3);
  return ChaosLab.make({ nodes, pods: 2, subnets: 2, servers, words });
}

function writeReport(path: string, report: RunReport): void {
  writeFileSync(path, `${runText(report)}\n`);
  writeFileSync(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`);
}

async function main(): Promise<number> {
  const options = given();
  if (options.help) return say(HELP) ?? 0;
  if (options.list) return say(listText()) ?? 0;
  const faults = chosenFaults(options);
  const seed = number("seed", options.seed ?? `${Date.now() % 1_000_000}`, 0, 0xffff_ffff);
  const minutes = number("minutes", options.minutes ?? "5", 0, 10_000);
  const steps = number("steps", options.steps ?? "1000000", 1, 1_000_000);
  if (process.getuid?.() !== 0) {
    process.stderr.write("chaos: a lab makes network namespaces and devices: run it as root\n");
    return 1;
  }
  const folder = resolve(options.keep ?? join(tmpdir(), `meshd-chaos-failed-${process.pid}`));
  say(`chaos: seed ${seed}, ${minutes} minutes`);
  const lab = await labOf(options);
  const world = { lab, traffic: new Traffic(lab), protocols: PROTOCOLS };
  const began = new Date();
  const chaos = new Chaos(world, {
    ...{ seed, limit_ms: minutes * 60_000, steps, faults: possibleFaults(faults, world), folder },
    ...{ stopAtFailure: options["go-on"] !== true, say },
    onResult: (result) => say(stepText(result)),
  });
  const isGood = await chaos.run();
  const report: RunReport = {
    ...{ seed, began: began.toISOString(), minutes: (Date.now() - began.getTime()) / 60_000 },
    ...{
      lab: `${lab.nodes.length} nodes and ${lab.controls.length} control host(s)`,
      steps: chaos.results,
      growth: chaos.upkeep.growth(),
    },
  };
  say(`\n${runText(report)}\n\nseed ${seed}`);
  if (options.report !== undefined) {
    mkdirSync(resolve(options.report, ".."), { recursive: true });
    writeReport(resolve(options.report), report);
  }
  return isGood ? 0 : 1;
}

function listText(): string {
  const width = Math.max(...FAULTS.map(({ name }) => name.length));
  return FAULTS.map(({ name, about, isSafe }) => {
    return `${name.padEnd(width)}  ${about}${isSafe ? "" : " (own labs only)"}`;
  }).join("\n");
}

try {
  process.exit(await main());
} catch (error) {
  const isUsage = error instanceof WrongUsage;
  process.stderr.write(`chaos: ${error instanceof Error ? error.message : String(error)}\n`);
  if (!isUsage && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exit(isUsage ? 2 : 1);
}
