// Users who dial in: whether an account lets one in and is still good, which address one has, and
// how often a password may be tried.
import type { Verifier } from "../ppp/index.js";
import type { Desk } from "./desk.js";
import type { Session } from "./session.js";
import { FailedTries } from "./tries.js";
import type { Account, AddressBook } from "./types.js";

export interface UsersParts {
  desk: Desk;
  account: (user: string) => Account | null;
  addresses: AddressBook;
  tries?: FailedTries;
  /** Wall clock, for accounts that expire. */
  today?: () => Date;
}

/** What is kept of the user of a session. */
export interface UserFacts {
  /** Proven: a user's name. */
  user: string | null;
  /** As the account had it when the user came: a new password ends the session. */
  ntHash: Uint8Array | null;
  /** Out of the address book, to be given back. */
  taken: string | null;
}

export class Users {
  private readonly tries: FailedTries;

  constructor(private readonly parts: UsersParts) {
    this.tries = parts.tries ?? new FailedTries();
  }

  /** Whether a source is heard now, that may have failed too often. */
  admits(source: string): boolean {
    if (!this.tries.refusesSource(source, this.now())) return true;
    this.parts.desk.options.log("pptp.source.refused", { source, why: "too many failed tries" });
    return false;
  }

  /** What a proof is checked with; null: as if there were no such user. */
  lookUp(source: string, user: string): ReturnType<Verifier["lookup"]> {
    const now_ms = this.now();
    // Calls that were let in before the first try failed are no more tries.
    const isOver = this.tries.refusesSource(source, now_ms);
    if (isOver || this.tries.refusesUser(user, source, now_ms)) {
      const why = "too many failed tries";
      this.parts.desk.options.log("pptp.user.refused", { user, source, why });
      return null;
    }
    const account = this.parts.account(user);
    if (account === null) return null;
    const { ntHash, clear } = account;
    const refused = this.standing(account);
    return {
      ntHash,
      ...(clear === undefined ? {} : { clear }),
      ...(refused === null ? {} : { refused }),
    };
  }

  failed(user: string | null, source: string): void {
    this.tries.failed(user, source, this.now());
  }

  proven(session: Session & UserFacts, user: string): void {
    this.tries.succeeded(user, session.underlay);
    session.user = user;
    session.ntHash = this.parts.account(user)?.ntHash ?? null;
  }

  /**
   * A fixed address goes to the newest of `all` sessions: the one before is dead as a rule. null:
   * there is none for this user.
   */
  addressFor(
    session: Session & UserFacts,
    user: string,
    all: Iterable<Session & UserFacts>,
  ): string | null {
    const { account, addresses, desk } = this.parts;
    const fixed = account(user)?.address ?? null;
    const older = [...all].find((one) => one !== session && fixed !== null && one.taken === fixed);
    older?.call?.abort(`${user} dialled in again`);
    try {
      session.taken ??= addresses.take(fixed);
      return session.taken;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      desk.options.log("pptp.no-address", { user, source: session.underlay, why });
      return null;
    }
  }

  /** Why a session may not go on; null: it may. */
  whyNot({ user, ntHash, taken }: UserFacts): string | null {
    if (user === null) return null;
    const account = this.parts.account(user);
    if (account === null) return "the account was removed";
    const standing = this.standing(account);
    if (standing !== null) return `the account is ${standing}`;
    const isSame = ntHash !== null && Buffer.compare(ntHash, account.ntHash) === 0;
    if (!isSame) return "the password was changed";
    const isMoved = account.address !== null && taken !== null && taken !== account.address;
    return isMoved ? "the account's address was changed" : null;
  }

  /** The session is over. */
  left({ taken }: UserFacts): void {
    if (taken !== null) this.parts.addresses.release(taken);
  }

  private now(): number {
    return this.parts.desk.options.clock.now();
  }

  private standing({ disabled, expires }: Account): "disabled" | "expired" | null {
    const today = (this.parts.today ?? (() => new Date()))();
    if (disabled) return "disabled";
    return expires !== null && new Date(expires) <= today ? "expired" : null;
  }
}
