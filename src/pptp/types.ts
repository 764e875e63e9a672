// What a control connection and its user say to each other. Plain values; the clock is the
// caller's, in milliseconds of any origin that does not go backwards.
import type { StartResult } from "./codes.js";

/** PAC: takes calls for others, a server in practice. PNS: places calls, a client in practice. */
export type Role = "pac" | "pns";

export type CallState =
  /** They asked; `accept` or `refuse` answers. */
  | "requested"
  /** We asked and wait for their reply. */
  | "offered"
  /** We said yes to an incoming call and wait until its PAC says that it is connected. */
  | "connecting"
  | "up"
  /** A PNS's call that we hung up; their notify is still to come. */
  | "clearing"
  | "ended";

/** One call as its user sees it. */
export interface Call {
  /** Our id: in the GRE packets that we receive. 0 until the call is accepted. */
  readonly id: number;
  /** Theirs, as received: in the GRE packets that we send. 0 until it is known. */
  readonly peerId: number;
  /** What we are in this call. */
  readonly role: Role;
  readonly state: CallState;
  /** Data packets that they buffer: our send window, 1 at least. */
  readonly window: number;
  /** How long they hold a packet before they work on it. */
  readonly delay_ms: number;
  readonly serial: number;
  /** The number that was dialled, as text of the one who asked; mostly empty. */
  readonly dialed: string;
  /** Who dialled, where an incoming call says so. */
  readonly dialing: string;
}

/** Our half of a call. */
export interface CallOffer {
  /** Not 0, and no other call of this connection has it. */
  id: number;
  /** Data packets that we buffer. */
  window: number;
  /** Bits per second on the line; nothing of ours depends on it. */
  speed_bps?: number;
}

export interface CallRequest extends CallOffer {
  dialed?: string;
  dialing?: string;
}

export type Refusal = "busy" | "not-allowed" | "no-resource" | "timeout";
export type HangUp = "request" | "admin" | "lost";

/** How a call ended; also one that never was up. */
export interface CallEnd {
  by: "us" | "peer" | "connection";
  /** One line for logs. */
  reason: string;
  /** What a PAC counted, as its notify says; printable ASCII, 128 characters at most. */
  statistics?: string;
}

export interface WanErrors {
  crcErrors: number;
  framingErrors: number;
  hardwareOverruns: number;
  bufferOverruns: number;
  timeouts: number;
  alignmentErrors: number;
}

/** What the other end said of itself. Printable ASCII, for logs and status. */
export interface PeerNames {
  hostName: string;
  vendor: string;
  firmware: number;
}

export type CloseCode =
  | "MESHD_PPTP_STOPPED"
  | "MESHD_PPTP_BAD_MESSAGE"
  | "MESHD_PPTP_BAD_ORDER"
  | "MESHD_PPTP_TIMEOUT"
  | "MESHD_PPTP_REFUSED"
  | "MESHD_PPTP_COLLISION"
  | "MESHD_PPTP_FLOOD"
  | "MESHD_PPTP_TRANSPORT";

export interface CloseReason {
  code: CloseCode;
  /** One line: what happened. */
  message: string;
}

/** What the connection tells. Handlers may call back into it at once. */
export interface ControlEvents {
  /** Bytes for the TCP connection, whole messages. */
  send(bytes: Uint8Array): void;
  /**
   * The TCP connection ends: flush what was sent, then close. Told once, after `ended` of every
   * call; nothing is told after it.
   */
  closed(reason: CloseReason): void;
  /** Both ends said start. */
  established?(peer: PeerNames): void;
  /** Whether a start request is welcome; without this handler each is. */
  admit?(peer: PeerNames): StartResult;
  /** They ask for a call (we are its PAC or PNS, see `role`); answer within `answer_ms`. */
  requested?(call: Call): void;
  /** A call is up: both ids and their window are known. */
  connected(call: Call): void;
  /** Told once for each call of `requested`, `dial` and `offer`. */
  ended(call: Call, end: CallEnd): void;
  /** Their PPP wants these control characters escaped on the line, if there is one. */
  linkInfo?(call: Call, accm: { send: number; receive: number }): void;
  /** Sums since the call began. */
  wanErrors?(call: Call, errors: WanErrors): void;
  /** Asked when a notify of ours tells that a call is over. */
  statistics?(call: Call): string;
}

export interface Timers {
  /** From the TCP connection until both said start. */
  establish_ms: number;
  /** For each reply that we wait for. */
  reply_ms: number;
  /** For the answer to our stop. */
  stop_ms: number;
  /** Nothing came: ask by Echo-Request. */
  idle_ms: number;
  /** No Echo-Reply: close. */
  echo_ms: number;
  /** For our user's answer to a call; less than the other end's `reply_ms`. */
  answer_ms: number;
  /** For the rest of a message that began. */
  message_ms: number;
  /** Without a call for so long: stop. null: never. */
  callless_ms: number | null;
  /** TCP: the other end does not read what it asked for. */
  drain_ms: number;
}

/** RFC 2637, 3.1.4 asks for the sixties; the others are ours. */
export const DEFAULT_TIMERS: Readonly<Timers> = {
  establish_ms: 60_000,
  reply_ms: 60_000,
  stop_ms: 60_000,
  idle_ms: 60_000,
  echo_ms: 60_000,
  answer_ms: 30_000,
  message_ms: 10_000,
  callless_ms: null,
  drain_ms: 30_000,
};

export interface ControlOptions {
  /** We opened the TCP connection, so the first message is ours. */
  opens: boolean;
  /** What we may be in calls: a PAC is asked for outgoing ones, a PNS for incoming ones. */
  roles: readonly Role[];
  hostName: string;
  vendor?: string;
  /** Calls at one time, those being set up or cleared among them. */
  callsMax?: number;
  /** Messages in a minute; who sends more is cut. None if absent. */
  messagesMax?: number;
  /** Ours is the higher address of both: a collision's winner (`outranks`). */
  outranks?: boolean;
  timers?: Partial<Timers>;
}

export type ControlState = "new" | "waiting" | "established" | "stopping" | "closed";

export interface ControlStatus {
  state: ControlState;
  peer: PeerNames | null;
  calls: readonly Call[];
  messagesIn: number;
  messagesOut: number;
  /** Good messages of no consequence: for calls that are not there, answers nobody waits for. */
  ignored: number;
}
