// Listens for control connections on one address, within limits: how many in all and of one source,
// how long one may say nothing. Calls that clients ask for go to `onCall`.
import { createServer, type Server, type Socket } from "node:net";
import { PPTP_PORT, StartResult } from "./codes.js";
import type { Collisions } from "./collisions.js";
import { PptpError } from "./errors.js";
import { clock_ms, Session } from "./session.js";
import type { Call, CallOffer, CloseReason, HangUp, Refusal, Role, Timers } from "./types.js";

/** A call that the other end of a control connection asks for. */
export interface IncomingRequest {
  /** "outgoing": a client wants us to be its PAC. "incoming": an access server offers its line. */
  kind: "outgoing" | "incoming";
  /** Address of the other end; its GRE packets come from there. */
  source: string;
  hostName: string;
  vendor: string;
  /** The number that was dialled, as text; who dialled, where an access server says so. */
  phoneNumber: string;
  dialing: string;
  peerCallId: number;
  /** Data packets that they buffer. Of an incoming call it is known when it is connected. */
  window: number;
  serial: number;
}

/** What to do with it. `accept` or `refuse` within half a minute, at once is best. */
export interface ServerCall {
  accept(offer: CallOffer): void;
  refuse(why: Refusal): void;
  /** Ends the call; `ended` is told before this returns. Statistics are asked for at that time. */
  clear(why: HangUp): void;
  onConnected(handler: (end: { peerCallId: number; window: number }) => void): void;
  onEnd(handler: (reason: string, statistics?: string) => void): void;
  /** Text of 128 characters at most that the client is told when the call ends. */
  onStatistics(handler: () => string): void;
}

export interface ServerLimits {
  connections: number;
  connectionsOfOneSource: number;
  /** Connections that did not say start yet; beyond it the oldest one goes. */
  waiting: number;
  callsOfOneConnection: number;
  /** In a minute, of one connection; clients send a handful. */
  messages: number;
}

/** A call each is what clients have; an access server may have many. */
export const SERVER_LIMITS: Readonly<ServerLimits> = {
  connections: 1024,
  connectionsOfOneSource: 64,
  waiting: 128,
  callsOfOneConnection: 64,
  messages: 600,
};

/** Start within 10 s, and go when there is no call for a minute. */
const STOP_MS = 3_000;
/** Lines of log in a minute: anybody can connect, as often as they like. */
const LOG_LINES = 60;
const MINUTE_MS = 60_000;
const SERVER_TIMERS: Partial<Timers> = {
  establish_ms: 10_000,
  callless_ms: 60_000,
  stop_ms: STOP_MS,
};

export interface ServerOptions {
  address: string;
  /** 1723 unless tests say otherwise; 0 = any. */
  port?: number;
  hostName: string;
  /** What we may be in calls; both, if absent. */
  roles?: readonly Role[];
  limits?: Partial<ServerLimits>;
  timers?: Partial<Timers>;
  collisions?: Collisions;
  onCall(request: IncomingRequest, call: ServerCall): void;
  /** Sources with a control connection that is up have changed (see `peers`). */
  onPeers?(peers: readonly string[]): void;
  log?(message: string, fields: { source: string; [field: string]: unknown }): void;
}

export interface ServerStatus {
  connections: number;
  established: number;
  accepted: number;
  /** Beyond the limit in all or of one source. */
  refusedFull: number;
  refusedSource: number;
  /** Ended because of what they sent, or did not send in time. */
  bad: number;
}

interface Member {
  session: Session;
  source: string;
  isUp: boolean;
}

export class PptpServer {
  readonly #options: ServerOptions;
  readonly #limits: ServerLimits;
  readonly #members = new Set<Member>();
  readonly #calls = new WeakMap<Call, CallHandlers>();
  #logged = { from_ms: 0, lines: 0 };
  readonly #counts = { accepted: 0, refusedFull: 0, refusedSource: 0, bad: 0 };
  #server: Server | undefined;
  #gone: (() => void) | undefined;

