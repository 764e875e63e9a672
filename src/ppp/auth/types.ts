// What the link sees of authentication: one machine a link and role, frames in and out, a result.
// Pure: no timer, no socket; the clock comes with each call. All of these methods are insecure.

/** How a side proves itself, in the words of settings. Every one is broken by today's standards. */
export type AuthMethod = "ms-chap-v2" | "ms-chap-v1" | "chap-md5" | "pap";

/** What is known of one user. */
export interface Account {
  /** MD4 of the password in UTF-16LE, 16 bytes. */
  ntHash: Uint8Array;
  /** The password itself: chap-md5, and the 40 and 56 bit keys of MS-CHAPv1, need it. */
  clear?: string;
  /** Why this user is not let in although the password is right. */
  refused?: Refusal;
}

/** Reasons that Failure messages name (RFC 2759 section 6: E=646, 647, 648, 649). */
export type Refusal = "restricted-hours" | "disabled" | "expired" | "no-dial-in";

/** Finds users by name (without `DOMAIN\`); null is answered as a wrong password is. */
export interface Verifier {
  lookup(user: string): Account | null;
}

/** What a dialling side has: the password, or its NT hash alone (MS-CHAP only, no 40/56 bit v1). */
export type PeerSecret = { clear: string } | { ntHash: Uint8Array };

/** RFC 3079 start keys of both directions, 16 bytes each (40 and 56 bit: the first 8, rest 0). */
export interface StartKeys {
  send: Uint8Array;
  receive: Uint8Array;
}

/** Authentication went well. */
export interface AuthSuccess {
  method: AuthMethod;
  /** The user's name without `DOMAIN\`. */
  user: string;
  /** Keys for MPPE; null where this method or account yields none: then MPPE must not open. */
  startKeys(bits: 40 | 56 | 128): StartKeys | null;
}

/** Authentication ended without success: the link is to be closed. */
export interface AuthFailure {
  method: AuthMethod;
  /** The name that was tried, null when nobody ever answered. */
  user: string | null;
  /** One line for a log; names no secret. */
  reason: string;
  /** What failed, for limits and counters; "not-now": the same proof may do at another hour. */
  kind: "denied" | "not-now" | "timeout" | "bad-authenticator";
}

/** What a machine tells its link; also from inside `start`, `receive` and `tick`. */
export interface AuthEvents {
  /** A PPP frame from its 2-byte protocol number on (c223 or c023). */
  send(frame: Uint8Array): void;
  /** Once at most. The machine goes on living: repeats of the peer are answered as before. */
  done(success: AuthSuccess): void;
  /** Once at most, never after `done` on the authenticator's side. */
  failed(failure: AuthFailure): void;
}

/** One side of one method. Frames of another protocol or with bad lengths are ignored. */
export interface AuthMachine {
  start(now_ms: number): void;
  /** A frame from its 2-byte protocol number on, as `AuthEvents.send`. */
  receive(frame: Uint8Array, now_ms: number): void;
  tick(now_ms: number): void;
  nextDeadline(): number | null;
}

/** The side that asks for proof. */
export interface AuthenticatorOptions {
  method: AuthMethod;
  /** The name in Challenges. */
  name: string;
  verifier: Verifier;
  random?: (count: number) => Uint8Array;
}

/** The side that proves itself. */
export interface AuthPeerOptions {
  method: AuthMethod;
  /** May carry `DOMAIN\`, which is sent but never hashed. */
  user: string;
  secret: PeerSecret;
  random?: (count: number) => Uint8Array;
}
