// Lines that plain PPP comes by: a terminal, standard input and output, or TCP connections.
import { closeSync, constants, openSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { Duplex, type Readable, type Writable } from "node:stream";
import { ReadStream } from "node:tty";

/** Where lines are. */
export type LinePlace =
  | { kind: "standard" }
  | { kind: "terminal"; path: string }
  | { kind: "tcp"; address: string; port: number };

export interface Lines {
  /** TCP alone: the port that is listened on. */
  port: number | null;
  /** No line will come any more. */
  ended: Promise<void>;
  close(): Promise<void>;
}

/** More at one time are refused. */
const LINES_MAX = 64;

/**
 * Waits for lines; each is given to `onLine` once, with a name for logs.
 * @throws Error when the device or port cannot be had
 */
export async function openLines(
  place: LinePlace,
  onLine: (line: Duplex, name: string) => void,
): Promise<Lines> {
  if (place.kind === "tcp") return listen(place, onLine);
  const line =
    place.kind === "standard"
      ? standardLine(process.stdin, process.stdout)
      : openTerminal(place.path);
  const ended = new Promise<void>((resolve) => {
    line.once("close", () => resolve());
  });
  onLine(line, place.kind === "standard" ? "stdin" : place.path);
  const close = async () => {
    line.destroy();
  };
  return { port: null, ended, close };
}

/** Its end leaves the streams of the process whole: others write to them, too. */
export function standardLine(input: Readable, output: Writable): Duplex {
  const line = new Duplex({
    read: () => void input.resume(),
    write: (bytes, _encoding, done) => void output.write(bytes, done),
    destroy: (error, done) => {
      input.pause();
      input.removeListener("data", take);
      done(error);
    },
  });
  const take = (bytes: Uint8Array) => {
    if (!line.push(bytes)) input.pause();
  };
  input.on("data", take);
  input.once("end", () => line.push(null));
  input.once("error", (error) => line.destroy(error));
  return line;
}

/** A terminal that changes no byte. */
function openTerminal(path: string): Duplex {
  const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  try {
    const line = new ReadStream(fd);
    line.setRawMode(true);
    return line;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

async function listen(
  { address, port }: { address: string; port: number },
  onLine: (line: Duplex, name: string) => void,
): Promise<Lines> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    if (sockets.size >= LINES_MAX) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.setNoDelay(true);
    onLine(socket, `${socket.remoteAddress ?? ""}:${socket.remotePort ?? 0}`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: address, port, exclusive: true }, resolve);
  });
  const ended = new Promise<void>((resolve) => {
    server.once("close", () => resolve());
  });
  const at = server.address();
  return {
    port: typeof at === "object" && at !== null ? at.port : null,
    ended,
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await ended;
    },
  };
}
