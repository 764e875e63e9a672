// A token bucket in eight-byte fields of the worker's state: how often something may be done.
// Zeroed memory is a full bucket, as the clock then has run since 0. One writer: the worker.

const TOKENS: usize = 0; //  f64
const FILLED: usize = 8; //  f64: microseconds, when TOKENS was last brought up to date
export const SIZE: usize = 16;

/** Takes one token at time `now_us`; false when there is none. `burst` is the bucket's size. */
export function take(at: usize, now_us: f64, perSecond: f64, burst: f64): bool {
  // A clock that went backwards must not empty the bucket.
  const elapsed = max<f64>(now_us - load<f64>(at, FILLED), 0);
  const tokens = min<f64>(load<f64>(at, TOKENS) + (elapsed * perSecond) / 1000000, burst);
  store<f64>(at, now_us, FILLED);
  if (tokens < 1) {
    store<f64>(at, tokens, TOKENS);
    return false;
  }
  store<f64>(at, tokens - 1, TOKENS);
  return true;
}
