// What a bench refuses or fails with: a stable code and one line that says what, why, what to do.

export type BenchErrorCode =
  | "MESHD_BAD_REQUEST"
  | "MESHD_BENCH_BUSY"
  | "MESHD_BENCH_FAILED"
  | "MESHD_BENCH_GONE"
  | "MESHD_BENCH_NO_PATH"
  | "MESHD_BENCH_OFFLINE"
  | "MESHD_BENCH_REFUSED"
  | "MESHD_BENCH_SECRET"
  | "MESHD_BENCH_TIMEOUT"
  | "MESHD_BENCH_UNKNOWN_PEER";

export class BenchError extends Error {
  override readonly name = "BenchError";

  constructor(
    readonly code: BenchErrorCode,
    message: string,
    options?: { cause: unknown },
  ) {
    super(message, options);
  }
}

/** An error as it crosses a process or the network. */
export interface ErrorBody {
  code: string;
  message: string;
}

export function bodyOf(error: unknown): ErrorBody {
  if (!(error instanceof Error)) return { code: "MESHD_BENCH_FAILED", message: String(error) };
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const message = error.message.replace(/\s+/g, " ").slice(0, 400);
  return { code: code.startsWith("MESHD_") ? code : "MESHD_BENCH_FAILED", message };
}

/** The error that `bodyOf` described. */
export function errorOf({ code, message }: ErrorBody): BenchError {
  return new BenchError(code as BenchErrorCode, message);
}
