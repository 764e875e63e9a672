// PPTP calls as the control side sees them: plain values. A call is one PPP session inside PPTP
// (RFC 2637 section 4); its packets are the hot path's, its control frames come here.

/**
 * How many packets may be on their way in a call. "advertised": as many as the other end said, but
 * 64 at least. "strict": RFC 2637 section 4.3, from half of that on, halved when nothing is
 * acknowledged in time. "off": any number. What is above it is a counted drop.
 */
export type WindowMode = "advertised" | "strict" | "off";

/** The other end of a call. */
export interface CallEnd {
  /** Its call id: what stands in the headers that we send. */
  peerId: number;
  /** Underlay address; what comes from others is no part of the call. */
  address: string;
  /** Packets that it takes, as it advertised. */
  window: number;
  windowMode: WindowMode;
}

/** Keys of one direction (RFC 3079). */
export interface MppeKeys {
  /** Initial key, 16 bytes; of 40 and 56 bits the first 8 count. */
  startKey: Uint8Array;
  bits: 40 | 56 | 128;
  stateful: boolean;
}

/** What PPP has agreed on. */
export interface CallSettings {
  /** In "link" only LCP and authentication pass, everything else is a counted drop. */
  phase: "link" | "network";
  /** What may be left out when sending. The tables say it for packets; frames are sent whole. */
  acfc: boolean;
  pfc: boolean;
  /** IP goes and comes encrypted or not at all. */
  requireMppe: boolean;
  /** null: no keys (any more). */
  receive: MppeKeys | null;
  send: MppeKeys | null;
  /** Stateful MPPE: the next packet begins the key stream anew. */
  resetSend: true;
}

/** What a call did since it was opened. Packets and bytes of PPP frames, both ways. */
export interface CallStatistics {
  sentPackets: number;
  sentBytes: number;
  receivedPackets: number;
  receivedBytes: number;
  /** Numbers that never came, or too late. */
  lost: number;
  /** Came after they were given up. */
  late: number;
  duplicates: number;
  /** Came early, and were held until their turn. */
  reordered: number;
  /** Not sent: the window was full. */
  windowDrops: number;
  /** How often nothing was acknowledged in time. */
  timeouts: number;
  acksSent: number;
  acksReceived: number;
  /** Frames that were damaged, or not allowed in the call's phase. */
  badFrames: number;
  /** Smoothed time to an acknowledgment; null while none was measured. */
  rtt_us: number | null;
}

/**
 * "needs-reset": stateful MPPE has lost its place in the key stream. "lost-keys": 128 encrypted
 * frames in a row made no sense; only new keys mend that, so the call is to end.
 */
export type CallEvent = "needs-reset" | "lost-keys";

/** Calls of the hot path. Commands and frames of a call keep their order. */
export interface CallPort {
  /**
   * A slot and the id that the other end is to put into its headers.
   * @throws {DatapathError} MESHD_CALLS_FULL
   */
  reserve(): { slot: number; localId: number };
  /** Begins the call in phase "link". @throws {DatapathError} MESHD_BAD_OPTION */
  open(slot: number, end: CallEnd): void;
  /**
   * Sends a PPP frame, from its two-byte protocol number on (no FF 03).
   * @returns false when it cannot be taken now, or the call is not open.
   */
  send(slot: number, frame: Uint8Array): boolean;
  /** In order with `send`. @throws {DatapathError} MESHD_BAD_OPTION */
  set(slot: number, settings: Partial<CallSettings>): void;
  /** Ends the call and gives the slot back; its statistics stay until it is reserved again. */
  close(slot: number): void;
  statistics(slot: number): CallStatistics;
  /** Who gets frames that are not IP. One handler; the last counts. */
  onFrame(handler: (slot: number, frame: Uint8Array) => void): void;
  onEvent(handler: (slot: number, event: CallEvent) => void): void;
}
