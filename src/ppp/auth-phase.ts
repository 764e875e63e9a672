// A link's authentication: the machine of the agreed method, and the repeated Success.

import type {
  AuthEvents,
  AuthFailure,
  AuthMachine,
  AuthMethod,
  AuthSuccess,
} from "./auth/index.js";
import { createAuthenticator, createAuthPeer } from "./auth/index.js";
import { Repeater } from "./repeater.js";
import type { LinkOptions } from "./types.js";
import { Protocol } from "./wire.js";

/** A peer that is silent after its Success may not have it; most do not ask again. */
const SUCCESS_REPEAT_MS = 3_000;
const SUCCESSES_MAX = 8;

export interface AuthPhaseEvents {
  send(frame: Uint8Array): void;
  /** The next frame lets the peer in: its answer may be more than authentication. */
  letsIn(): void;
  done(success: AuthSuccess): void;
  failed(failure: AuthFailure): void;
}

export class AuthPhase {
  #machine: AuthMachine | null = null;
  #last: Uint8Array | null = null;
  #now = 0;
  readonly #successes = new Repeater(SUCCESS_REPEAT_MS, SUCCESSES_MAX, () => {
    if (this.#last !== null) this.events.send(this.#last);
  });

  constructor(
    private readonly auth: LinkOptions["auth"],
    private readonly random: (count: number) => Uint8Array,
    private readonly events: AuthPhaseEvents,
  ) {}

  start(method: AuthMethod, now_ms: number): void {
    this.#now = now_ms;
    this.#machine = this.#make(method);
    this.#machine.start(now_ms);
  }

  /** @returns whether the frame was one of authentication, while there is one */
  receive(protocol: number, frame: Uint8Array, now_ms: number): boolean {
    if (this.#machine === null) return false;
    if (protocol !== Protocol.CHAP && protocol !== Protocol.PAP) return false;
    this.#now = now_ms;
    this.#machine.receive(frame, now_ms);
    return true;
  }

  /** The peer sends what comes after its proof: it knows. */
  networkBegan(): void {
    this.#successes.stop();
  }

  /** The link below went down. */
  stop(): void {
    this.#machine = null;
    this.#successes.stop();
  }

  tick(now_ms: number): void {
    this.#now = now_ms;
    this.#machine?.tick(now_ms);
    this.#successes.tick(now_ms);
  }

  deadlines(): (number | null)[] {
    return [this.#machine?.nextDeadline() ?? null, this.#successes.nextDeadline()];
  }

  #make(method: AuthMethod): AuthMachine {
    const { auth, random } = this;
    const events: AuthEvents = {
      send: (frame) => {
        this.#last = frame;
        if (auth.role === "authenticator" && isWelcome(frame)) this.events.letsIn();
        this.events.send(frame);
      },
      done: (success) => {
        if (auth.role === "authenticator") this.#successes.sent(this.#now);
        this.events.done(success);
      },
      failed: (failure) => this.events.failed(failure),
    };
    if (auth.role === "peer") {
      return createAuthPeer({ method, user: auth.user, secret: auth.secret, random }, events);
    }
    return createAuthenticator(
      { method, name: auth.name, verifier: auth.verifier, random },
      events,
    );
  }
}

/** CHAP's Success (RFC 1994 section 4.2) and PAP's Authenticate-Ack (RFC 1334 section 2.2.2). */
function isWelcome([high = 0, low = 0, code]: Uint8Array): boolean {
  const protocol = high * 256 + low;
  return (protocol === Protocol.CHAP && code === 3) || (protocol === Protocol.PAP && code === 2);
}
