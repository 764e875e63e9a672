// Runs a program of the host by argv, without a shell; its words are in the error when it fails.
import { spawnSync } from "node:child_process";

export interface CommandOptions {
  cwd?: string;
  env?: Record<string, string>;
  input?: Buffer;
  /** A descriptor that takes the output instead of the caller. */
  output?: number;
}

/** Gives the output as bytes. @throws {Error} with the last lines of what it said */
export function command(argv: readonly string[], options: CommandOptions = {}): Buffer {
  const [file = "", ...rest] = argv;
  const done = spawnSync(file, rest, {
    stdio: [options.input === undefined ? "ignore" : "pipe", options.output ?? "pipe", "pipe"],
    maxBuffer: 1 << 28,
    env: { ...process.env, LC_ALL: "C", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? {} : { input: options.input }),
  });
  if (done.error === undefined && done.status === 0) return done.stdout ?? Buffer.alloc(0);
  const said = done.stderr?.toString().trim().split("\n").slice(-3).join("; ") ?? "";
  const why = done.error?.message ?? `exit ${done.status}: ${said}`;
  throw new Error(`${argv.slice(0, 4).join(" ")}: ${why}`);
}

/** Lines of a command's output, without empty ones. */
export function lines(argv: readonly string[], options: CommandOptions = {}): string[] {
  const text = command(argv, options).toString();
  return text.split("\n").filter((line) => line !== "");
}
