// Sequence numbers of a tunnel (RFC 2890 section 2.2): those we send, and which of those received
// are old. They stand in a session record that outlives tables and worker threads; one worker at a
// time has all of a peer's numbered packets, in and out.
import {
  SESSION_EXPECTED,
  SESSION_LATE,
  SESSION_LATE_NEXT,
  SESSION_SENT,
  SESSION_STARTED,
} from "./shared/tables";

/**
 * So many old numbers that rise, with nothing newer between them, are a sender that began anew:
 * packets that were late or sent twice come between newer ones.
 */
const RESTART_RUN: u32 = 16;
/** Numbers that may be missing between two of them. */
const RESTART_GAP: u32 = 64;

/** The number of the next packet to send; the first is 0. */
export function next(session: usize): u32 {
  return atomic.add<u32>(session, 1, SESSION_SENT);
}

function expect(session: usize, number: u32): void {
  store<u32>(session, number + 1, SESSION_EXPECTED);
  store<u32>(session, 0, SESSION_LATE);
}

/** Whether an old number is one more of a sender that began anew. */
function isRestart(session: usize, number: u32): bool {
  const isRising = number - load<u32>(session, SESSION_LATE_NEXT) < RESTART_GAP;
  const run: u32 = isRising ? load<u32>(session, SESSION_LATE) + 1 : 1;
  store<u32>(session, number + 1, SESSION_LATE_NEXT);
  store<u32>(session, run, SESSION_LATE);
  return run >= RESTART_RUN;
}

/**
 * Whether a packet with that number is taken: the first of all, one that is not old (within the
 * 2^31 numbers up to the last one taken), or one of a sender that began anew.
 */
export function accept(session: usize, number: u32): bool {
  const isFirst = load<u32>(session, SESSION_STARTED) === 0;
  const isNew = <i32>(number - load<u32>(session, SESSION_EXPECTED)) >= 0;
  if (!isFirst && !isNew && !isRestart(session, number)) return false;
  store<u32>(session, 1, SESSION_STARTED);
  expect(session, number);
  return true;
}
