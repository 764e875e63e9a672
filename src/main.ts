// The program: the world as it is, handed to the command line. Rooms are loaded when needed.
import { readFileSync } from "node:fs";
import type { AgentOptions } from "./agent/index.js";
import { type AgentProcessOptions, type Context, runCommandLine } from "./cli/index.js";

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

async function readInput(limit: number): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    pieces.push(piece);
    length += piece.length;
    if (length > limit) break;
  }
  return Buffer.concat(pieces).toString("utf8").slice(0, limit);
}

async function runAgent({ onReady, ...options }: AgentProcessOptions): Promise<number> {
  const agent = await import("./agent/index.js");
  const given: AgentOptions = { ...options, ...(onReady ? { onReady: () => onReady() } : {}) };
  return agent.runAgent(given);
}

/** Runs the command line of this process and gives its exit code. */
export function main(): Promise<number> {
  // A reader that went away (`meshd node list | head -1`) is no failure of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  const context: Context = {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    terminal: process.stderr.isTTY === true,
    environment: process.env,
    readInput,
    program: [process.execPath, process.argv[1] ?? ""],
    get version() {
      return version();
    },
    runAgent,
  };
  return runCommandLine(process.argv.slice(2), context);
}
