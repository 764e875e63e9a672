// What a mesh may not leave behind: processes, descriptors, memory that grows, fear in logs.
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { untilRight } from "./invariants.js";
import type { ChaosLab } from "./lab.js";
import { type Holding, holdingOf, type LabProcess } from "./procs.js";

const PROCESS_LIMIT_MS = 10_000;
/** A process is compared with itself at this age: by then it has loaded what it needs. */
const GROWN_UP_S = 20;
const RSS_MORE_KB = 96 * 1024;
const DESCRIPTORS_MORE = 40;
const LASTING = new Set(["agent", "controller", "nats-server", "gateway"]);

/** Words that no log may hold. */
const ALARMS = new RegExp(
  [
    ...["unhandled", "uncaught", "TypeError", "ReferenceError", "RangeError", "AssertionError"],
    ...["panic:", "FATAL", "heap out of memory", "^\\s+at .*\\.js:\\d+"],
    ...['"level":"error"', " error [a-z]+\\.[a-z]"],
  ].join("|"),
  "i",
);

interface Grown extends Holding {
  process: LabProcess;
}

/** Remembers what a lab looked like when it was well. */
export class Upkeep {
  readonly #logs = new Map<string, number>();
  readonly #first = new Map<number, Grown>();
  readonly #last = new Map<number, Grown>();
  #kinds = "";

  constructor(readonly lab: ChaosLab) {
    for (const path of this.#logPaths()) this.#logs.set(path, sizeOf(path));
  }

  /** From now on there may be as many processes as now. */
  begin(): void {
    this.#kinds = this.#census();
    this.checkLogs([/./]);
  }

  /** How many of each kind run where. */
  #census(): string {
    const lasting = this.lab.processes().filter(({ kind }) => kind !== "other");
    const counts = new Map<string, number>();
    for (const { namespace, kind } of lasting) {
      const name = `${namespace.slice(this.lab.name.length + 1)} ${kind}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return [...counts]
      .map(([name, count]) => `${name}: ${count}`)
      .sort()
      .join(", ");
  }

  /** As many processes as before, and no strangers. */
  checkProcesses(): Promise<string[]> {
    return untilRight(PROCESS_LIMIT_MS, async () => {
      const now = this.#census();
      const strangers = this.lab.processes().filter(({ kind }) => kind === "other");
      const wrong = now === this.#kinds ? [] : [`processes are ${now}; they were ${this.#kinds}`];
      return [...wrong, ...strangers.map(({ pid, command }) => `process ${pid} stays: ${command}`)];
    });
  }

  /** What each lasting process holds, against what it held when it was young. */
  checkHoldings(): string[] {
    const wrong: string[] = [];
    for (const process of this.lab.processes()) {
      const now = holdingOf(process.pid);
      if (now === undefined || !LASTING.has(process.kind) || now.age_s < GROWN_UP_S) continue;
      const first = this.#first.get(process.pid) ?? { ...now, process };
      this.#first.set(process.pid, first);
      this.#last.set(process.pid, { ...now, process });
      const name = `${process.namespace} ${process.kind} ${process.pid}`;
      if (now.rss_kB > first.rss_kB + RSS_MORE_KB) {
        wrong.push(`${name} grew from ${first.rss_kB} to ${now.rss_kB} kB`);
      }
      if (now.descriptors > first.descriptors + DESCRIPTORS_MORE) {
        wrong.push(`${name} had ${first.descriptors} descriptors, has ${now.descriptors}`);
      }
    }
    return wrong;
  }

  /** The processes that were watched longest, one a kind and place: first and last figures. */
  growth(): { name: string; minutes: number; first: Holding; last: Holding }[] {
    return [...this.#first].flatMap(([pid, first]) => {
      const last = this.#last.get(pid);
      if (last === undefined) return [];
      const name = `${first.process.namespace} ${first.process.kind}`;
      return [{ name, minutes: (last.age_s - first.age_s) / 60, first, last }];
    });
  }

  #logPaths(): string[] {
    const agents = this.lab.nodeNames.map((name) =>
      join(this.lab.node(name).stateDir, "agent.log"),
    );
    const own = this.lab.controls.flatMap(({ stateDir }) => [
      ...[join(stateDir, "controller.log"), join(stateDir, "nats", "nats-server.log")],
    ]);
    return [...agents, ...own].filter(existsSync);
  }

  /** Lines that came since the last call and should never come, unless the fault explains them. */
  checkLogs(excused: readonly RegExp[]): string[] {
    return this.#logPaths().flatMap((path) => {
      const from = this.#logs.get(path) ?? 0;
      const size = sizeOf(path);
      // It was shortened, or is another one.
      const text = readFrom(path, size < from ? 0 : from);
      this.#logs.set(path, size);
      const lines = text.split("\n").filter((line) => ALARMS.test(line));
      return lines
        .filter((line) => !excused.some((pattern) => pattern.test(line)))
        .map((line) => `${path.split("/").slice(-2).join("/")}: ${line.slice(0, 300)}`);
    });
  }
}

function sizeOf(path: string): number {
  const fd = openSync(path, "r");
  const { size } = fstatSync(fd);
  closeSync(fd);
  return size;
}

function readFrom(path: string, offset: number): string {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(Math.max(fstatSync(fd).size - offset, 0));
    const length = readSync(fd, bytes, 0, bytes.length, offset);
    return bytes.toString("utf8", 0, length);
  } finally {
    closeSync(fd);
  }
}
