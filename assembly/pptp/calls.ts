// The calls' region: which record is whose, and the list of calls that have something due. One
// worker has all calls (ADR 0034); the others touch none of it.
import {
  CALL_ADDRESS,
  CALL_FAMILY,
  CALL_FLAGS,
  CALL_ID,
  CALL_IS_ACTIVE,
  CALL_KEYS_SIZE,
  CALL_NEXT,
  CALL_OPEN,
  CALL_SIZE,
  CALL_STATE,
  CALLS_ACTIVE,
  CALLS_IDS,
  CALLS_KEYS,
  CALLS_RECORDS,
  CALLS_SALT,
} from "../shared/calls";
import { C_CALLS_AT, C_CALLS_WORKER, CONTROL, W_NOW } from "../shared/layout";
import { worker } from "../worker";

/** Address of the region. */
export function region(): usize {
  return load<u32>(CONTROL, C_CALLS_AT);
}

/** Whether this worker is the one that has all calls. */
export function isOwner(): bool {
  return atomic.load<u32>(CONTROL, C_CALLS_WORKER) === <u32>worker;
}

/** Microseconds of this run. */
export function now(): f64 {
  return load<f64>(worker, W_NOW);
}

export function slotOf(id: u32): u32 {
  return id & (CALLS_SALT - 1);
}

export function recordAt(slot: u32): usize {
  return region() + CALLS_RECORDS + <usize>slot * CALL_SIZE;
}

export function id(record: usize): u32 {
  return load<u16>(record, CALL_ID);
}

/** The call's part of the key region. */
export function keysOf(record: usize): usize {
  return region() + CALLS_KEYS + <usize>slotOf(id(record)) * CALL_KEYS_SIZE;
}

/** Whether a call is open that has that id. */
export function isOpen(record: usize, callId: u32): bool {
  return load<u32>(record, CALL_STATE) === CALL_OPEN && id(record) === callId;
}

/** Whether a flag, or any of several, is set. */
export function has(record: usize, flag: u32): bool {
  return (load<u8>(record, CALL_FLAGS) & flag) !== 0;
}

export function setFlag(record: usize, flag: u32, isSet: bool): void {
  const others: u32 = load<u8>(record, CALL_FLAGS) & ~flag;
  store<u8>(record, isSet ? others | flag : others, CALL_FLAGS);
}

/** Whether a call's other end has the address whose 16 bytes stand at `addressAt`. */
export function isWith(record: usize, addressAt: usize, family: u32): bool {
  const differ = v128.xor(v128.load(record, CALL_ADDRESS), v128.load(addressAt));
  return !v128.any_true(differ) && load<u8>(record, CALL_FAMILY) === family;
}

/** The record of the open call that a header names by our id, from that address; or 0. */
export function find(callId: u32, addressAt: usize, family: u32): usize {
  if (callId < CALLS_SALT || !isOwner()) return 0;
  const slot = slotOf(callId);
  // First where little memory is: a guesser must not make all records resident.
  if (load<u16>(region() + ((<usize>slot) << 1), CALLS_IDS) !== callId) return 0;
  const record = recordAt(slot);
  return isOpen(record, callId) && isWith(record, addressAt, family) ? record : 0;
}

/** Adds to a counter of a call. */
export function count(record: usize, counter: usize, amount: u64): void {
  store<u64>(record + counter, load<u64>(record + counter) + amount);
}

/** The call has something due from now on: `tick` looks at it. */
export function activate(record: usize): void {
  if (load<u32>(record, CALL_IS_ACTIVE) !== 0) return;
  const calls = region();
  store<u32>(record, 1, CALL_IS_ACTIVE);
  store<u32>(record, load<u32>(calls, CALLS_ACTIVE), CALL_NEXT);
  store<u32>(calls, <u32>((record - calls - CALLS_RECORDS) / CALL_SIZE) + 1, CALLS_ACTIVE);
}