  /** @throws PptpError MESHD_PPTP_LISTEN when the address or port cannot be had */
  static async listen(options: ServerOptions): Promise<PptpServer> {
    const server = new PptpServer(options);
    await server.#listen();
    return server;
  }

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#limits = { ...SERVER_LIMITS, ...options.limits };
  }

  /** The port that is listened on. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Addresses that have a control connection that is up, each once. */
  get peers(): string[] {
    const up = [...this.#members].filter(({ isUp }) => isUp);
    return [...new Set(up.map(({ source }) => source))].sort();
  }

  get status(): ServerStatus {
    const established = [...this.#members].filter(({ isUp }) => isUp).length;
    return { connections: this.#members.size, established, ...this.#counts };
  }

  /** Tells each call and connection that it is over; what does not answer is cut after 3 s. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const gone = new Promise<void>((resolve) => {
      this.#gone = resolve;
    });
    for (const { session } of [...this.#members]) {
      session.control.stop(clock_ms());
      session.arm();
    }
    const late = setTimeout(() => this.#cutAll("the server stops"), STOP_MS);
    if (this.#members.size > 0) await gone;
    clearTimeout(late);
    await closed;
  }

  async #listen(): Promise<void> {
    const { address, port = PPTP_PORT } = this.#options;
    const server = createServer((socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        const message = `cannot listen for PPTP on ${address}, TCP port ${port}: ${cause.message}`;
        reject(new PptpError("MESHD_PPTP_LISTEN", message, { cause }));
      });
      server.listen({ host: address, port, exclusive: true }, resolve);
    });
    // Later errors are of accepting, out of descriptors for one: the next may be accepted again.
    server.on("error", (error) => this.#log(error.message, { source: "" }));
    this.#server = server;
  }

  #accept(socket: Socket) {
    const source = socket.remoteAddress;
    const own = socket.localAddress;
    const refuse = () => {
      socket.on("error", () => undefined);
      socket.destroy();
    };
    if (source === undefined || own === undefined || this.#server === undefined) return refuse();
    if (this.#members.size >= this.#limits.connections) {
      this.#counts.refusedFull += 1;
      return refuse();
    }
    const same = [...this.#members].filter((member) => member.source === source).length;
    if (same >= this.#limits.connectionsOfOneSource) {
      this.#counts.refusedSource += 1;
      return refuse();
    }
    this.#counts.accepted += 1;
    this.#cutOldestWaiting();
    const member = this.#member(socket, source, own);
    this.#members.add(member);
    member.session.start();
  }

  #member(socket: Socket, source: string, own: string): Member {
    const { hostName, roles = ["pac", "pns"], timers, collisions } = this.#options;
    const times = { ...SERVER_TIMERS, ...timers };
    const callsMax = this.#limits.callsOfOneConnection;
    const { messages: messagesMax } = this.#limits;
    const control = { opens: false, roles, hostName, callsMax, messagesMax, timers: times };
    const session = new Session(socket, control, {
      admit: () => collisions?.met(own, source) ?? StartResult.OK,
      established: (peer) => {
        member.isUp = true;
        this.#log("control connection up", { source, ...peer });
        this.#options.onPeers?.(this.peers);
      },
      requested: (call) => this.#requested(member, call),
      connected: (call) => {
        const { peerId: peerCallId, window } = call;
        this.#calls.get(call)?.connected?.({ peerCallId, window });
      },
      ended: (call, end) => this.#calls.get(call)?.ended?.(end.reason, end.statistics),
      statistics: (call) => this.#calls.get(call)?.statistics?.() ?? "",
      closed: (reason) => this.#left(member, reason),
    });
    const member: Member = { session, source, isUp: false };
    return member;
  }

  #requested({ session, source }: Member, call: Call): void {
    const handlers: CallHandlers = {};
    this.#calls.set(call, handlers);
    const { control } = session;
    const { hostName = "", vendor = "" } = control.status.peer ?? {};
    const { peerId: peerCallId, window, serial, dialed: phoneNumber, dialing } = call;
    const kind = call.role === "pac" ? "outgoing" : "incoming";
    const words = { hostName, vendor, phoneNumber, dialing };
    const act = (does: (now_ms: number) => void) => {
      does(clock_ms());
      session.arm();
    };
    this.#options.onCall(
      { kind, source, ...words, peerCallId, window, serial },
      {
        accept: (offer) => act((now_ms) => control.accept(call, offer, now_ms)),
        refuse: (why) => act((now_ms) => control.refuse(call, why, now_ms)),
        clear: (why) => act((now_ms) => control.hangUp(call, why, now_ms)),
        onConnected: (handler) => {
          handlers.connected = handler;
        },
        onEnd: (handler) => {
          handlers.ended = handler;
        },
        onStatistics: (handler) => {
          handlers.statistics = handler;
        },
      },
    );
  }

  #left(member: Member, reason: CloseReason): void {
    this.#members.delete(member);
    const { source } = member;
    const isBad = reason.code !== "MESHD_PPTP_STOPPED" && reason.code !== "MESHD_PPTP_TRANSPORT";
    if (isBad) this.#counts.bad += 1;
    this.#log("control connection over", { source, code: reason.code, reason: reason.message });
    if (member.isUp) this.#options.onPeers?.(this.peers);
    if (this.#members.size === 0) this.#gone?.();
  }

  #cutOldestWaiting(): void {
    const waiting = [...this.#members].filter(({ isUp }) => !isUp);
    const [oldest] = waiting;
    if (waiting.length < this.#limits.waiting || oldest === undefined) return;
    oldest.session.control.transportClosed("too many connections that say nothing");
  }

  #cutAll(reason: string): void {
    for (const { session } of [...this.#members]) session.control.transportClosed(reason);
  }

  /** What is too much is left out, and the next minute begins with how much that was. */
  #log(message: string, fields: { source: string; [field: string]: unknown }): void {
    const now_ms = clock_ms();
    const { from_ms, lines } = this.#logged;
    if (from_ms === 0 || now_ms - from_ms >= MINUTE_MS) {
      this.#logged = { from_ms: now_ms, lines: 0 };
      const left = lines - LOG_LINES;
      if (left > 0) this.#options.log?.(`${left} lines left out`, { source: "" });
    }
    this.#logged.lines += 1;
    if (this.#logged.lines <= LOG_LINES) this.#options.log?.(message, fields);
  }
}

interface CallHandlers {
  connected?: (end: { peerCallId: number; window: number }) => void;
  ended?: (reason: string, statistics?: string) => void;
  statistics?: () => string;
}
