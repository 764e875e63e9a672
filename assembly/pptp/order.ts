// The order of what a call receives (RFC 2637 section 4.2): nothing is delivered late or twice.
// What comes early waits for what is missing, not long; what is missing then counts as lost. Any
// number may be the first.
import * as counters from "../counters";
import {
  CALL_ACK_AT,
  CALL_DUPLICATES,
  CALL_EXPECTED,
  CALL_HELD_MAX,
  CALL_HIDDEN,
  CALL_HIGHEST,
  CALL_LATE,
  CALL_LATE_NEXT,
  CALL_LATE_RUN,
  CALL_LOST,
  CALL_REORDERED,
  CALL_SEEN,
  CALL_STARTED,
  CALL_UNACKED,
  HELD_DATA,
  HELD_LENGTH,
  HELD_TOS,
  HELD_UNTIL,
} from "../shared/calls";
import { Drop } from "../shared/drop";
import { INGRESS } from "../shared/layout";
import * as buffers from "./buffers";
import * as calls from "./calls";
import * as frames from "./frames";

/** Result: held until its turn, counted when that comes. As what is on the way to TUN. */
const HELD: i32 = frames.DELIVERED;
/** Acknowledgments are put off so long, in microseconds: something may leave that says it. */
const ACK_DELAY_US: f64 = 10000;
/** Microseconds that a packet waits for those before it. */
const HOLD_US: f64 = 30000;
/**
 * A number so far off says nothing alone: it may be forged. So many that rise, with nothing else
 * between them, are the sender's: it began anew, or much was lost.
 */
const FAR: u32 = 4096;
const RUN: u32 = 16;
const RUN_GAP: u32 = 64;
const SEEN_BITS: u32 = 64;

function expected(record: usize): u32 {
  return load<u32>(record, CALL_EXPECTED);
}

/** Goes on behind the expected number, which was taken. */
function advance(record: usize): void {
  store<u32>(record, expected(record) + 1, CALL_EXPECTED);
  store<u64>(record, (load<u64>(record, CALL_SEEN) << 1) | 1, CALL_SEEN);
}

/** Goes on behind `count` numbers that did not come. */
function giveUp(record: usize, count: u32): void {
  store<u32>(record, expected(record) + count, CALL_EXPECTED);
  const seen = load<u64>(record, CALL_SEEN);
  store<u64>(record, count < SEEN_BITS ? seen << count : 0, CALL_SEEN);
  calls.count(record, CALL_LOST, count);
}

/** Counts what became of a packet that was received, now or some time ago. */
export function count(result: i32, bytes: u32): void {
  if (result === frames.DELIVERED) return;
  if (result < 0) {
    counters.dropped(INGRESS, -result, 1, bytes);
    return;
  }
  counters.consumed(INGRESS, 1);
  if (result === frames.ANSWERED) counters.generated(INGRESS, 1);
}

/** Delivers what is held from the expected number on, up to the next one that is missing. */
function deliverHeld(record: usize): void {
  while (buffers.held(record) !== 0) {
    const number = expected(record);
    const held = buffers.find(record, number);
    if (held === 0) return;
    const bytes = load<u32>(held, HELD_LENGTH);
    const tos: u32 = load<u8>(held, HELD_TOS);
    // Nothing takes a buffer meanwhile, so its bytes stay; and no output may lie in it.
    buffers.release(record, number);
    advance(record);
    count(frames.take(record, held + HELD_DATA, bytes, tos, 0), bytes);
  }
}

/** Gives up what is missing before the first packet held, of which there is one; delivers that. */
function skipGap(record: usize): void {
  let count: u32 = 0;
  while (count < CALL_HELD_MAX && buffers.find(record, expected(record) + count) === 0) count++;
  giveUp(record, count);
  deliverHeld(record);
}

/** Gives up all before `number` that is missing, and delivers what is held before it. */
function skipTo(record: usize, number: u32): void {
  while (buffers.held(record) !== 0 && <i32>(number - expected(record)) > 0) {
    const before = expected(record);
    let count: u32 = 0;
    while (before + count !== number && buffers.find(record, before + count) === 0) count++;
    giveUp(record, count);
    deliverHeld(record);
  }
  const left = <i32>(number - expected(record));
  if (left > 0) giveUp(record, left);
}

