// Errors of the control plane: one class, a fixed name, a code that programs may compare, one line
// that says what to do; the log's type.

export type ControlErrorCode =
  | "MESHD_ADDRESS_CLAIMED"
  | "MESHD_BAD_RECORD"
  | "MESHD_BAD_REQUEST"
  | "MESHD_BAD_SETTING"
  | "MESHD_CONFLICT"
  | "MESHD_DUPLICATE_NODE"
  | "MESHD_HOLD_OFF"
  | "MESHD_INTERNAL"
  | "MESHD_MESH_EXISTS"
  | "MESHD_NAME_TAKEN"
  | "MESHD_NOT_A_MEMBER"
  | "MESHD_NOT_ALLOWED"
  | "MESHD_NOT_FOUND"
  | "MESHD_NO_CONTROLLER"
  | "MESHD_NO_MESH"
  | "MESHD_NO_NATS"
  | "MESHD_PERMISSION"
  | "MESHD_POOL_EXHAUSTED"
  | "MESHD_PROOF_INVALID"
  | "MESHD_REMOVED"
  | "MESHD_SETTING_NOT_LIVE"
  | "MESHD_TIMEOUT"
  | "MESHD_TLS_MISMATCH"
  | "MESHD_TLS_MISSING"
  | "MESHD_TOKEN_EXPIRED"
  | "MESHD_TOKEN_INVALID"
  | "MESHD_TOKEN_REVOKED"
  | "MESHD_TOKEN_USED"
  | "MESHD_TOO_MANY"
  | "MESHD_UNDERLAY_IN_POOL";

export class ControlError extends Error {
  override readonly name = "ControlError";
  readonly code: ControlErrorCode;
  constructor(code: ControlErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Called for events worth a log line; fields are plain JSON. */
export type ControlLog = (event: string, fields: Record<string, unknown>) => void;
