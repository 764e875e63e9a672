// Bytes over TCP that never repeat, and the SHA-256 of what each end saw. Run as a program it is
// one end, inside a namespace:
//
//   node hashed-stream.js listen ADDRESS COUNT            prints {"port"}, then one end a stream
//   node hashed-stream.js send ADDRESS PORT SEED BYTES [PAUSE_MS]    prints its end
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { runIn, spawnIn, until } from "./netns.js";
import { Random } from "./random.js";

const PROGRAM = fileURLToPath(import.meta.url);
const CHUNK = 1 << 20;
/** Every so many bytes of a chunk carry the chunk's number: no two places of a stream are equal. */
const STAMP_STEP = 512;
const TRANSFER_LIMIT_MS = 120_000;

/** What one end saw of a stream; `sha256` in hexadecimal. */
export interface StreamEnd {
  bytes: number;
  sha256: string;
}

const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

function listen(address: string, count: number): void {
  let left = count;
  const server = createServer((socket) => {
    const hash = createHash("sha256");
    let bytes = 0;
    socket.on("data", (piece) => {
      hash.update(piece);
      bytes += piece.length;
    });
    socket.on("end", () => {
      say({ bytes, sha256: hash.digest("hex") });
      left -= 1;
      if (left === 0) server.close();
    });
  });
  server.listen(0, address, () => say({ port: (server.address() as AddressInfo).port }));
}

async function send(
  address: string,
  port: number,
  seed: number,
  total: number,
  pause_ms: number,
): Promise<void> {
  const socket = connect(port, address);
  await once(socket, "connect");
  const random = new Random(seed);
  const words = Uint32Array.from({ length: CHUNK / 4 }, () => random.bits());
  const hash = createHash("sha256");
  for (let sent = 0; sent < total; sent += CHUNK) {
    // A copy: the socket may hold the last chunk still.
    const chunk = Buffer.from(words.slice().buffer);
    for (let at = 0; at < CHUNK; at += STAMP_STEP) chunk.writeUInt32LE(sent / CHUNK, at);
    const piece = chunk.subarray(0, Math.min(CHUNK, total - sent));
    hash.update(piece);
    if (!socket.write(piece)) await once(socket, "drain");
    if (pause_ms > 0) await sleep(pause_ms);
  }
  const closed = once(socket, "close");
  socket.end();
  await closed;
  say({ bytes: total, sha256: hash.digest("hex") });
}

export interface StreamPath {
  from: string;
  to: string;
  /** Of the receiver; IPv4 or IPv6. */
  address: string;
}

/** A receiver of `count` streams that listens; `ends` resolves when all of them have ended. */
export interface Sink {
  port: number;
  ends: () => Promise<StreamEnd[]>;
}

/** Starts a receiver in a namespace. */
export async function openSink(namespace: string, address: string, count = 1): Promise<Sink> {
  const sink = spawnIn(namespace, [process.execPath, PROGRAM, "listen", address, `${count}`]);
  let said = "";
  sink.stdout?.on("data", (piece: Buffer) => {
    said += piece;
  });
  const lines = () => said.split("\n").slice(0, -1);
  await until("the receiver listens", () => lines().length > 0);
  const { port } = JSON.parse(lines()[0] ?? "") as { port: number };
  const ends = async () => {
    await until("all streams ended", () => lines().length > count, TRANSFER_LIMIT_MS);
    const rest = lines().slice(1);
    return rest.map((line) => JSON.parse(line) as StreamEnd);
  };
  return { port, ends };
}

/**
 * Sends one stream from a namespace; `to.seed` decides its bytes. A pause after each MiB makes it
 * last.
 */
export async function sendStream(
  namespace: string,
  to: { address: string; port: number; seed: number },
  bytes: number,
  pause_ms = 0,
): Promise<StreamEnd> {
  const where = [to.address, `${to.port}`, `${to.seed}`, `${bytes}`, `${pause_ms}`];
  const done = await runIn(namespace, [process.execPath, PROGRAM, "send", ...where]);
  if (done.code !== 0) throw new Error(`the sender of a stream failed: ${done.stderr}`);
  return JSON.parse(done.stdout) as StreamEnd;
}

/**
 * Sends `count` streams of `bytes` each at once from one namespace to another.
 * @returns what was sent and what was received, each in no order
 */
export async function hashedStreams(path: StreamPath, count: number, bytes: number) {
  const { address } = path;
  const { port, ends } = await openSink(path.to, address, count);
  const seeds = Array.from({ length: count }, (_, index) => Date.now() + index);
  const sent = await Promise.all(
    seeds.map((seed) => sendStream(path.from, { address, port, seed }, bytes)),
  );
  return { sent, received: await ends() };
}

if (process.argv[1] === PROGRAM) {
  const [verb, address = "", first, seed, total, pause] = process.argv.slice(2);
  if (verb === "listen") listen(address, Number(first));
  else await send(address, Number(first), Number(seed), Number(total), Number(pause ?? 0));
}
