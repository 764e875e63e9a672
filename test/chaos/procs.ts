// The processes of a lab: who runs in which of its namespaces, and what each of them holds.
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { namespacePath } from "../support/netns.js";

const END_LIMIT_MS = 5000;

export type ProcessKind =
  | "agent"
  | "controller"
  | "nats-server"
  | "wire"
  | "gateway"
  | "talker"
  | "other";

export interface LabProcess {
  pid: number;
  namespace: string;
  kind: ProcessKind;
  command: string;
}

/** What a process holds: for who must not grow without end. */
export interface Holding {
  rss_kB: number;
  descriptors: number;
  age_s: number;
}

function kindOf(words: string[]): ProcessKind {
  const command = words.join(" ");
  if (command.includes("nats-server")) return "nats-server";
  if (command.includes("lab/wire/program.js")) return "wire";
  if (command.includes("lab/gateway.js")) return "gateway";
  if (command.includes("chaos/talk.js")) return "talker";
  if (!words.includes("--foreground")) return "other";
  return words.includes("join") ? "agent" : "controller";
}

function commandOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").filter(Boolean);
}

/** All processes in these namespaces. One that ends meanwhile is left out, and so are zombies. */
export function processesIn(namespaces: readonly string[]): LabProcess[] {
  const byInode = new Map<string, string>();
  for (const namespace of namespaces) {
    try {
      byInode.set(`net:[${statSync(namespacePath(namespace)).ino}]`, namespace);
    } catch {
      // It is not there: nobody can be in it.
    }
  }
  const pids = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry));
  return pids.map(Number).flatMap((pid): LabProcess[] => {
    try {
      const namespace = byInode.get(readlinkSync(`/proc/${pid}/ns/net`));
      if (namespace === undefined) return [];
      const words = commandOf(pid);
      if (words.length === 0) return [];
      return [{ pid, namespace, kind: kindOf(words), command: words.join(" ") }];
    } catch {
      return [];
    }
  });
}

/** Undefined once it has ended. */
export function holdingOf(pid: number): Holding | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const rss_kB = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    const descriptors = readdirSync(`/proc/${pid}/fd`).length;
    const ticks = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19];
    const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
    return { rss_kB, descriptors, age_s: uptime - Number(ticks) / 100 };
  } catch {
    return undefined;
  }
}

/** Its state's letter, as in ps; "" once it is gone. */
function stateOf(pid: number): string {
  try {
    return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
  } catch {
    return "";
  }
}

export const isAlive = (pid: number) => !["", "Z", "X"].includes(stateOf(pid));
export const isStopped = (pid: number) => stateOf(pid) === "T";

/** A killed process is gone a moment later: it has much memory to give back. */
export async function hasEnded(pid: number): Promise<boolean> {
  const deadline = Date.now() + END_LIMIT_MS;
  while (isAlive(pid) && Date.now() < deadline) await sleep(20);
  return !isAlive(pid);
}
