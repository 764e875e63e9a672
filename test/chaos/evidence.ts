// What is kept of a lab after a step that failed: logs, status, tables, processes.
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { trySync } from "../support/netns.js";
import type { ChaosLab, Place } from "./lab.js";

const LOGS = ["agent.log", "controller.log", "nats/nats-server.log"];
const QUESTIONS: readonly [string, string[]][] = [
  ["links", ["ip", "-d", "address"]],
  ["routes", ["ip", "route", "show", "table", "all"]],
  ["routes6", ["ip", "-6", "route", "show", "table", "all"]],
  ["neighbours", ["ip", "neighbour"]],
];
const COMMANDS: readonly string[][] = [["status"], ["drops"], ["route", "list", "--here"]];
const CONTROL_COMMANDS: readonly string[][] = [
  ["node", "list"],
  ["lease", "list"],
];

function keepPlace(place: Place, folder: string, commands: readonly string[][]): void {
  mkdirSync(folder, { recursive: true });
  for (const log of LOGS) {
    const path = join(place.stateDir, log);
    if (existsSync(path)) copyFileSync(path, join(folder, log.replace("/", "-")));
  }
  for (const [name, argv] of QUESTIONS) {
    writeFileSync(join(folder, `${name}.txt`), trySync(place.namespace, argv).stdout);
  }
  for (const words of commands) {
    const where = ["--state-dir", place.stateDir, "--run-dir", place.runDir, "--json"];
    const argv = [process.execPath, "bin/meshd", ...words, ...where];
    const { stdout, stderr } = trySync(place.namespace, argv);
    writeFileSync(join(folder, `${words.join("-")}.json`), stdout + stderr);
  }
}

/** Copies what can tell of the failure. Never throws: the failure itself is what counts. */
export function keepEvidence(lab: ChaosLab, folder: string): void {
  try {
    for (const name of lab.nodeNames) keepPlace(lab.node(name), join(folder, name), COMMANDS);
    for (const place of lab.controls) {
      keepPlace(place, join(folder, lab.hostName(place)), CONTROL_COMMANDS);
    }
    const processes = lab.processes().map(({ pid, namespace, command }) => {
      return `${pid} ${namespace} ${command}`;
    });
    writeFileSync(join(folder, "processes.txt"), `${processes.join("\n")}\n`);
  } catch (error) {
    writeFileSync(join(folder, "evidence-failed.txt"), String(error));
  }
}
