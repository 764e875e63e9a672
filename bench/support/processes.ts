// What a daemon costs, read from /proc.
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: the unit of times in /proc, 100 on every architecture Node runs on. */
const TICKS_PER_SECOND = 100;
// Fields of /proc/PID/stat after the command's closing bracket: utime and stime are 14 and 15.
const UTIME = 11;
const STIME = 12;
// And of its children that have ended.
const CHILDREN_UTIME = 13;
const CHILDREN_STIME = 14;

/** CPU seconds of a process, all its threads, user and kernel, as /proc/PID/stat has them. */
export function parseCpuSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS_PER_SECOND;
}

/** The same of all children that have ended and were waited for. */
export function parseChildrenSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[CHILDREN_UTIME]) + Number(fields[CHILDREN_STIME])) / TICKS_PER_SECOND;
}

/** Time on a processor out of /proc/PID/task/TID/schedstat, to the nanosecond; in seconds. */
export function parseRunSeconds(schedstat: string): number {
  return Number(schedstat.split(" ")[0]) / 1e9;
}

/** A thread that ended between listing and reading ran no more. */
function threadSeconds(path: string): number {
  try {
    return parseRunSeconds(readFileSync(path, "utf8"));
  } catch {
    return 0;
  }
}

/**
 * CPU seconds of several processes together, their children included, finer than cpuSeconds: an
 * idle program's share is below its unit. @throws when one of them has ended
 */
export function fineCpuSeconds(pids: readonly number[]): number {
  const each = pids.map((pid) => {
    const tasks = readdirSync(`/proc/${pid}/task`);
    const own = tasks.map((task) => threadSeconds(`/proc/${pid}/task/${task}/schedstat`));
    const children = parseChildrenSeconds(readFileSync(`/proc/${pid}/stat`, "utf8"));
    return own.reduce((sum, seconds) => sum + seconds, children);
  });
  return each.reduce((sum, seconds) => sum + seconds, 0);
}

/** Resident bytes out of /proc/PID/status. */
export function parseResident(status: string): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}

/** CPU seconds of several processes together. @throws when one of them has ended */
export function cpuSeconds(pids: readonly number[]): number {
  const each = pids.map((pid) => parseCpuSeconds(readFileSync(`/proc/${pid}/stat`, "utf8")));
  return each.reduce((sum, seconds) => sum + seconds, 0);
}

/** Resident bytes of the largest of several processes. @throws when one of them has ended */
export function residentBytes(pids: readonly number[]): number {
  return Math.max(...pids.map((pid) => parseResident(readFileSync(`/proc/${pid}/status`, "utf8"))));
}

/** CPU seconds the whole machine was not idle, softirqs and everybody else's work included. */
export function busySeconds(): number {
  const line = readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "";
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
