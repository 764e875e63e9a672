// The door of the PPTP room (RFC 2637): the control connection on TCP 1723 as an automaton, and the
// thin sockets under it. It knows call ids and windows, never PPP. Broken by today's standards.

export { GeneralError, INSECURE, PPTP_PORT, StartResult, StopReason } from "./codes.js";
export { Collisions, outranks } from "./collisions.js";
export { ControlConnection } from "./control-connection.js";
export {
  type DialEnd,
  type DialEvents,
  type Dialed,
  type DialedEnd,
  type DialOptions,
  dialPptp,
} from "./dial.js";
export { PptpError, type PptpErrorCode } from "./errors.js";
export {
  type IncomingRequest,
  PptpServer,
  SERVER_LIMITS,
  type ServerCall,
  type ServerLimits,
  type ServerOptions,
  type ServerStatus,
} from "./server.js";
export {
  type Call,
  type CallEnd,
  type CallOffer,
  type CallRequest,
  type CallState,
  type CloseCode,
  type CloseReason,
  type ControlEvents,
  type ControlOptions,
  type ControlState,
  type ControlStatus,
  DEFAULT_TIMERS,
  type HangUp,
  type PeerNames,
  type Refusal,
  type Role,
  type Timers,
  type WanErrors,
} from "./types.js";
