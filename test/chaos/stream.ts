// A paced TCP stream of numbered pieces, each with its SHA-256. A sender that hears nothing of its
// pieces for a while begins a new connection with the first that is not known to have arrived.
import { createHash } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import { setInterval } from "node:timers";

/** Header of a piece: its number, then its hash. */
const HEADER = 4 + 32;
const PIECE = 32 * 1024;
const PIECE_MS = 20;
/** A longer wait for an acknowledgment is a pause. */
const PAUSE_MS = 500;
/** So many pieces may be under way: what a sender does not know to have arrived. */
const WINDOW = 64;
const STALLED_MS = 2500;

export interface StreamCounts {
  /** Pieces of ours that arrived, as the other end says. */
  acknowledged: number;
  /** When the last of them was (milliseconds since 1970). */
  acknowledgedAt: number;
  /** Since when none was late: when the first one behind a longer pause came. */
  goesOnSince: number;
  /** Connections after the first to the same target. */
  resumed: number;
  /** Pieces that came to us, and those with a wrong hash or number. */
  received: number;
  bad: number;
}

/** Bytes that differ from piece to piece. */
function pieceOf(number: number): Buffer {
  const bytes = Buffer.alloc(HEADER + PIECE);
  for (let at = HEADER; at < bytes.length; at += 4) {
    bytes.writeUInt32LE((Math.imul(number + at, 0x9e37_79b1) ^ (at << 7)) >>> 0, at);
  }
  bytes.writeUInt32LE(number);
  createHash("sha256").update(bytes.subarray(HEADER)).digest().copy(bytes, 4);
  return bytes;
}

/** Cuts what comes into records of one size. */
class Cutter {
  #left = Buffer.alloc(0);

  constructor(
    readonly size: number,
    readonly take: (record: Buffer) => void,
  ) {}

  add(bytes: Buffer): void {
    let all = this.#left.length === 0 ? bytes : Buffer.concat([this.#left, bytes]);
    while (all.length >= this.size) {
      this.take(all.subarray(0, this.size));
      all = all.subarray(this.size);
    }
    this.#left = Buffer.from(all);
  }
}

/** Listens, and answers each good piece with its number. */
export function openSink(port: number, counts: StreamCounts): void {
  createServer((socket) => {
    let expected: number | undefined;
    const cutter = new Cutter(HEADER + PIECE, (piece) => {
      const number = piece.readUInt32LE();
      const hash = createHash("sha256").update(piece.subarray(HEADER)).digest();
      const isGood = hash.equals(piece.subarray(4, HEADER)) && number === (expected ?? number);
      counts.received += 1;
      counts.bad += isGood ? 0 : 1;
      expected = number + 1;
      socket.write(piece.subarray(0, 4));
    });
    socket.on("data", (bytes) => cutter.add(bytes));
    socket.on("error", () => socket.destroy());
  }).listen({ port, host: "::" });
}

export class StreamSender {
  readonly counts: StreamCounts = {
    ...{ acknowledged: 0, acknowledgedAt: 0, goesOnSince: 0, resumed: 0, received: 0, bad: 0 },
  };
  #target: string | null = null;
  #socket: Socket | undefined;
  #next = 0;
  #heard = Date.now();
  #acknowledged = 0;

  constructor(readonly port: number) {
    setInterval(() => this.#turn(), PIECE_MS);
  }

  /** From now on to this address; null: to nobody. */
  sendTo(target: string | null): void {
    if (target === this.#target) return;
    this.#target = target;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #turn(): void {
    if (this.#target === null) return;
    if (this.#socket === undefined) this.#connect(this.#target);
    else if (Date.now() - this.#heard > STALLED_MS) this.#resume();
    else if (this.#socket.writable && this.#next - this.#acknowledged < WINDOW) {
      this.#socket.write(pieceOf(this.#next));
      this.#next += 1;
    }
  }

  #resume(): void {
    this.counts.resumed += 1;
    this.#socket?.destroy();
    this.#connect(this.#target ?? "");
  }

  #connect(target: string): void {
    const socket = connect({ port: this.port, host: target, noDelay: true });
    this.#socket = socket;
    this.#next = this.#acknowledged;
    this.#heard = Date.now();
    const cutter = new Cutter(4, (record) => {
      if (this.#socket !== socket) return;
      this.#acknowledged = record.readUInt32LE() + 1;
      this.#heard = Date.now();
      this.#count();
    });
    socket.on("data", (bytes) => cutter.add(bytes));
    // Begun anew by `#turn` once it is stalled.
    socket.on("error", () => socket.destroy());
  }

  #count(): void {
    const { counts } = this;
    counts.acknowledged += 1;
    if (this.#heard - counts.acknowledgedAt > PAUSE_MS) counts.goesOnSince = this.#heard;
    counts.acknowledgedAt = this.#heard;
  }
}
