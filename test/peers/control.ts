// Runs commands in a guest by virtio-serial ports, each a unix socket here: no network is used.
// Both ways, after "KPEERv1\n" and a token of 16 bytes: type(1) length(4, big endian) payload.
//   to the guest:    C argv joined by NUL, flags first   I input   Z end of input
//   from the guest:  O output   E errors   X exit status (decimal)
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";

const MAGIC = "KPEERv1\n";
const HEADER = 5;

/** What a command of the guest left; code 128 + N: it died of signal N. */
export interface GuestFinished {
  code: number;
  stdout: string;
  stderr: string;
}

export interface GuestCommand {
  argv: readonly string[];
  input?: string;
  /** Starts it and leaves it running; its output goes to /var/log/kp/PID.log of the guest. */
  detached?: boolean;
  timeout_ms: number;
}

export class GuestError extends Error {
  override readonly name = "GuestError";
}

function frame(type: string, payload: string): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(HEADER, type);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

function request(token: string, { argv, input, detached }: GuestCommand): Buffer {
  const flags = detached === true ? "d" : input === undefined ? "-" : "i";
  const parts = [Buffer.from(MAGIC + token), frame("C", [flags, ...argv].join("\0"))];
  if (input !== undefined) parts.push(frame("I", input), frame("Z", ""));
  return Buffer.concat(parts);
}

/** Collects what comes back; `add` is true once the exit status is there. */
class Answer {
  readonly finished: GuestFinished = { code: -1, stdout: "", stderr: "" };
  readonly #hello: Buffer;
  #rest: Buffer = Buffer.alloc(0);
  #isGreeted = false;

  constructor(token: string) {
    this.#hello = Buffer.from(MAGIC + token);
  }

  add(piece: Buffer): boolean {
    this.#rest = Buffer.concat([this.#rest, piece]);
    return this.#isHelloSeen() && this.#takeFrames();
  }

  /** What stands before our own token is left over from an earlier command. */
  #isHelloSeen(): boolean {
    if (this.#isGreeted) return true;
    const at = this.#rest.indexOf(this.#hello);
    if (at < 0) return false;
    this.#rest = this.#rest.subarray(at + this.#hello.length);
    this.#isGreeted = true;
    return true;
  }

  #takeFrames(): boolean {
    while (this.#rest.length >= HEADER) {
      const end = HEADER + this.#rest.readUInt32BE(1);
      if (this.#rest.length < end) return false;
      const type = String.fromCharCode(this.#rest[0] ?? 0);
      const text = this.#rest.subarray(HEADER, end).toString();
      this.#rest = this.#rest.subarray(end);
      if (type === "O") this.finished.stdout += text;
      else if (type === "E") this.finished.stderr += text;
      else if (type === "X") {
        this.finished.code = Number(text);
        return true;
      } else throw new GuestError(`the guest answered with an unknown frame: ${type}`);
    }
    return false;
  }
}

async function converse(socket: Socket, command: GuestCommand): Promise<GuestFinished> {
  const token = randomBytes(8).toString("hex");
  const answer = new Answer(token);
  await once(socket, "connect");
  socket.write(request(token, command));
  for await (const piece of socket) {
    if (answer.add(piece as Buffer)) return answer.finished;
  }
  throw new GuestError(`the guest went away during '${command.argv.join(" ")}'`);
}

/** The control ports of one guest; each carries one command at a time. */
export class ControlPorts {
  readonly #free: string[];
  readonly #waiting: ((port: string) => void)[] = [];

  /** `ports`: paths of the unix sockets. */
  constructor(ports: readonly string[]) {
    this.#free = [...ports];
  }

  /** @throws {GuestError} when the guest does not answer in time, or went away */
  async run(command: GuestCommand): Promise<GuestFinished> {
    const port = await this.#take();
    const socket = connect(port);
    let isLate = false;
    // A connection that ends makes the agent kill what it runs.
    const limit = setTimeout(() => {
      isLate = true;
      socket.destroy();
    }, command.timeout_ms);
    try {
      return await converse(socket, command);
    } catch (error) {
      if (!isLate) throw error;
      const what = command.argv.join(" ");
      throw new GuestError(`no end of '${what}' in the guest in ${command.timeout_ms} ms`);
    } finally {
      clearTimeout(limit);
      socket.destroy();
      this.#giveBack(port);
    }
  }

  #take(): Promise<string> {
    const port = this.#free.shift();
    if (port !== undefined) return Promise.resolve(port);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #giveBack(port: string): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(port);
    else next(port);
  }
}
