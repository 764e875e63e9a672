// What can go wrong with pods: one class, a code to act on.

export type PodErrorCode =
  | "MESHD_POD_BAD_NAME"
  | "MESHD_POD_BAD_LABEL"
  | "MESHD_POD_EXISTS"
  | "MESHD_POD_NOT_FOUND"
  | "MESHD_POD_NETNS"
  | "MESHD_POD_ADDRESSES_EXHAUSTED"
  | "MESHD_POD_STATE"
  | "MESHD_POD_SETUP";

/** `message` is one line: what, why, what to do. */
export class PodError extends Error {
  override readonly name = "PodError";

  constructor(
    readonly code: PodErrorCode,
    message: string,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
