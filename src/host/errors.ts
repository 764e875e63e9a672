// What can go wrong when the host is configured: one class, a code to act on, the command that
// failed.

export type HostErrorCode =
  | "MESHD_HOST_COMMAND"
  | "MESHD_HOST_TOOL_MISSING"
  | "MESHD_HOST_BAD_VALUE"
  | "MESHD_HOST_BAD_OUTPUT"
  | "MESHD_HOST_SYSCTL"
  | "MESHD_HOST_NO_NAMESPACE"
  | "MESHD_HOST_NO_LINK";

export interface HostErrorDetail {
  argv?: readonly string[];
  stderr?: string;
  cause?: unknown;
}

/**
 * `message` is one line: what, why, what to do. `argv` and `stderr` are empty when no command ran.
 */
export class HostError extends Error {
  override readonly name = "HostError";
  readonly argv: readonly string[];
  readonly stderr: string;

  constructor(
    readonly code: HostErrorCode,
    message: string,
    detail: HostErrorDetail = {},
  ) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.argv = detail.argv ?? [];
    this.stderr = detail.stderr ?? "";
  }
}
