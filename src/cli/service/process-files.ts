// Files of the processes that this host runs for meshd: process ids in the run directory, logs and
// nats-server's folder in the state directory.
import { readFileSync, rmSync } from "node:fs";
import { STOP_TIMEOUT_MS } from "../../config/index.js";
import { CommandError } from "../command.js";
import { readIfThere, writeSecret } from "../files.js";

export type ServiceName = "agent" | "controller";

export interface Place {
  stateDir: string;
  runDir: string;
}

export const pidFile = (place: Place, name: ServiceName) => `${place.runDir}/${name}.pid`;
export const logFile = (place: Place, name: ServiceName) => `${place.stateDir}/${name}.log`;
/** Where the nats-server of `up` has its files. */
export const natsDir = (place: Pick<Place, "stateDir">) => `${place.stateDir}/nats`;

const POLL_MS = 25;

/** Kernel start time of a process, clock ticks: tells it from a later one with its number. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name in parentheses may hold spaces: count fields after its end. See proc(5).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/**
 * Marks this process as the service's; removed by {@link forgetProcess}.
 * @throws CommandError MESHD_ALREADY_RUNNING when another one is it: two starts at the same moment
 */
export function rememberProcess(place: Place, name: ServiceName): void {
  const other = runningPid(place, name);
  if (other !== undefined && other !== process.pid) {
    const way = name === "agent" ? "meshd down --agent" : "meshd down";
    const message = `the ${name} runs here already (process ${other}); '${way}' stops it`;
    throw new CommandError("MESHD_ALREADY_RUNNING", message);
  }
  writeSecret(pidFile(place, name), `${process.pid} ${startTime(process.pid) ?? ""}\n`);
}

export function forgetProcess(place: Place, name: ServiceName): void {
  if (runningPid(place, name) === process.pid) rmSync(pidFile(place, name), { force: true });
}

/** Process id of the service when it runs; a number that now belongs to another process is none. */
export function runningPid(place: Place, name: ServiceName): number | undefined {
  const [pidText, started] = readIfThere(pidFile(place, name))?.trim().split(" ") ?? [];
  const pid = Number(pidText);
  if (!Number.isInteger(pid) || pid < 2) return undefined;
  const now = startTime(pid);
  return now !== undefined && now === started ? pid : undefined;
}

/** Waits until `done` gives something; undefined when the time is over. */
export async function waitFor<T>(
  done: () => Promise<T | undefined> | T | undefined,
  timeout_ms: number,
): Promise<T | undefined> {
  const deadline = Date.now() + timeout_ms;
  for (;;) {
    const found = await done();
    if (found !== undefined) return found;
    if (Date.now() > deadline) return undefined;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * Ends the service's process: SIGTERM, and after a while SIGKILL.
 * @returns false when it did not run
 * @throws CommandError MESHD_STOP_FAILED
 */
export async function stopProcess(place: Place, name: ServiceName): Promise<boolean> {
  const pid = runningPid(place, name);
  if (pid === undefined) return false;
  // Its pid file goes a moment before the process does: the process itself is what is waited for.
  const started = startTime(pid);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    process.kill(pid, signal);
    const gone = () => (startTime(pid) === started ? undefined : true);
    if (await waitFor(gone, STOP_TIMEOUT_MS / 2)) {
      rmSync(pidFile(place, name), { force: true });
      return true;
    }
  }
  throw new CommandError("MESHD_STOP_FAILED", `${name} (process ${pid}) does not end; see ps`);
}
