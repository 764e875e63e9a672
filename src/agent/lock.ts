// One agent per state directory: flock(2) on a file in it. The kernel frees it when the process
// dies, so no stale lock can remain. Node has no flock; flock(1) locks the descriptor that it
// inherits.
import { spawn } from "node:child_process";
import { type FileHandle, open } from "node:fs/promises";
import { AgentError } from "./errors.js";

function lockDescriptor(fd: number): Promise<number> {
  return new Promise((resolve, fail) => {
    // stdio[3] is our open file: the lock belongs to it, not to the short-lived child.
    const child = spawn("flock", ["--exclusive", "--nonblock", "3"], {
      stdio: ["ignore", "ignore", "ignore", fd],
    });
    child.once("error", fail);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

export class StateLock {
  private constructor(private readonly file: FileHandle) {}

  /** Takes the lock or throws MESHD_STATE_LOCKED at once. */
  static async take(path: string): Promise<StateLock> {
    const file = await open(path, "a+", 0o600);
    try {
      if ((await lockDescriptor(file.fd)) !== 0) {
        const owner = (await file.readFile("utf8")).trim();
        const who = owner === "" ? "another process" : `process ${owner}`;
        const what = `state directory in use: ${who} holds ${path}`;
        throw new AgentError("MESHD_STATE_LOCKED", `${what}; stop it, or give another --state-dir`);
      }
      await file.truncate(0);
      // Only for people. On a full disk the lock holds all the same, and the agent starts.
      await file.write(`${process.pid}\n`).catch(() => undefined);
      return new StateLock(file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async release(): Promise<void> {
    await this.file.truncate(0);
    await this.file.close();
  }
}
