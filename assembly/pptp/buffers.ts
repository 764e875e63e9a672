// Packets that came before their turn: a pool of buffers for all calls, and each call's own by
// their number. Buffers that were never needed are never touched.
import {
  BUFFER_SIZE,
  BUFFERS_MAX,
  CALL_BUFFERS,
  CALL_HELD,
  CALL_HELD_MAX,
  CALL_NETWORK,
  CALLS_BUFFERS,
  CALLS_FREE,
  CALLS_FRESH,
  CALLS_HELD,
  HELD_BYTES_MAX,
  HELD_DATA,
  HELD_LENGTH,
  HELD_NEXT,
  HELD_TOS,
  HELD_UNTIL,
} from "../shared/calls";
import * as calls from "./calls";

/** Of a call whose other end has not said who it is: others need buffers, too. */
const UNPROVEN_MAX: u32 = 4;

function bufferAt(index: u32): usize {
  return calls.region() + CALLS_BUFFERS + <usize>index * BUFFER_SIZE;
}

function placeOf(record: usize, number: u32): usize {
  return record + CALL_BUFFERS + ((<usize>(number & (CALL_HELD_MAX - 1))) << 1);
}

/** A buffer's number + 1, or 0 where all are in use. */
function take(): u32 {
  const region = calls.region();
  const free = load<u32>(region, CALLS_FREE);
  if (free !== 0) {
    store<u32>(region, load<u32>(bufferAt(free - 1), HELD_NEXT), CALLS_FREE);
    return free;
  }
  const fresh = load<u32>(region, CALLS_FRESH);
  if (fresh >= BUFFERS_MAX) return 0;
  store<u32>(region, fresh + 1, CALLS_FRESH);
  return fresh + 1;
}

/** Adds to the packets held by the call, and by all. */
function addHeld(record: usize, amount: i32): void {
  const region = calls.region();
  store<u32>(record, load<u32>(record, CALL_HELD) + amount, CALL_HELD);
  store<u32>(region, load<u32>(region, CALLS_HELD) + amount, CALLS_HELD);
}

/** Packets that a call holds. */
export function held(record: usize): u32 {
  return load<u32>(record, CALL_HELD);
}

/** Where the packet of that number is held, which is less than CALL_HELD_MAX ahead; or 0. */
export function find(record: usize, number: u32): usize {
  const buffer: u32 = load<u16>(placeOf(record, number));
  return buffer === 0 ? 0 : bufferAt(buffer - 1);
}

/** Keeps the PPP frame of a number for which none is held. Returns false where none may be. */
export function hold(
  record: usize,
  number: u32,
  at: usize,
  length: u32,
  tos: u32,
  until: f64,
): bool {
  const most = calls.has(record, CALL_NETWORK) ? CALL_HELD_MAX : UNPROVEN_MAX;
  if (load<u32>(record, CALL_HELD) >= most) return false;
  const buffer = length > HELD_BYTES_MAX ? 0 : take();
  if (buffer === 0) return false;
  const held = bufferAt(buffer - 1);
  store<u32>(held, length, HELD_LENGTH);
  store<u8>(held, tos, HELD_TOS);
  store<f64>(held, until, HELD_UNTIL);
  memory.copy(held + HELD_DATA, at, length);
  store<u16>(placeOf(record, number), buffer);
  addHeld(record, 1);
  return true;
}

/** Gives the buffer of a number back, which is held; its bytes stay until the next `hold`. */
export function release(record: usize, number: u32): void {
  const place = placeOf(record, number);
  const buffer: u32 = load<u16>(place);
  const region = calls.region();
  store<u32>(bufferAt(buffer - 1), load<u32>(region, CALLS_FREE), HELD_NEXT);
  store<u32>(region, buffer, CALLS_FREE);
  store<u16>(place, 0);
  addHeld(record, -1);
}

/** Gives all of a call's back. Returns how many packets that were. */
export function releaseAll(record: usize): u32 {
  const count = held(record);
  for (let number: u32 = 0; number < CALL_HELD_MAX; number++) {
    if (find(record, number) !== 0) release(record, number);
  }
  return count;
}

/** The thread that had them died, with all that it held: nobody has a buffer. */
export function reset(): void {
  memory.fill(calls.region() + CALLS_HELD, 0, CALLS_FRESH + 4 - CALLS_HELD);
}

/** A call's part of that. */
export function forget(record: usize): void {
  memory.fill(record + CALL_BUFFERS, 0, CALL_HELD_MAX * 2);
  store<u32>(record, 0, CALL_HELD);
}
