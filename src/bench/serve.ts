// The serving child: listens for the driving one on the agreed addresses alone, and on its word
// starts threads that take traffic and count it.
import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { BenchError, bodyOf } from "./errors.js";
import { ANSWER_MS, GREETING_MS, TOKEN_BYTES } from "./limits.js";
import { parseLine, readLines, writeLine } from "./lines.js";
import type { Network, Way } from "./messages.js";
import { createFlag, raise, type SinkCount, TrafficThread } from "./threads.js";

/** What the driving child may ask for. */
export type Wish =
  | { do: "streams"; count: number }
  | { do: "datagrams" }
  /** Ends the sinks and gives what they counted. */
  | { do: "count" };

export interface SinksAnswer {
  ports: number[];
  /** Hexadecimal; opens each connection, begins each datagram. */
  token: string;
}

export interface CountAnswer {
  counts: SinkCount[];
}

const STREAMS_MAX = 16;

/** The sinks of one measurement. */
class Sinks {
  private readonly flag = createFlag();
  private readonly token = randomBytes(TOKEN_BYTES);
  private readonly threads: TrafficThread<SinkCount>[];
  private readonly isPatient: boolean;

  constructor({ family, own }: Way, kind: "stream-sink" | "datagram-sink", count: number) {
    const { flag, token } = this;
    this.isPatient = kind === "stream-sink";
    const start = () => new TrafficThread<SinkCount>({ kind, family, own, token, flag });
    this.threads = Array.from({ length: count }, start);
  }

  async begin(): Promise<SinksAnswer> {
    const ports = await Promise.all(this.threads.map((thread) => thread.port()));
    return { ports, token: this.token.toString("hex") };
  }

  /** Streams have their own end; whoever waits for it in vain stops them. */
  async count(): Promise<CountAnswer> {
    const timer = setTimeout(() => raise(this.flag), this.isPatient ? ANSWER_MS / 2 : 0);
    try {
      return { counts: await Promise.all(this.threads.map((thread) => thread.result())) };
    } finally {
      clearTimeout(timer);
    }
  }

  stop(): void {
    raise(this.flag);
  }
}

/** One driving child that said the secret. */
class Session {
  private sinks: Sinks | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly way: Way,
  ) {
    socket.on("close", () => this.sinks?.stop());
  }

  async answer(line: string): Promise<void> {
    try {
      writeLine(this.socket, await this.grant(parseLine(line) as Wish | undefined));
    } catch (error) {
      writeLine(this.socket, { error: bodyOf(error) });
    }
  }

  private grant(wish: Wish | undefined): Promise<SinksAnswer | CountAnswer> {
    switch (wish?.do) {
      case "streams":
        return this.start("stream-sink", wish.count);
      case "datagrams":
        return this.start("datagram-sink", 1);
      case "count":
        return this.count();
      default:
        throw new BenchError("MESHD_BAD_REQUEST", "there is no such wish");
    }
  }

  private start(kind: "stream-sink" | "datagram-sink", count: number): Promise<SinksAnswer> {
    if (!Number.isInteger(count) || count < 1 || count > STREAMS_MAX || this.sinks !== undefined) {
      throw new BenchError("MESHD_BAD_REQUEST", "sinks run already, or too many are asked for");
    }
    this.sinks = new Sinks(this.way, kind, count);
    return this.sinks.begin();
  }

  private count(): Promise<CountAnswer> {
    const sinks = this.sinks;
    if (sinks === undefined) throw new BenchError("MESHD_BAD_REQUEST", "no sink runs");
    this.sinks = undefined;
    return sinks.count();
  }
}

export class BenchServer {
  private readonly servers: Server[] = [];
  private current: Socket | undefined;
  private readonly secret: Buffer;

  private constructor(secret: string) {
    this.secret = Buffer.from(secret);
  }

  /** Listens on each way's own address; the ports are the kernel's choice. */
  static async open(
    secret: string,
    ways: readonly Way[],
  ): Promise<Partial<Record<Network, number>>> {
    const server = new BenchServer(secret);
    const ports: Partial<Record<Network, number>> = {};
    for (const way of ways) ports[way.network] = await server.listen(way);
    return ports;
  }

  private async listen(way: Way): Promise<number> {
    const server = createServer((socket) => this.welcome(socket, way));
    this.servers.push(server);
    await new Promise<void>((resolve, fail) => {
      server.once("error", fail);
      server.listen({ host: way.own, port: 0, exclusive: true }, resolve);
    });
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Who comes from elsewhere, is slow, or does not know the secret is cut off without a word. */
  private welcome(socket: Socket, way: Way): void {
    const timer = setTimeout(() => socket.destroy(), GREETING_MS);
    socket.on("close", () => clearTimeout(timer));
    socket.on("error", () => socket.destroy());
    if (socket.remoteAddress !== way.peer) {
      socket.destroy();
      return;
    }
    let session: Session | undefined;
    readLines(socket, (line) => {
      clearTimeout(timer);
      if (session !== undefined) void session.answer(line);
      else session = this.admit(socket, way, line);
    });
  }

  private admit(socket: Socket, way: Way, line: string): Session | undefined {
    const said = Buffer.from(line);
    if (said.length !== this.secret.length || !timingSafeEqual(said, this.secret)) {
      socket.destroy();
      return undefined;
    }
    // The driving child opens one at a time; a forgotten one must not keep its sinks.
    this.current?.destroy();
    this.current = socket;
    writeLine(socket, { welcome: true });
    return new Session(socket, way);
  }
}
