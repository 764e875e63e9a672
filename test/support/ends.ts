// What a test process takes away when it ends, also by a signal or after a failure that nobody
// caught: directories, and the processes that were started with a file of theirs.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const works = new Set<() => void>();
let guarded = false;

/** Does `work` when this process ends, unless the returned function was called before. */
export function atEnd(work: () => void): () => void {
  guard();
  works.add(work);
  return () => works.delete(work);
}

/** Makes `meshd-<label>-...` for temporary files; it goes by itself at the end. */
export function makeDirectory(label: string): string {
  const directory = mkdtempSync(join(tmpdir(), `meshd-${label}-`));
  atEnd(() => clearDirectory(directory));
  return directory;
}

/** Kills what was started with a file below the directory as an argument, then removes it. */
export function clearDirectory(directory: string): void {
  killUsersOf(directory);
  const options = { recursive: true, force: true, maxRetries: 20, retryDelay: 10 } as const;
  rmSync(directory, options);
}

/** By their command lines: a process that is just starting has told nobody its pid yet. */
function killUsersOf(directory: string): void {
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      if (argv.some((one) => one.startsWith(`${directory}/`))) process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

function guard(): void {
  if (guarded) return;
  guarded = true;
  process.once("exit", () => {
    for (const work of [...works].reverse()) work();
  });
  for (const [signal, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
    ["SIGHUP", 1],
  ] as const) {
    process.once(signal, () => process.exit(128 + number));
  }
}
