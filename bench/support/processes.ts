// What a daemon costs, read from /proc.
import { readFileSync } from "node:fs";

/** USER_HZ: the unit of times in /proc, 100 on every architecture Node runs on. */
const TICKS_PER_SECOND = 100;
// Fields of /proc/PID/stat after the command's closing bracket: utime and stime are 14 and 15.
const UTIME = 11;
const STIME = 12;

/** CPU seconds of a process, all its threads, user and kernel, as /proc/PID/stat has them. */
export function parseCpuSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS_PER_SECOND;
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
