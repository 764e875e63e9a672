// A wire that somebody listens on: passes connections on to a nats-server and keeps every byte.
import { connect, createServer, type Socket } from "node:net";
import { cutOff, listen } from "../support/ports.js";

export interface RecordedWire {
  /** What a client connects to instead of the server. */
  url: string;
  /** Everything that crossed so far, both ways. */
  bytes(): string;
  close(): Promise<void>;
}

/** Listens on a free port of loopback for a server on `port`; `change` alters what it says. */
export async function recordedWire(
  port: number,
  change: (text: string) => string = (text) => text,
): Promise<RecordedWire> {
  const pieces: Buffer[] = [];
  const sockets = new Set<Socket>();
  const pass = (from: Socket, to: Socket, alter: (text: string) => string) => {
    sockets.add(from);
    from.on("data", (bytes) => {
      pieces.push(bytes);
      to.write(Buffer.from(alter(bytes.toString("latin1")), "latin1"));
    });
    from.on("close", () => to.destroy());
    from.on("error", () => to.destroy());
  };
  const server = createServer((client) => {
    const upstream = connect({ host: "127.0.0.1", port });
    pass(client, upstream, (text) => text);
    pass(upstream, client, change);
  });
  const close = () => cutOff(server, sockets);
  const bytes = () => Buffer.concat(pieces).toString("latin1");
  return { url: `nats://127.0.0.1:${await listen(server)}`, bytes, close };
}
