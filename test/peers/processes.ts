// Guests of test processes that were killed hard: found by their folders, ended by pid and start
// time together, so that a pid given to another process since is left alone.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Short: paths of unix sockets have at most 107 bytes. */
const RUN = "/run/meshd-peers";
/** Fields of /proc/PID/stat after the name: state first, start time the 20th. */
const START_TIME = 19;
let serial = 0;

/** Clock ticks from boot to the start of a process; undefined when it is gone or a zombie. */
function startTime(pid: number): string | undefined {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return undefined;
  const fields = readFileSync(file, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return fields[0] === "Z" ? undefined : fields[START_TIME];
}

/** A folder for a guest of this process; its name says whose it is. */
export function makeFolder(): string {
  sweepLeftovers();
  serial += 1;
  const folder = join(RUN, `${process.pid}-${serial}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Notes which process the folder stands for. */
export function notePid(folder: string, pid: number): void {
  writeFileSync(join(folder, "pid"), `${pid} ${startTime(pid) ?? ""}`);
}

function endNoted(folder: string): void {
  const file = join(folder, "pid");
  const [pid, noted] = existsSync(file) ? readFileSync(file, "utf8").split(" ") : [];
  if (pid !== undefined && noted !== "" && startTime(Number(pid)) === noted) {
    process.kill(Number(pid), "SIGKILL");
  }
}

function sweepLeftovers(): void {
  if (!existsSync(RUN)) return;
  for (const name of readdirSync(RUN)) {
    if (existsSync(`/proc/${name.split("-")[0]}`)) continue;
    endNoted(join(RUN, name));
    rmSync(join(RUN, name), { recursive: true, force: true });
  }
}
