// Errors of starting a nats-server.

export type NatsdErrorCode = "MESHD_NO_NATS_SERVER" | "MESHD_PORT_IN_USE" | "MESHD_NATS_SERVER";

export class NatsdError extends Error {
  override readonly name = "NatsdError";
  readonly code: NatsdErrorCode;
  constructor(code: NatsdErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
