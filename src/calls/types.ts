// What calls are given and what they say: ports to the datapath and to the node, as plain values.
import type { CallSettings } from "../ppp/index.js";

/** Calls in the hot path: places of packets, sequence numbers and keys (ADR 0034). */
export interface CallPort {
  /** A free place, and the call id under which the other end sends to it. */
  reserve(): { slot: number; localId: number };
  /** From now on control frames pass both ways. */
  open(
    slot: number,
    end: { peerId: number; address: string; window: number; windowMode: WindowMode },
  ): void;
  /** A PPP frame from its 2-byte protocol number on; false: no room now. */
  send(slot: number, frame: Uint8Array): boolean;
  /** In order with `send`. */
  set(slot: number, settings: Partial<CallSettings>): void;
  /** The counters stay readable until the place is reserved again. */
  close(slot: number): void;
  statistics(slot: number): CallStatistics;
  onFrame(handler: (slot: number, frame: Uint8Array) => void): void;
  onEvent(handler: (slot: number, event: CallEvent) => void): void;
}

/**
 * needs-reset: stateful MPPE lost its place. lost-keys: nothing that comes can be decrypted any
 * more, though control frames still pass.
 */
export type CallEvent = "needs-reset" | "lost-keys";

/** How many packets may be under way without an acknowledgment (RFC 2637 section 4.4). */
export type WindowMode = "advertised" | "strict" | "off";

export interface CallStatistics {
  sentPackets: number;
  sentBytes: number;
  receivedPackets: number;
  receivedBytes: number;
  lost: number;
  late: number;
  duplicates: number;
  reordered: number;
  windowDrops: number;
  timeouts: number;
  acksSent: number;
  acksReceived: number;
  badFrames: number;
  /** Microseconds to an acknowledgment; null while none was measured. */
  rtt_us: number | null;
}

/** dial-in: a user at our server. dial-out: we at a foreign server. pair: another member. */
export type CallKind = "dial-in" | "dial-out" | "pair";

/** A call that is up, as plan reads it. */
export interface CallFact {
  slot: number;
  kind: CallKind;
  /** The member at the other end of a pair call; else null. */
  nodeId: string | null;
  /** Who is at the other end: a user, a server's name, a nodeId. */
  name: string;
  /** Underlay address of the other end. */
  address: string;
  /** Our address inside the call, and the other end's; null: not agreed on. */
  local: string | null;
  remote: string | null;
  /** dial-out: what is routed to it beside the other end's own address. */
  routes: readonly string[];
  /** Bytes of inner packet that the other end takes. */
  mtu: number;
  encrypted: boolean;
  /** What may be left out of the PPP frames that we send. */
  acfc: boolean;
  pfc: boolean;
}

/** A user who may dial in. */
export interface Account {
  user: string;
  /** MD4 of the password, 16 bytes. */
  ntHash: Uint8Array;
  /** For chap-md5 and pap alone. */
  clear?: string;
  /** Fixed address, or null: one of the node's. */
  address: string | null;
  /** RFC 3339, or null: never. */
  expires: string | null;
  disabled: boolean;
}

/** Addresses of the node for dial-in clients. */
export interface AddressBook {
  /**
   * An address that nobody has, or the fixed one.
   * @throws Error when there is none, or the fixed one cannot be given here.
   */
  take(fixed: string | null): string;
  release(address: string): void;
}

/** Time and timers; tests give their own. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Runs `work` at or after that time; gives what takes it back. */
  at(time_ms: number, work: () => void): () => void;
}

export type CallsLog = (event: string, fields?: Record<string, unknown>) => void;

/** A row of `meshd pptp list`; names are stable. */
export interface SessionView {
  /** Its number for `meshd pptp disconnect`; null: no call now. */
  slot: number | null;
  kind: CallKind;
  name: string;
  nodeId: string | null;
  underlay: string;
  /** waiting: for a connection, or the next try. link: PPP is at work. */
  state: "waiting" | "link" | "up";
  address: string | null;
  encryption: string;
  method: string | null;
  since: string;
  statistics: CallStatistics;
  /** Why it is not up, when it was tried. */
  problem: string | null;
}
