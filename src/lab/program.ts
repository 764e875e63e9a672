// Runs commands inside a lab's namespaces, first of all meshd itself as a user would.
// `nsenter --net` keeps the host's mount namespace, so that pod namespaces are seen by everybody.
import { execFile } from "node:child_process";
import { LabError } from "./error.js";

const OUTPUT_MAX = 64 * 1024 * 1024;

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** argv that runs `argv` inside the named network namespace. */
export function inNamespace(namespace: string, argv: string[]): string[] {
  return ["nsenter", `--net=/run/netns/${namespace}`, "--", ...argv];
}

/** Settings that lead a client to one control plane: what `lab env` prints, of any lab. */
const ELSEWHERE = ["MESHD_NATS", "MESHD_NATS_CA", "MESHD_CREDS", "MESHD_MESH"];

/** A lab's hosts know their own control plane, whatever the caller's shell was told. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !ELSEWHERE.includes(name));
  return Object.fromEntries(own);
}

/** Runs a program to its end; a non-zero exit is a value, not an error. */
export function runIn(namespace: string, argv: string[], timeout_ms = 60_000): Promise<Outcome> {
  const [file = "", ...rest] = inNamespace(namespace, argv);
  return new Promise((resolve) => {
    const limits = { timeout: timeout_ms, maxBuffer: OUTPUT_MAX };
    const options = { ...limits, encoding: "utf8" as const, env: environment() };
    execFile(file, rest, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 128;
      resolve({ code, stdout, stderr: stderr === "" && error !== null ? error.message : stderr });
    });
  });
}

/** One host's view of meshd: where it runs and where it keeps its files. */
export interface Place {
  namespace: string;
  stateDir: string;
  runDir: string;
}

/** Path of the meshd program that this process was started from. */
export function programPath(): string {
  return process.argv[1] ?? "meshd";
}

/** Runs a meshd command at a place. @throws LabError MESHD_LAB_COMMAND with its own line. */
export async function meshd(place: Place, argv: string[], timeout_ms = 90_000): Promise<string> {
  const where = ["--state-dir", place.stateDir, "--run-dir", place.runDir];
  const command = [process.execPath, programPath(), ...argv, ...where];
  const outcome = await runIn(place.namespace, command, timeout_ms);
  if (outcome.code === 0) return outcome.stdout;
  const said = outcome.stderr.trim().split("\n").at(-1) ?? "";
  const shown = argv.map((word) => (word.length > 60 ? `${word.slice(0, 12)}...` : word)).join(" ");
  const message = `'meshd ${shown}' in ${place.namespace} ended with ${outcome.code}: ${said}`;
  throw new LabError("MESHD_LAB_COMMAND", message);
}

/** As `meshd`, with --json, parsed. */
export async function meshdJson<T>(place: Place, argv: string[]): Promise<T> {
  const text = await meshd(place, [...argv, "--json"]);
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    const message = `'meshd ${argv.join(" ")}' in ${place.namespace} gave no JSON`;
    throw new LabError("MESHD_LAB_COMMAND", message, { cause });
  }
}

/** Maps with at most `atOnce` under way; the first error ends it. */
export async function mapSome<T, R>(
  items: T[],
  atOnce: number,
  action: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await action(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane));
  return results;
}
