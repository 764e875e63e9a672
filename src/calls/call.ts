// One call: its PPP link, its place in the hot path, and the timer between them.
import {
  type LinkEvents,
  type LinkNet,
  type LinkOptions,
  type LinkStatus,
  PppLink,
} from "../ppp/index.js";
import type { CallPort, Clock } from "./types.js";

export interface CallOptions {
  port: CallPort;
  clock: Clock;
  slot: number;
  link: LinkOptions;
  events: CallEvents;
}

export interface CallEvents extends Pick<LinkEvents, "authenticated" | "authFailed"> {
  /** What passes packets has changed: `net` says it. */
  changed(): void;
  /** Once; the place is free again by then. */
  ended(reason: string): void;
}

export class Call {
  /** What was agreed on, while packets pass. */
  net: LinkNet | null = null;
  private readonly link: PppLink;
  private due_ms: number | null = null;
  private takeBack: () => void = () => undefined;
  private hasBegun = false;
  private isOver = false;

  constructor(private readonly options: CallOptions) {
    const { port, slot, events } = options;
    this.link = new PppLink(options.link, {
      send: (frame) => void port.send(slot, frame),
      settings: (settings) => port.set(slot, settings),
      authenticated: events.authenticated,
      authFailed: events.authFailed,
      up: (net) => this.change(net),
      down: () => this.change(null),
      closed: (reason) => this.end(reason),
    });
  }

  get slot(): number {
    return this.options.slot;
  }

  /**
   * Begins with PPP: at once, or after `wait_ms` if nothing came before. Who is called waits a
   * moment, for its first frame may overtake the reply of the control connection.
   */
  start(wait_ms = 0): void {
    if (wait_ms === 0) {
      this.begin();
      return;
    }
    const { clock } = this.options;
    this.takeBack = clock.at(clock.now() + wait_ms, () => this.begin());
  }

  receive(frame: Uint8Array): void {
    this.begin();
    this.turn((now_ms) => this.link.receive(frame, now_ms));
  }

  /** Stateful MPPE lost its place. */
  needsReset(): void {
    this.turn((now_ms) => this.link.resetRequested(now_ms));
  }

  /** In order: the other end is told by PPP, and `ended` comes when it answered, or soon. */
  close(reason: string): void {
    this.turn((now_ms) => this.link.close(reason, now_ms));
  }

  /** At once, without a frame: the control connection is gone, or nobody waits. */
  abort(reason: string): void {
    this.turn((now_ms) => this.link.abort(reason, now_ms));
  }

  status(): LinkStatus {
    return this.link.status();
  }

  private begin(): void {
    if (this.hasBegun || this.isOver) return;
    this.hasBegun = true;
    this.takeBack();
    this.turn((now_ms) => this.link.start(now_ms));
  }

  private change(net: LinkNet | null): void {
    this.net = net;
    this.options.events.changed();
  }

  private turn(work: (now_ms: number) => void): void {
    if (this.isOver) return;
    work(this.options.clock.now());
    this.arm();
  }

  private arm(): void {
    const next_ms = this.isOver ? null : this.link.nextDeadline();
    if (next_ms === this.due_ms) return;
    this.takeBack();
    this.takeBack = () => undefined;
    this.due_ms = next_ms;
    if (next_ms === null) return;
    this.takeBack = this.options.clock.at(next_ms, () => {
      this.due_ms = null;
      this.turn((now_ms) => this.link.tick(now_ms));
    });
  }

  private end(reason: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.net = null;
    this.arm();
    this.options.port.close(this.options.slot);
    this.options.events.ended(reason);
  }
}
