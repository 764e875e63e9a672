// Errors of this room: what an operator wrote and why it is refused.

/** Codes of {@link ConfigError}. */
export type ConfigErrorCode =
  | "MESHD_CONFIG_UNKNOWN_KEY"
  | "MESHD_CONFIG_BAD_VALUE"
  | "MESHD_CONFIG_CONFLICT"
  | "MESHD_CONFIG_FILE";

/** A setting is refused; the message names the key, the value and what is allowed, in one line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";

  constructor(
    readonly code: ConfigErrorCode,
    message: string,
    options?: { cause: unknown },
  ) {
    super(message, options);
  }
}
