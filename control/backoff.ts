// How long to wait after failures in a row: each doubles the wait; a thousand do not come at once.

export interface BackoffLimits {
  least_ms: number;
  most_ms: number;
}

/** Milliseconds to wait after `failures` before this one: between half and the whole of it. */
export function backoff_ms({ least_ms, most_ms }: BackoffLimits, failures: number): number {
  const whole_ms = Math.min(least_ms * 2 ** failures, most_ms);
  return whole_ms * (0.5 + Math.random() / 2);
}
