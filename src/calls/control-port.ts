// What calls need of control connections (TCP 1723): an interface, so that two ends can be joined
// in a test without sockets. src/pptp is behind it in truth (pptp-port.ts).

/** Somebody asks us for a call. */
export interface CallRequest {
  /** Address that the control connection came from. */
  source: string;
  /** What it says of itself; nothing of it is proven. */
  hostName: string;
  /** A member's nodeId in pair calls. */
  phoneNumber: string;
}

/** The other end's half of a call that is up. */
export interface CallEnd {
  /** Call id under which it receives, and packets that it takes without an acknowledgment. */
  peerCallId: number;
  window: number;
}

/** A call that somebody asks for, or has. */
export interface OfferedCall {
  accept(own: { callId: number; window: number }): void;
  refuse(why: "no-resource" | "not-allowed"): void;
  /** Ends a call that was accepted; the other end is told. */
  clear(reason: ClearReason): void;
  /** Both halves are known; may come within `accept`. */
  onConnected(handler: (end: CallEnd) => void): void;
  /** Once, also after `clear`. */
  onEnd(handler: (reason: string) => void): void;
  /** Text for the other end when the call is over. */
  onStatistics(handler: () => string): void;
}

export type ClearReason = "request" | "admin" | "lost";

export interface Listener {
  /** Tells all that are connected, and ends them; resolves within seconds. */
  stop(): Promise<void>;
}

export interface DialOptions {
  /** Our underlay address. */
  localAddress: string;
  address: string;
  port: number;
  phoneNumber: string;
  callId: number;
  window: number;
}

export interface DialEvents {
  connected(end: CallEnd): void;
  /** Once: it could not be had, or is over. */
  ended(reason: string): void;
}

export interface ControlPort {
  /** @throws Error when the port cannot be had. */
  listen(options: {
    address: string;
    onCall: (request: CallRequest, call: OfferedCall) => void;
  }): Promise<Listener>;
  dial(options: DialOptions, events: DialEvents): { clear(reason: ClearReason): void };
}
