// The lab's named error.

/** A lab operation failed; `code` says how: MESHD_LAB_SHAPE, MESHD_LAB_NOT_FOUND, ... */
export class LabError extends Error {
  override readonly name = "LabError";
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
