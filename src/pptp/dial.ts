// Opens a control connection and has one call in it: as a client (PNS, outgoing call) or as an
// access server (PAC, incoming call).
import { connect, type Socket } from "node:net";
import { PPTP_PORT } from "./codes.js";
import { type Collisions, outranks } from "./collisions.js";
import { clock_ms, Session } from "./session.js";
import type { Call, CloseReason, HangUp, Timers, WanErrors } from "./types.js";

export interface DialOptions {
  /** "outgoing" (default): we are the client. "incoming": we offer a call from a line of ours. */
  kind?: "outgoing" | "incoming";
  localAddress?: string;
  /** Address or name of the other end. */
  address: string;
  port?: number;
  hostName: string;
  phoneNumber?: string;
  /** Who dialled us; of incoming calls. */
  dialing?: string;
  /** Our call id, and the data packets that we buffer. */
  callId: number;
  window: number;
  /** Until the call is up. */
  timeout_ms: number;
  timers?: Partial<Timers>;
  collisions?: Collisions;
}

/** The other end of a call that is up. */
export interface DialedEnd {
  /** As a number: GRE packets go there. */
  address: string;
  peerCallId: number;
  window: number;
  hostName: string;
  vendor: string;
}

export interface DialEvents {
  /** The control connection is up: GRE packets of `address` are to be let in. */
  established?(address: string): void;
  connected(end: DialedEnd): void;
  /** Told once, whatever happened: refused, unreachable, hung up by either end. */
  ended(reason: DialEnd): void;
  linkInfo?(accm: { send: number; receive: number }): void;
  statistics?(): string;
}

export interface DialEnd {
  /** MESHD_PPTP_CONNECT: no TCP. MESHD_PPTP_CALL: the call alone ended or was refused. */
  code: CloseReason["code"] | "MESHD_PPTP_CONNECT" | "MESHD_PPTP_CALL";
  message: string;
}

export interface Dialed {
  /** Hangs up and stops the control connection; resolves when it is gone, within 3 s. */
  clear(why?: HangUp): Promise<void>;
  /** Of an incoming call that we offered: errors of its line, as sums. Not up: nothing happens. */
  tellErrors(errors: WanErrors): void;
}

const CLEAR_MS = 3_000;

/** Dials. Never throws: what goes wrong is told to `ended`. */
export function dialPptp(options: DialOptions, events: DialEvents): Dialed {
  return new Dialing(options, events);
}

class Dialing implements Dialed {
  readonly #options: DialOptions;
  readonly #events: DialEvents;
  readonly #socket: Socket;
  readonly #gone: Promise<void>;
  readonly #timeout: NodeJS.Timeout;
  #resolveGone: () => void = () => undefined;
  #session: Session | undefined;
  #call: Call | undefined;
  #hasEnded = false;
  #leaveBook: () => void = () => undefined;

  constructor(options: DialOptions, events: DialEvents) {
    this.#options = options;
    this.#events = events;
    this.#gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    const { address: host, port = PPTP_PORT, localAddress } = options;
    this.#socket = connect({ host, port, ...(localAddress === undefined ? {} : { localAddress }) });
    this.#socket.once("error", (error) => this.#failed(error.message));
    this.#socket.once("connect", () => this.#connected());
    this.#timeout = setTimeout(() => {
      this.#end({ code: "MESHD_PPTP_TIMEOUT", message: this.#whyLate() });
      void this.clear();
    }, options.timeout_ms);
  }

  async clear(why: HangUp = "request"): Promise<void> {
    const session = this.#session;
    if (session === undefined) {
      this.#socket.destroy();
      this.#over({ code: "MESHD_PPTP_STOPPED", message: "we stopped it" });
      return this.#gone;
    }
    if (this.#call !== undefined) session.control.hangUp(this.#call, why, clock_ms());
    session.control.stop(clock_ms());
    session.arm();
    const late = setTimeout(() => session.control.transportClosed("no answer"), CLEAR_MS);
    await this.#gone;
    clearTimeout(late);
  }

  #whyLate(): string {
    if (this.#session !== undefined) return "the server answers, but takes no call in time";
    const { address, port = PPTP_PORT, localAddress } = this.#options;
    const from = localAddress === undefined ? "" : ` (asked from ${localAddress})`;
    return `no answer from ${address}, port ${port}${from}`;
  }

  tellErrors(errors: WanErrors): void {
    if (this.#call?.state !== "up") return;
    this.#session?.control.tellErrors(this.#call, errors);
    this.#session?.arm();
  }

  #connected() {
    const { localAddress: own = "", remoteAddress: theirs } = this.#socket;
    if (theirs === undefined) return this.#failed("the other end closed at once");
    const { hostName, timers, collisions, kind } = this.#options;
    const roles = [kind === "incoming" ? "pac" : "pns"] as const;
    const order = { opens: true, outranks: outranks(own, theirs), callsMax: 1 };
    const session = new Session(
      this.#socket,
      { ...order, roles, hostName, ...(timers === undefined ? {} : { timers }) },
      {
        established: () => this.#established(theirs),
        connected: (call) => this.#up(call, theirs),
        ended: (_, { reason: message }) => {
          this.#end({ code: "MESHD_PPTP_CALL", message });
          // There is no second call on this connection.
          void this.clear();
        },
        linkInfo: (_, accm) => this.#events.linkInfo?.(accm),
        statistics: () => this.#events.statistics?.() ?? "",
        closed: (reason) => this.#over(reason),
      },
    );
    this.#session = session;
    const book = collisions?.add(theirs, { collided: () => session.control.collided() });
    this.#leaveBook = book ?? this.#leaveBook;
    session.start();
  }

  #established(address: string): void {
    this.#leaveBook();
    this.#events.established?.(address);
    const { kind, callId: id, window, phoneNumber = "", dialing = "" } = this.#options;
    const control = this.#session?.control;
    const request = { id, window, dialed: phoneNumber, dialing };
    this.#call =
      kind === "incoming"
        ? control?.offer(request, clock_ms())
        : control?.dial(request, clock_ms());
  }

  #up({ peerId: peerCallId, window }: Call, address: string): void {
    clearTimeout(this.#timeout);
    const { hostName = "", vendor = "" } = this.#session?.control.status.peer ?? {};
    this.#events.connected({ address, peerCallId, window, hostName, vendor });
  }

  #failed(message: string): void {
    if (this.#session !== undefined) return;
    const { address, port = PPTP_PORT } = this.#options;
    this.#socket.destroy();
    this.#over({
      code: "MESHD_PPTP_CONNECT",
      message: `no TCP connection to ${address}, port ${port}: ${message}`,
    });
  }

  #over(reason: DialEnd): void {
    this.#leaveBook();
    this.#end(reason);
    this.#resolveGone();
  }

  #end(reason: DialEnd): void {
    clearTimeout(this.#timeout);
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#events.ended(reason);
  }
}