/** Whether a far number is one more of a sender that went on elsewhere. */
function isRun(record: usize, number: u32): bool {
  const isRising = number - load<u32>(record, CALL_LATE_NEXT) < RUN_GAP;
  const run: u32 = isRising ? load<u32>(record, CALL_LATE_RUN) + 1 : 1;
  store<u32>(record, number + 1, CALL_LATE_NEXT);
  store<u32>(record, run, CALL_LATE_RUN);
  return run >= RUN;
}

/** The sender goes on at `number`. */
function restart(record: usize, number: u32): void {
  while (buffers.held(record) !== 0) skipGap(record);
  const ahead = number - expected(record);
  if (<i32>ahead > 0) giveUp(record, ahead);
  store<u32>(record, number, CALL_EXPECTED);
  store<u64>(record, 0, CALL_SEEN);
  store<u32>(record, number, CALL_HIGHEST);
}

/** Refuses an old number or one far ahead: -Drop. */
function refuse(record: usize, number: u32): i32 {
  const behind = expected(record) - 1 - number;
  const isSeen = behind < SEEN_BITS && ((load<u64>(record, CALL_SEEN) >> behind) & 1) !== 0;
  calls.count(record, isSeen ? CALL_DUPLICATES : CALL_LATE, 1);
  return isSeen ? -Drop.DUPLICATE : -Drop.OLD_SEQUENCE;
}

function begin(record: usize, number: u32): void {
  store<u32>(record, 1, CALL_STARTED);
  store<u32>(record, number, CALL_EXPECTED);
  store<u32>(record, number, CALL_HIGHEST);
  store<u32>(record, number - 1, CALL_HIDDEN);
}

/** Takes the packet whose turn it is, and what waited for it. */
function takeNext(record: usize, at: usize, length: u32, tos: u32, free: u32): i32 {
  advance(record);
  const result = frames.take(record, at, length, tos, free);
  deliverHeld(record);
  return result;
}

/** There is one packet more to acknowledge, soon. */
function owe(record: usize): void {
  store<u32>(record, load<u32>(record, CALL_UNACKED) + 1, CALL_UNACKED);
  if (load<f64>(record, CALL_ACK_AT) === 0) {
    store<f64>(record, calls.now() + ACK_DELAY_US, CALL_ACK_AT);
  }
  calls.activate(record);
}

/** Keeps a packet that came early, or takes it where it cannot be kept. */
function takeEarly(record: usize, number: u32, at: usize, length: u32, tos: u32, free: u32): i32 {
  if (number - expected(record) >= CALL_HELD_MAX) skipTo(record, number - (CALL_HELD_MAX - 1));
  if (number === expected(record)) return takeNext(record, at, length, tos, free);
  if (buffers.find(record, number) !== 0) {
    calls.count(record, CALL_DUPLICATES, 1);
    return -Drop.DUPLICATE;
  }
  const until = calls.now() + HOLD_US;
  if (buffers.hold(record, number, at, length, tos, until)) {
    calls.count(record, CALL_REORDERED, 1);
    calls.activate(record);
    return HELD;
  }
  skipTo(record, number);
  return takeNext(record, at, length, tos, free);
}

/**
 * Takes the PPP frame of `length` bytes at `at` with that number; `free` bytes before it are
 * nobody's. Returns as `frames.take`; a frame that is held counts later.
 */
export function take(record: usize, number: u32, at: usize, length: u32, tos: u32, free: u32): i32 {
  if (load<u32>(record, CALL_STARTED) === 0) begin(record, number);
  const ahead = number - expected(record);
  if (ahead >= FAR) {
    const isNear = expected(record) - number <= FAR;
    if (isNear || !isRun(record, number)) return refuse(record, number);
    restart(record, number);
  }
  store<u32>(record, 0, CALL_LATE_RUN);
  owe(record);
  if (<i32>(number - load<u32>(record, CALL_HIGHEST)) > 0) store<u32>(record, number, CALL_HIGHEST);
  if (number === expected(record)) return takeNext(record, at, length, tos, free);
  return takeEarly(record, number, at, length, tos, free);
}

/** When the packet held longest must go on; +Infinity where none is. */
export function deadline(record: usize): f64 {
  let first = Infinity;
  if (buffers.held(record) === 0) return first;
  for (let i: u32 = 0; i < CALL_HELD_MAX; i++) {
    const held = buffers.find(record, expected(record) + i);
    if (held !== 0) first = min<f64>(first, load<f64>(held, HELD_UNTIL));
  }
  return first;
}

/** Delivers what has waited long enough, and all before it. */
export function expire(record: usize, now_us: f64): void {
  while (deadline(record) <= now_us) skipGap(record);
}
