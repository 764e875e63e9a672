// Numbers of RFC 2637 that stand inside messages, and their words; the sentence of honesty.

/** Shown wherever PPTP, its authentication or its encryption is: commands, logs, status, docs. */
export const INSECURE =
  "PPTP is insecure by today's standards (MS-CHAP and MPPE/RC4 are broken): " +
  "for legacy peers only; use WireGuard or IPsec for secrecy";

/** TCP port of the control connection. */
export const PPTP_PORT = 1723;

/** Version 1, revision 0: the only one there ever was. */
export const VERSION = 0x0100;

/** Framing and bearer bits of both kinds; nothing of ours depends on them. */
export const ANY_FRAMING = 3;
export const ANY_BEARER = 3;

/** Start-Control-Connection-Reply. */
export enum StartResult {
  OK = 1,
  GENERAL_ERROR = 2,
  ALREADY_EXISTS = 3,
  NOT_AUTHORIZED = 4,
  BAD_VERSION = 5,
}

/** Stop-Control-Connection-Request. */
export enum StopReason {
  NONE = 1,
  PROTOCOL = 2,
  LOCAL_SHUTDOWN = 3,
}

/** Stop-Control-Connection-Reply and Echo-Reply. */
export enum PlainResult {
  OK = 1,
  GENERAL_ERROR = 2,
}

/** Outgoing-Call-Reply. */
export enum OutgoingResult {
  CONNECTED = 1,
  GENERAL_ERROR = 2,
  NO_CARRIER = 3,
  BUSY = 4,
  NO_DIAL_TONE = 5,
  TIMEOUT = 6,
  NOT_ACCEPTED = 7,
}

/** Incoming-Call-Reply. */
export enum IncomingResult {
  CONNECT = 1,
  GENERAL_ERROR = 2,
  NOT_ACCEPTED = 3,
}

/** Call-Disconnect-Notify. */
export enum DisconnectResult {
  LOST_CARRIER = 1,
  GENERAL_ERROR = 2,
  ADMIN_SHUTDOWN = 3,
  REQUEST = 4,
}

/** General error codes, section 2.16. */
export enum GeneralError {
  NONE = 0,
  NOT_CONNECTED = 1,
  BAD_FORMAT = 2,
  BAD_VALUE = 3,
  NO_RESOURCE = 4,
  BAD_CALL_ID = 5,
  PAC_ERROR = 6,
}

/** "busy", "general error (no resource)", "result 99": what a peer's numbers say. */
export function describeResult(
  names: Readonly<Record<number, string>>,
  result: number,
  error: number,
): string {
  const word = names[result]?.toLowerCase().replaceAll("_", " ") ?? `result ${result}`;
  if (error === GeneralError.NONE) return word;
  const cause = GeneralError[error]?.toLowerCase().replaceAll("_", " ") ?? `error ${error}`;
  return `${word} (${cause})`;
}
