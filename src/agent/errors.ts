// What the agent refuses or fails with: a stable code and one line that says what, why, what to do.

export type AgentErrorCode =
  | "MESHD_STATE_LOCKED"
  | "MESHD_NOT_JOINED"
  | "MESHD_ALREADY_JOINED"
  | "MESHD_DUPLICATE_NODE"
  | "MESHD_NOT_ROOT"
  | "MESHD_NO_TUN"
  | "MESHD_DEVICE_BUSY"
  | "MESHD_PORT_IN_USE"
  | "MESHD_NO_UNDERLAY"
  | "MESHD_UNDERLAY_IN_POOL"
  | "MESHD_ROUTE_CONFLICT"
  | "MESHD_FILTER_CUTS_MESH"
  | "MESHD_UNSUPPORTED_SETTING"
  | "MESHD_NO_NATS"
  | "MESHD_NO_VIEW"
  | "MESHD_PODS_EXIST"
  | "MESHD_BAD_REQUEST"
  | "MESHD_NOT_FOUND"
  | "MESHD_DRAINING"
  | "MESHD_STARTING"
  | "MESHD_STOPPING";

export class AgentError extends Error {
  override readonly name = "AgentError";

  constructor(
    readonly code: AgentErrorCode,
    message: string,
    options?: { cause: unknown },
  ) {
    super(message, options);
  }
}

/** The code of any error that carries one ("MESHD_...", "EACCES"), else MESHD_INTERNAL. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "MESHD_INTERNAL";
}

/** The message of anything thrown, in one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0] ?? "";
}
