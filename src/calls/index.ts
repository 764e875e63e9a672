// The door of calls: PPTP sessions of users, of foreign servers and between members, out of PPP
// links and control connections (ADR 0038).
export { type AuthMethod, ntHash } from "../ppp/index.js";
export { INSECURE } from "../pptp/index.js";
export { Calls, type CallsOptions, type CallsWanted, type Dial } from "./calls.js";
export { systemClock } from "./clock.js";
export type {
  CallEnd,
  CallRequest,
  ControlPort,
  DialEvents,
  DialOptions,
  OfferedCall,
} from "./control-port.js";
export { pptpPort } from "./pptp-port.js";
export type { PairEnd } from "./server.js";
export { type EncryptionRule, type LinkRules, mtuOver } from "./settings.js";
export { FailedTries } from "./tries.js";
export type {
  Account,
  AddressBook,
  CallFact,
  CallKind,
  CallPort,
  CallStatistics,
  CallsLog,
  Clock,
  SessionView,
  WindowMode,
} from "./types.js";
