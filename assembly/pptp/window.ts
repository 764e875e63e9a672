// How many packets may be on their way in a call (RFC 2637 section 4.3), and how long an
// acknowledgment takes (section 4.4): numbers and times of what we send.
import {
  CALL_ACKED,
  CALL_ACKS_RECEIVED,
  CALL_DEVIATION,
  CALL_FLIGHT,
  CALL_GROWN,
  CALL_LIMIT,
  CALL_MODE,
  CALL_PROGRESS,
  CALL_RTT,
  CALL_SENT,
  CALL_TIMED,
  CALL_TIMED_AT,
  CALL_TIMED_NUMBER,
  CALL_TIMEOUT,
  CALL_TIMEOUTS,
  CALL_WINDOW,
  CALL_WINDOW_DROPS,
  WINDOW_OFF,
  WINDOW_STRICT,
} from "../shared/calls";
import * as calls from "./calls";

/** Section 4.4: alpha and beta, chi, delta. */
const RTT_PART: f64 = 0.125;
const DEVIATION_PART: f64 = 0.25;
const DEVIATIONS: f64 = 4;
const BACK_OFF: f64 = 2;
/** Microseconds: while nothing is known; at least, for acknowledgments are put off; at most. */
const TIMEOUT_FIRST: f64 = 500000;
const TIMEOUT_MIN: f64 = 100000;
const TIMEOUT_MAX: f64 = 8000000;

/** A call begins, whose other end takes `window` packets. Its record is zeroed. */
export function begin(record: usize, window: u32, mode: u32): void {
  store<u32>(record, window, CALL_WINDOW);
  store<u8>(record, mode, CALL_MODE);
  store<u32>(record, mode === WINDOW_STRICT ? max<u32>(window / 2, 1) : window, CALL_LIMIT);
  store<f64>(record, TIMEOUT_FIRST, CALL_TIMEOUT);
}

function setTimeout(record: usize, rtt: f64): void {
  store<f64>(record, rtt, CALL_RTT);
  const wanted = rtt + DEVIATIONS * load<f64>(record, CALL_DEVIATION);
  store<f64>(record, min<f64>(max<f64>(wanted, TIMEOUT_MIN), TIMEOUT_MAX), CALL_TIMEOUT);
}

/** Nothing was acknowledged in time: what is on its way counts as gone. */
function giveUp(record: usize, now_us: f64): void {
  store<u32>(record, load<u32>(record, CALL_SENT), CALL_FLIGHT);
  store<u32>(record, 0, CALL_TIMED);
  store<u32>(record, 0, CALL_GROWN);
  store<f64>(record, now_us, CALL_PROGRESS);
  calls.count(record, CALL_TIMEOUTS, 1);
  if (load<u8>(record, CALL_MODE) === WINDOW_STRICT) {
    store<u32>(record, (load<u32>(record, CALL_LIMIT) + 1) >> 1, CALL_LIMIT);
  }
  const rtt = load<f64>(record, CALL_RTT);
  setTimeout(record, min<f64>(max<f64>(rtt, TIMEOUT_MIN / BACK_OFF) * BACK_OFF, TIMEOUT_MAX));
}

/** Whether one packet more may leave now; counts it when not. */
export function mayLeave(record: usize, now_us: f64): bool {
  if (load<u8>(record, CALL_MODE) === WINDOW_OFF) return true;
  const flight = load<u32>(record, CALL_SENT) - load<u32>(record, CALL_FLIGHT);
  if (flight < load<u32>(record, CALL_LIMIT)) return true;
  if (now_us - load<f64>(record, CALL_PROGRESS) < load<f64>(record, CALL_TIMEOUT)) {
    calls.count(record, CALL_WINDOW_DROPS, 1);
    return false;
  }
  giveUp(record, now_us);
  return true;
}

/** The number of the packet that leaves now. */
export function next(record: usize, now_us: f64): u32 {
  const number = load<u32>(record, CALL_SENT);
  if (number === load<u32>(record, CALL_FLIGHT)) store<f64>(record, now_us, CALL_PROGRESS);
  if (load<u32>(record, CALL_TIMED) === 0) {
    store<u32>(record, 1, CALL_TIMED);
    store<u32>(record, number, CALL_TIMED_NUMBER);
    store<f64>(record, now_us, CALL_TIMED_AT);
  }
  store<u32>(record, number + 1, CALL_SENT);
  return number;
}

/** Takes the time that an acknowledgment of the timed packet took. */
function sample(record: usize, taken: f64): void {
  const rtt = load<f64>(record, CALL_RTT);
  store<u32>(record, 0, CALL_TIMED);
  if (rtt === 0) {
    store<f64>(record, taken / 2, CALL_DEVIATION);
    setTimeout(record, max<f64>(taken, 1));
    return;
  }
  const differs = taken - rtt;
  const deviation = load<f64>(record, CALL_DEVIATION);
  const moved = deviation + DEVIATION_PART * (abs<f64>(differs) - deviation);
  store<f64>(record, moved, CALL_DEVIATION);
  setTimeout(record, max<f64>(rtt + RTT_PART * differs, 1));
}

/** Strict: a window that was acknowledged whole makes it larger by one. */
function grow(record: usize, acknowledged: u32): void {
  const grown = load<u32>(record, CALL_GROWN) + acknowledged;
  const limit = load<u32>(record, CALL_LIMIT);
  const isWhole = grown >= limit;
  store<u32>(record, isWhole ? 0 : grown, CALL_GROWN);
  if (isWhole) store<u32>(record, min(limit + 1, load<u32>(record, CALL_WINDOW)), CALL_LIMIT);
}

/** The other end says that it has all up to `number`; what it cannot have, it does not say. */
export function acknowledged(record: usize, number: u32, now_us: f64): void {
  calls.count(record, CALL_ACKS_RECEIVED, 1);
  const before = load<u32>(record, CALL_ACKED);
  const more = number + 1 - before;
  const sent = load<u32>(record, CALL_SENT) - before;
  if (more === 0 || more > sent) return;
  store<u32>(record, number + 1, CALL_ACKED);
  store<f64>(record, now_us, CALL_PROGRESS);
  if (<i32>(number + 1 - load<u32>(record, CALL_FLIGHT)) > 0) {
    store<u32>(record, number + 1, CALL_FLIGHT);
  }
  const isTimed = load<u32>(record, CALL_TIMED) !== 0;
  if (isTimed && <i32>(number - load<u32>(record, CALL_TIMED_NUMBER)) >= 0) {
    sample(record, now_us - load<f64>(record, CALL_TIMED_AT));
  }
  if (load<u8>(record, CALL_MODE) === WINDOW_STRICT) grow(record, more);
}
