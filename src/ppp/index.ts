// The door of PPP: one link with its automata, both roles, pure (ADR 0035). PPTP's authentication
// and encryption are insecure by today's standards.

export type {
  Account,
  AuthFailure,
  AuthMethod,
  PeerSecret,
  Refusal,
  Verifier,
} from "./auth/index.js";
export { ntHash } from "./auth/index.js";
export type { HdlcCounters } from "./hdlc.js";
export { ACCM_ALL, encodeHdlc, HdlcDecoder } from "./hdlc.js";
export { PppLink } from "./link.js";
export type * from "./types.js";
