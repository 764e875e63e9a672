// One call that we make, for as long as it is wanted: dialled, redialled with growing pauses, and
// hung up in order.
import type { LinkOptions } from "../ppp/index.js";
import type { CallEvents } from "./call.js";
import type { ClearReason } from "./control-port.js";
import { type Desk, OWN_WINDOW, type Place } from "./desk.js";
import type { Session } from "./session.js";
import { mtuOver } from "./settings.js";
import type { WindowMode } from "./types.js";

export interface DialTarget {
  kind: "dial-out" | "pair";
  name: string;
  nodeId: string | null;
  /** Underlay addresses: ours and theirs. */
  localAddress: string;
  address: string;
  port: number;
  /** Our nodeId in pair calls. */
  phoneNumber: string;
  underlayMtu: number;
  routes: readonly string[];
  windowMode: WindowMode;
  link: LinkOptions;
}

export interface Pauses {
  first_ms: number;
  longest_ms: number;
  /** A call that stood so long was good: the next pause is the first one again. */
  good_ms: number;
}

export const PAUSES: Record<DialTarget["kind"], Pauses> = {
  // A member that starts, or whose records travel, is there in a moment.
  pair: { first_ms: 500, longest_ms: 10_000, good_ms: 10_000 },
  "dial-out": { first_ms: 1000, longest_ms: 60_000, good_ms: 10_000 },
};

/** A foreign server locks an account, sooner or later, whose password is wrong time after time. */
const REFUSALS_MAX = 3;

interface Attempt {
  place: Place;
  began_ms: number;
  control: { clear(reason: ClearReason): void } | null;
}

export class Dialer {
  readonly session: Session;
  private attempt: Attempt | null = null;
  private pause_ms: number;
  private takeBack: () => void = () => undefined;
  private isWanted = true;
  /**
   * Proofs that a foreign server refused, since the last call that came up. Members are not
   * counted: a record may still be on its way.
   */
  private refusals = 0;
  private windowMode: WindowMode;
  private settle: () => void = () => undefined;
  private readonly over: Promise<void>;

  constructor(
    private readonly desk: Desk,
    private readonly target: DialTarget,
    private readonly pauses: Pauses = PAUSES[target.kind],
    /** 0 to 1: how much of a pause is left to chance, so that nodes do not dial in step. */
    private readonly random: () => number = Math.random,
  ) {
    this.pause_ms = pauses.first_ms;
    this.windowMode = target.windowMode;
    const { kind, name, nodeId, address: underlay, routes, underlayMtu } = target;
    const since = new Date();
    this.session = {
      ...{ kind, name, nodeId, underlay, since, call: null, routes },
      ...{ mtuMax: mtuOver(underlayMtu), problem: null },
    };
    this.over = new Promise((resolve) => {
      this.settle = resolve;
    });
  }

  start(): void {
    this.dial();
  }

  /** Holds for calls that begin from now on. */
  setWindowMode(mode: WindowMode): void {
    this.windowMode = mode;
  }

  /** Why it is dialled no more although it is wanted; null: it is. */
  get gaveUp(): string | null {
    return this.isRefused ? this.session.problem : null;
  }

  private get isRefused(): boolean {
    return this.refusals >= REFUSALS_MAX;
  }

  /** Dials no more; resolves when the other end was told, or did not answer for seconds. */
  hangUp(reason: string): Promise<void> {
    this.isWanted = false;
    this.takeBack();
    if (this.attempt === null) this.settle();
    else if (this.session.call !== null) this.session.call.close(reason);
    else this.giveUp(reason);
    return this.over;
  }

  /** Nobody waits for an answer. */
  abort(reason: string): void {
    void this.hangUp(reason);
    this.session.call?.abort(reason);
  }

  private dial(): void {
    const { control, clock } = this.desk.options;
    const { localAddress, address, port, phoneNumber } = this.target;
    const place = this.desk.reserve();
    if (place === null) {
      this.session.problem = "all places for calls are taken";
      this.later();
      return;
    }
    const attempt: Attempt = { place, began_ms: clock.now(), control: null };
    this.attempt = attempt;
    this.session.since = new Date();
    const own = { callId: place.localId, window: OWN_WINDOW[this.target.kind] };
    attempt.control = control.dial(
      { localAddress, address, port, phoneNumber, ...own },
      {
        connected: (end) => this.connected(attempt, end),
        ended: (reason) => {
          if (this.attempt !== attempt) return;
          if (this.session.call === null) this.giveUp(reason);
          else this.session.call.abort(reason);
        },
      },
    );
  }

  private connected(
    attempt: Attempt,
    { peerCallId: peerId, window }: { peerCallId: number; window: number },
  ): void {
    if (this.attempt !== attempt || this.session.call !== null) return;
    const { windowMode } = this;
    const { address, link } = this.target;
    const end = { peerId, address, window, windowMode };
    this.session.call = this.desk.open(attempt.place, end, link, this.events());
  }

  private events(): CallEvents {
    const { log, onChange } = this.desk.options;
    const { kind, name, address } = this.target;
    return {
      authenticated: () => undefined,
      authFailed: ({ reason, kind: why }) => {
        if (why === "denied" && kind === "dial-out") this.refusals++;
        this.session.problem = this.isRefused ? refusedText(reason, name) : reason;
        log("pptp.dial.refused", { kind, name, address, reason });
      },
      changed: () => {
        const net = this.session.call?.net ?? null;
        if (net !== null) {
          this.session.problem = null;
          this.refusals = 0;
          log("pptp.up", { kind, name, address: net.local, source: address, bits: net.mppe?.bits });
        }
        onChange();
      },
      ended: (reason) => {
        // PPP's own reason, such as a wrong password, says more than what followed from it.
        this.session.problem ??= reason;
        this.session.call = null;
        log("pptp.ended", { kind, name, source: address, reason });
        this.finish();
        onChange();
      },
    };
  }

  /** No link came of it. */
  private giveUp(reason: string): void {
    const { attempt } = this;
    if (attempt === null) return;
    this.session.problem = reason;
    this.desk.options.port.close(attempt.place.slot);
    const { name, address } = this.target;
    this.desk.options.log("pptp.dial.failed", { name, address, reason });
    this.finish();
  }

  private finish(): void {
    const { attempt } = this;
    this.attempt = null;
    attempt?.control?.clear("request");
    const { clock } = this.desk.options;
    const stood_ms = clock.now() - (attempt?.began_ms ?? 0);
    if (stood_ms >= this.pauses.good_ms) this.pause_ms = this.pauses.first_ms;
    if (!this.isWanted) this.settle();
    else if (!this.isRefused) this.later();
  }

  private later(): void {
    const { clock } = this.desk.options;
    const wait_ms = this.pause_ms * (0.75 + this.random() / 2);
    this.pause_ms = Math.min(2 * this.pause_ms, this.pauses.longest_ms);
    this.takeBack = clock.at(clock.now() + wait_ms, () => this.dial());
  }
}

function refusedText(reason: string, host: string): string {
  const what = `refused ${REFUSALS_MAX} times, so it is dialled no more`;
  return `${reason}: ${what}; with the right password: meshd pptp dial ${host}`;
}
