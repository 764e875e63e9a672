// A wire to a nats-server that can be told to keep back what the server says, frame by frame, or to
// alter it: how connections and watches die without a word.
import { connect, createServer, type Socket } from "node:net";
import { cutOff, listen } from "../support/ports.js";

/** One message or line of the server's side of the protocol. */
export interface Frame {
  /** MSG, HMSG, PONG, INFO, ... */
  verb: string;
  /** Of messages; else "". */
  subject: string;
  /** The subscription it goes to, of messages; else 0. */
  subscription: number;
  /** The header block of an HMSG, else "". */
  headers: string;
  /** Reply subject of a message, or "". */
  reply: string;
  bytes: Buffer;
}

/** What passes of a frame: all of it, something else, or nothing (null). */
export type Valve = (frame: Frame) => Buffer | null;

export interface ValvedWire {
  url: string;
  /** How many connections were taken. */
  readonly connections: number;
  /** From now on, for the connections that are there and, unless told otherwise, later ones. */
  set(valve: Valve, of?: "all" | "these"): void;
  /** Nothing passes any more, in neither direction, as if the process behind it were paused. */
  pause(): void;
  close(): Promise<void>;
}

const open: Valve = ({ bytes }) => bytes;

/** Cuts what came into whole frames; gives them and the rest. */
function cut(buffer: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = [];
  let at = 0;
  for (;;) {
    const end = buffer.indexOf("\r\n", at);
    if (end < 0) break;
    const words = buffer.toString("latin1", at, end).split(" ");
    const [verb = "", subject = ""] = words;
    const isMessage = verb === "MSG" || verb === "HMSG";
    const length = isMessage ? Number(words.at(-1)) : -2;
    const after = end + 2 + length + 2;
    if (after > buffer.length) break;
    const headerLength = verb === "HMSG" ? Number(words.at(-2)) : 0;
    const sizes = verb === "HMSG" ? 2 : 1;
    frames.push({
      verb,
      subject: isMessage ? subject : "",
      subscription: isMessage ? Number(words[2]) : 0,
      headers: buffer.toString("latin1", end + 2, end + 2 + headerLength),
      reply: isMessage && words.length === 4 + sizes ? (words[3] ?? "") : "",
      bytes: buffer.subarray(at, after),
    });
    at = after;
  }
  return { frames, rest: buffer.subarray(at) };
}

/** A header's number replaced by another one, padded to the same length. */
export function withHeader(frame: Frame, name: string, value: number): Buffer {
  const text = frame.bytes.toString("latin1");
  const pattern = new RegExp(`(${name}: )(\\d+)`);
  const changed = text.replace(pattern, (_, start: string, old: string) => {
    return start + String(value).padStart(old.length, "0");
  });
  return Buffer.from(changed, "latin1");
}

/** Listens on a free port of loopback for a server on `port`. */
export async function valvedWire(port: number): Promise<ValvedWire> {
  const wires = new Set<{ valve: Valve }>();
  const sockets = new Set<Socket>();
  let valve = open;
  let connections = 0;
  let isPaused = false;
  const server = createServer((client) => {
    connections++;
    const wire = { valve };
    wires.add(wire);
    const upstream = connect({ host: "127.0.0.1", port });
    let held = Buffer.alloc(0);
    upstream.on("data", (bytes) => {
      const { frames, rest } = cut(Buffer.concat([held, bytes]));
      held = Buffer.from(rest);
      for (const frame of frames) {
        const passed = isPaused ? null : wire.valve(frame);
        if (passed) client.write(passed);
      }
    });
    client.on("data", (bytes) => isPaused || upstream.write(bytes));
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        other.destroy();
        wires.delete(wire);
      });
    }
  });
  return {
    url: `nats://127.0.0.1:${await listen(server)}`,
    get connections() {
      return connections;
    },
    set(next, of = "all") {
      if (of === "all") valve = next;
      for (const wire of wires) wire.valve = next;
    },
    pause() {
      isPaused = true;
    },
    close: () => cutOff(server, sockets),
  };
}
