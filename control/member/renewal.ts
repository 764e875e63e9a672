// When a member's credentials are renewed, and which it takes. What time it is controllers say (by
// the heartbeat key): the clock of this host may be days wrong, or jump.
import { ControlError, type ControlLog } from "../errors.js";
import type { Identity } from "../identity.js";
import { renewMembership, renewOver } from "../join.js";
import type { Membership } from "../membership.js";
import { type Link, readUserJwt } from "../nats/index.js";
import type { TrustedAuthorities } from "../tls/index.js";

export interface RenewalOptions {
  identity: Identity;
  /** Instead of the membership's. */
  servers: string[] | undefined;
  /** Instead of the membership's CA. */
  ca: TrustedAuthorities | undefined;
  membership: () => Membership;
  link: () => Link | null;
  /** New credentials, to be used and kept from now on. */
  take: (renewed: Membership) => void;
  log: ControlLog;
}

const timeout_ms = 10_000;
/** Between two tries, also where the clocks say that every one is due: part of what they last. */
const pause_max_ms = 60_000;
const pause_share = 10;

export class Renewal {
  readonly #options: RenewalOptions;
  #renewing: Promise<Membership> | null = null;
  #triedAt = Number.NEGATIVE_INFINITY;
  /** Key that is to sign the credentials, and from when on that is asked for. */
  #signer: { key: string; from: number } | null = null;
  /** Controllers' clock against this host's. */
  #ahead_ms = 0;

  constructor(options: RenewalOptions) {
    this.#options = options;
  }

  /** A controller wrote this time a moment ago (RFC 3339). */
  hear(time: string): void {
    const heard_ms = Date.parse(time);
    if (!Number.isNaN(heard_ms)) this.#ahead_ms = heard_ms - Date.now();
  }

  /**
   * The mesh's credentials are signed by this key from now on: others are renewed soon, not those
   * of all members at once.
   */
  follow(key: string, spread_ms: number): void {
    if (this.#signer?.key === key) return;
    this.#signer = { key, from: performance.now() + Math.random() * spread_ms };
  }

  #isSuperseded(issuer: string): boolean {
    if (this.#signer === null || this.#signer.key === issuer) return false;
    return performance.now() >= this.#signer.from;
  }

  /**
   * Renews at half-life, or when another key signs; the connection takes the new credentials when
   * it is made anew.
   */
  check(): void {
    const jwt = readUserJwt(this.#options.membership().jwt);
    if (!jwt || jwt.expires === null) return;
    const half_ms = ((jwt.expires + jwt.issued) / 2) * 1000;
    if (this.#now() < half_ms && !this.#isSuperseded(jwt.issuer)) return;
    const pause_ms = ((jwt.expires - jwt.issued) * 1000) / pause_share;
    if (performance.now() - this.#triedAt < Math.min(pause_ms, pause_max_ms)) return;
    this.#triedAt = performance.now();
    this.renew().catch((error) => this.#options.log("renewal-failed", { reason: String(error) }));
  }

  /** New credentials with the key alone. */
  renew(): Promise<Membership> {
    this.#renewing ??= this.#renewNow().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #renewNow(): Promise<Membership> {
    const { identity, servers, ca, take } = this.#options;
    const [link, now] = [this.#options.link(), this.#options.membership()];
    const renewed = link?.connected
      ? await renewOver(link, now, timeout_ms)
      : await renewMembership(now, identity, {
          ...(servers ? { servers } : {}),
          ...(ca ? { ca } : {}),
        });
    if (link?.connected) this.#refuseEnded(now, renewed);
    take(renewed);
    return renewed;
  }

  /** A controller whose clock is behind gives what has ended already: worse than what works. */
  #refuseEnded(now: Membership, renewed: Membership): void {
    const [old_s, new_s] = [now, renewed].map(({ jwt }) => readUserJwt(jwt)?.expires ?? Infinity);
    if (old_s === undefined || new_s === undefined || new_s >= old_s) return;
    if (new_s * 1000 > Date.now()) return;
    const what =
      `the new credentials ended at ${new Date(new_s * 1000).toISOString()} already: set the ` +
      "clock of the controllers' hosts right; those in use are kept";
    throw new ControlError("MESHD_BAD_RECORD", what);
  }

  #now(): number {
    return Date.now() + this.#ahead_ms;
  }
}
