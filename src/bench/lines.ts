// JSON, a line each, over a TCP connection: how both children of a bench talk.
import type { Socket } from "node:net";
import { BenchError } from "./errors.js";
import { LINE_BYTES_MAX } from "./limits.js";

/** Calls `onLine` for every line; a line that is too long ends the connection. */
export function readLines(socket: Socket, onLine: (line: string) => void): void {
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_BYTES_MAX) {
      socket.destroy();
      return;
    }
    for (const line of lines) if (!socket.destroyed) onLine(line);
  });
}

export function writeLine(socket: Socket, value: unknown): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(value)}\n`);
}

/** The JSON of a line, or undefined. */
export function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Questions, one at a time, and their answers in order. */
export class Asker {
  private waiting: ((line: string | undefined) => void) | undefined;

  constructor(private readonly socket: Socket) {
    readLines(socket, (line) => this.settle(line));
    socket.on("close", () => this.settle(undefined));
    // What goes wrong with a connection shows as its end.
    socket.on("error", () => undefined);
  }

  private settle(line: string | undefined): void {
    const waiting = this.waiting;
    this.waiting = undefined;
    waiting?.(line);
  }

  /** The answer, or undefined when the other side has closed. MESHD_BENCH_TIMEOUT. */
  ask(line: string, timeout_ms: number): Promise<unknown> {
    if (this.socket.destroyed) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting = undefined;
        this.socket.destroy();
        const what = "the other node's bench gave no answer in time; try again";
        reject(new BenchError("MESHD_BENCH_TIMEOUT", what));
      }, timeout_ms);
      this.waiting = (answer) => {
        clearTimeout(timer);
        resolve(answer === undefined ? undefined : parseLine(answer));
      };
      this.socket.write(`${line}\n`);
    });
  }
}
