// Errors of opening and rebinding a datapath: what the operator reads when a start is refused.

export type DatapathErrorCode =
  | "MESHD_PORT_IN_USE"
  | "MESHD_DEVICE_BUSY"
  | "MESHD_DEVICE_FAILED"
  | "MESHD_NO_TUN"
  | "MESHD_NOT_PERMITTED"
  | "MESHD_ADDRESS_GONE"
  | "MESHD_SOCKET_FAILED"
  | "MESHD_POLLER_FAILED"
  | "MESHD_MODULE_MISSING"
  | "MESHD_MODULE_STALE"
  | "MESHD_WORKER_FAILED"
  | "MESHD_NO_STEERING"
  | "MESHD_DATAPATH_CLOSED"
  | "MESHD_CALLS_FULL"
  | "MESHD_BAD_OPTION";

/** A refused start, rebind or call. `message` is one line: what, why, what to do. */
export class DatapathError extends Error {
  override readonly name = "DatapathError";
  readonly code: DatapathErrorCode;

  constructor(code: DatapathErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The system's error code ("EBUSY") of anything thrown, or "" when it has none. */
export function systemCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

/** One line of text for anything thrown. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
