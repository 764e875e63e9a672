// One control connection on its TCP socket: bytes, clock and back pressure, no protocol.
import type { Socket } from "node:net";
import { ControlConnection } from "./control-connection.js";
import {
  type CloseReason,
  type ControlEvents,
  type ControlOptions,
  DEFAULT_TIMERS,
} from "./types.js";

/** What stays unsent when a connection ends may leave for so long. */
const LINGER_MS = 2_000;
/** More than this unsent is no control connection: answers are small. */
const UNSENT_MAX = 65_536;
const TIMER_MAX_MS = 600_000;

export const clock_ms = (): number => performance.now();

export class Session {
  readonly control: ControlConnection;
  readonly #socket: Socket;
  readonly #drain_ms: number;
  readonly #closed: (reason: CloseReason) => void;
  #timer: NodeJS.Timeout | undefined;
  #drainUntil: number | null = null;
  #isOver = false;

  /** The socket is connected. Nothing is sent before `start`. */
  constructor(socket: Socket, options: ControlOptions, events: Omit<ControlEvents, "send">) {
    this.#socket = socket;
    this.#drain_ms = options.timers?.drain_ms ?? DEFAULT_TIMERS.drain_ms;
    this.#closed = (reason) => events.closed(reason);
    this.control = new ControlConnection(options, {
      ...events,
      send: (bytes) => this.#send(bytes),
      closed: (reason) => this.#end(reason),
    });
    socket.setNoDelay(true);
    socket.on("data", (bytes) => this.#data(bytes));
    socket.on("drain", () => this.#drained());
    socket.on("error", (error) => this.control.transportClosed(`TCP: ${error.message}`));
    socket.on("end", () => this.control.transportClosed("the other end closed TCP"));
    socket.on("close", () => this.control.transportClosed("TCP closed"));
  }

  /** The first message, if it is ours, goes out; from here on deadlines are kept. */
  start(): void {
    this.control.start(clock_ms());
    this.arm();
  }

  /** To be called after each call into `control` from outside. */
  arm(): void {
    clearTimeout(this.#timer);
    if (this.#isOver) return;
    const deadlines = [this.control.nextDeadline(), this.#drainUntil].filter((at) => at !== null);
    if (deadlines.length === 0) return;
    const wait_ms = Math.min(Math.max(Math.min(...deadlines) - clock_ms(), 1), TIMER_MAX_MS);
    this.#timer = setTimeout(() => this.#tick(), wait_ms);
  }

  #tick(): void {
    const now_ms = clock_ms();
    if (this.#drainUntil !== null && this.#drainUntil <= now_ms) {
      this.control.transportClosed("the other end does not read");
    }
    this.control.tick(now_ms);
    this.arm();
  }

  #data(bytes: Uint8Array): void {
    // All answers to what came in one piece leave in one piece.
    this.#socket.cork();
    this.control.receive(bytes, clock_ms());
    this.#socket.uncork();
    this.arm();
  }

  #send(bytes: Uint8Array): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (this.#socket.write(bytes)) return;
    // An end that reads no answers is read no more; if that lasts, it is cut.
    this.#socket.pause();
    this.#drainUntil ??= clock_ms() + this.#drain_ms;
    if (this.#socket.writableLength > UNSENT_MAX) this.#socket.destroy();
  }

  #drained(): void {
    if (this.#isOver) return;
    this.#drainUntil = null;
    this.#socket.resume();
    this.arm();
  }

  #end(reason: CloseReason): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    // What was sent leaves first, if it leaves soon. Nothing more is read.
    this.#socket.destroySoon();
    const linger = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.#socket.once("close", () => clearTimeout(linger));
    if (this.#socket.destroyed) clearTimeout(linger);
    this.#closed(reason);
  }
}
