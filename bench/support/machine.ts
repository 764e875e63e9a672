// What the figures were measured on: they mean nothing without it.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";

export interface Machine {
  date: string;
  command: string;
  cpu: string;
  cores: number;
  memory_gb: number;
  kernel: string;
  system: string;
  node: string;
  v8: string;
  compiler: string;
  /** How the processor's frequency is chosen; "unknown" on most virtual machines. */
  governor: string;
  /** Commit of the checkout, with "+" where files of the product differ from it. */
  commit: string;
  /** Mean count of runnable processes over the last minute, before the run. */
  load: number;
}

function firstLine(file: string, argv: string[]): string {
  try {
    const text = execFileSync(file, argv, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return text.split("\n")[0] ?? "";
  } catch {
    return "unknown";
  }
}

function systemName(): string {
  try {
    const text = readFileSync("/etc/os-release", "utf8");
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}

const GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";

function governor(): string {
  try {
    return readFileSync(GOVERNOR, "utf8").trim();
  } catch {
    return "unknown";
  }
}

function commit(): string {
  const at = firstLine("git", ["rev-parse", "--short", "HEAD"]);
  const product = ["assembly", "src", "control", "node-tun"];
  const isChanged = firstLine("git", ["status", "--porcelain", "--", ...product]) !== "";
  return isChanged && at !== "unknown" ? `${at}+` : at;
}

/** The command line that would repeat this run. */
export function commandLine(): string {
  const script = (process.argv[1] ?? "").replace(`${process.cwd()}/`, "");
  return ["node", script, ...process.argv.slice(2)].join(" ");
}

export function describeMachine(): Machine {
  return {
    date: new Date().toISOString(),
    command: commandLine(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memory_gb: Math.round(totalmem() / 1e9),
    kernel: release(),
    system: systemName(),
    node: process.version,
    v8: process.versions.v8,
    compiler: firstLine("cc", ["--version"]),
    commit: commit(),
    governor: governor(),
    load: loadavg()[0] ?? 0,
  };
}

/** The description as lines for a terminal. */
export function formatMachine(machine: Machine): string {
  return [
    `command  ${machine.command}`,
    `date     ${machine.date}, commit ${machine.commit}`,
    `machine  ${machine.cores} x ${machine.cpu}, ${machine.memory_gb} GB`,
    `system   ${machine.system}, Linux ${machine.kernel}`,
    `node     ${machine.node} (V8 ${machine.v8}); ${machine.compiler}`,
    `load     ${machine.load.toFixed(2)} before the run; frequency governor ${machine.governor}`,
  ].join("\n");
}
