// What a link is given and what it tells: plain values that a composition hands on to the hot path.
// Pure: time comes with each call, frames and settings go out by events, in order.
import type { AuthFailure, AuthMethod, PeerSecret, Verifier } from "./auth/index.js";

/** Keys of one direction of MPPE, as the hot path takes them. */
export interface MppeKeys {
  /** 16 bytes; 40 and 56 bit use the first 8 (RFC 3079). */
  startKey: Uint8Array;
  bits: MppeBits;
  stateful: boolean;
}

export type MppeBits = 40 | 56 | 128;

/** What the hot path does with a call's frames. A part that is absent stays as it is. */
export interface CallSettings {
  /** "link": LCP and authentication alone pass; "network": every protocol does. */
  phase: "link" | "network";
  /** We may leave out FF 03 when sending (never for LCP). */
  acfc: boolean;
  /** We may send the protocol in one byte. */
  pfc: boolean;
  /** IP in clear is refused both ways. */
  requireMppe: boolean;
  /** Null: nothing is decrypted. */
  receive: MppeKeys | null;
  /** Null: nothing is encrypted. */
  send: MppeKeys | null;
  /** Stateful MPPE: the next packet has FLUSHED (a Reset-Request came in). */
  resetSend: true;
}

export type LinkAuth =
  | { role: "authenticator"; methods: readonly AuthMethod[]; name: string; verifier: Verifier }
  | { role: "peer"; methods: readonly AuthMethod[]; user: string; secret: PeerSecret };

export interface MppeOptions {
  /** The link ends where encryption does not open, or closes. */
  required: boolean;
  /** What is allowed; the strongest common one is taken. */
  bits: readonly MppeBits[];
  /** Stateful is asked for; a peer that wants stateless gets it. Without: stateless alone. */
  stateful: boolean;
}

export interface IpcpOptions {
  /** Our address; "0.0.0.0" with `askAddress`. */
  local: string;
  /** The peer's address; null: `addressFor`, and without it whatever the peer says. */
  remote: string | null;
  /** Asked once a link, when the user is known (authenticator); null: no address, the link ends. */
  addressFor?: (user: string) => string | null;
  /** Given to a peer that asks; the first two count. */
  dns: readonly string[];
  nbns: readonly string[];
  /** We take the address that the peer gives us. */
  askAddress?: boolean;
  /** We ask the peer for its DNS servers. */
  askDns?: boolean;
}

export interface LinkOptions {
  /** What we can take, asked for in LCP; 128 to 65535. */
  mru: number;
  auth: LinkAuth;
  /** Null: no encryption; a peer's CCP is answered by Protocol-Reject. */
  mppe: MppeOptions | null;
  ipcp: IpcpOptions | null;
  ipv6cp: { interfaceId: bigint } | null;
  /** Echo-Requests and how many in a row may stay unanswered; absent: 20 s and 3; null: none. */
  echo?: { interval_ms: number; failures: number } | null;
  /** Whether the peer may leave out FF 03 / a protocol's upper byte; both true when absent. */
  acfc?: boolean;
  pfc?: boolean;
  /** For tests; node:crypto's when absent. */
  random?: (count: number) => Uint8Array;
}

/** The network as it came up. */
export interface LinkNet {
  /** Who the peer proved to be, or our own user name on the dialling side; null: no proof asked. */
  user: string | null;
  method: AuthMethod | null;
  /** Null: IPCP is not open (IPv6 alone). */
  local: string | null;
  remote: string | null;
  /** What the peer gave us (`askDns`). */
  dns: readonly string[];
  /** The most that the peer takes in one frame, from its 2-byte protocol number's end on. */
  mru: number;
  acfc: boolean;
  pfc: boolean;
  mppe: { bits: MppeBits; stateful: boolean } | null;
  ipv6: boolean;
  /** The peer's interface identifier, null without IPv6CP. */
  remoteInterfaceId: bigint | null;
}

/** Everything that leaves a link, in order. No event may throw; each may call the link again. */
export interface LinkEvents {
  /** A PPP frame from its 2-byte protocol number on (no FF 03). */
  send(frame: Uint8Array): void;
  /** To be applied in order with `send`. */
  settings(settings: Partial<CallSettings>): void;
  /** The peer proved who it is (or we did); before any network protocol. */
  authenticated(user: string, method: AuthMethod): void;
  /** Somebody was not let in; `closed` follows. For counters and limits. */
  authFailed(failure: AuthFailure): void;
  /** Packets may pass. Again without `down` between when a fact changed (IPv6 came later). */
  up(net: LinkNet): void;
  /** Packets may not pass any more, after an `up`; another `up` may come (renegotiation). */
  down(reason: string): void;
  /** The link ended: the last event, exactly once. The call is to be cleared. */
  closed(reason: string): void;
}

export type LinkPhase =
  | "dead"
  | "establish"
  | "authenticate"
  | "encrypt"
  | "network"
  | "terminate"
  | "closed";

/** For listings; no secret in it. */
export interface LinkStatus {
  phase: LinkPhase;
  /** The network's facts while it is up. */
  net: LinkNet | null;
  user: string | null;
  method: AuthMethod | null;
  /** The peer's async control character map, for Set-Link-Info of a control connection. */
  peerAccm: number;
  /** What the peer said in LCP's Identification, printable ASCII; null: nothing. */
  peerIdentification: string | null;
  /** Control frames; `ignored`: malformed, of an older exchange, out of phase. */
  counters: LinkCounters;
  /** Why the link ended, null while it lives. */
  reason: string | null;
}

export interface LinkCounters {
  received: number;
  sent: number;
  ignored: number;
  protocolRejects: number;
  codeRejects: number;
  echoesLost: number;
  renegotiations: number;
  resets: number;
}
