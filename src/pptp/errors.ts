// What a user of a control connection does wrong, or what its TCP does not give.

export type PptpErrorCode =
  | "MESHD_PPTP_NOT_UP"
  | "MESHD_PPTP_CALLS_FULL"
  | "MESHD_PPTP_BAD_CALL"
  | "MESHD_PPTP_ROLE"
  | "MESHD_PPTP_LISTEN"
  | "MESHD_PPTP_CONNECT"
  | "MESHD_PPTP_BAD_ADDRESS";

export class PptpError extends Error {
  override readonly name = "PptpError";

  constructor(
    readonly code: PptpErrorCode,
    message: string,
    options?: { cause: unknown },
  ) {
    super(message, options);
  }
}
