// Which processors this thread, and what it starts, may run on: by taskset of util-linux.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** "0-2,5" as 0, 1, 2, 5. */
export function parseProcessors(list: string): number[] {
  return list.split(",").flatMap((part) => {
    const [first = Number.NaN, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** Without taskset, or where it is refused, the scheduler chooses: more noise, no other figures. */
function runOn(processors: readonly number[]): void {
  spawnSync("taskset", ["-cp", processors.join(","), `${process.pid}`], { stdio: "ignore" });
}

/**
 * Runs `work` many times, each time with this thread and its children on one processor, another
 * one each time; threads that there are already stay where they are.
 */
export function onEachInTurn(times: number, work: () => void): void {
  const status = readFileSync("/proc/self/status", "utf8");
  const all = parseProcessors(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? "0");
  try {
    for (let turn = 0; turn < times; turn++) {
      runOn([all[turn % all.length] ?? 0]);
      work();
    }
  } finally {
    runOn(all);
  }
}
