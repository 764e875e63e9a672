// MPPE (RFC 3078), one direction of a call: keys, encryption, decryption. Broken by today's
// standards (RC4, no integrity): for legacy peers only. Who owns the call's worker calls this; all
// calls share one scratch (C_KEY_SCRATCH), so there must be one such worker.
import { C_KEY_SCRATCH, CONTROL, KEY_SCRATCH_SIZE } from "../shared/layout";
import {
  M_BITS,
  M_COUNT,
  M_FLAGS,
  M_LENGTH,
  M_SKIPPED,
  M_START,
  M_STATEFUL,
  MPPE_COUNT_MASK,
  MPPE_FLUSH,
  MPPE_FRESH,
  MPPE_STAGED_BITS,
  MPPE_STAGED_KEY,
  MPPE_STAGED_SIZE,
  MPPE_STAGED_STATEFUL,
  MPPE_STATE_SIZE,
} from "../shared/mppe";
import * as keys from "./keys";
import { RC4_END } from "./rc4";
import { SHA1_BEGIN, SHA1_END } from "./sha1";

export { decrypt } from "./receive";
export { encrypt } from "./send";

if (RC4_END > SHA1_BEGIN) ERROR("RC4's table overlaps SHA-1's words");

/** What of the scratch is used. */
export const KEY_SCRATCH_NEEDED: usize = SHA1_END - CONTROL - C_KEY_SCRATCH;

/** Losses in a row that are believed; a call that lost more may not come back. */
const SKIPPED_MAX: u32 = 1 << 20;

/** Ends what the state was for: no key stays in it, nor in the scratch. */
export function erase(state: usize): void {
  memory.fill(state, 0, MPPE_STATE_SIZE);
  memory.fill(CONTROL + C_KEY_SCRATCH, 0, KEY_SCRATCH_SIZE);
}

/**
 * Begins a direction: takes what is staged (MPPE_STAGED_*), which is zeroed, and derives the first
 * session key. The first packet has count 0.
 */
export function install(state: usize, staged: usize): void {
  erase(state);
  const bits = load<u32>(staged, MPPE_STAGED_BITS);
  memory.copy(state + M_START, staged + MPPE_STAGED_KEY, 16);
  store<u32>(state, bits, M_BITS);
  store<u32>(state, bits === 128 ? 16 : 8, M_LENGTH);
  store<u32>(state, load<u32>(staged, MPPE_STAGED_STATEFUL), M_STATEFUL);
  store<u32>(state, MPPE_COUNT_MASK, M_COUNT);
  store<u32>(state, MPPE_FRESH, M_FLAGS);
  memory.fill(staged, 0, MPPE_STAGED_SIZE);
  keys.first(state);
}

/** After a Reset-Request (stateful): the next packet begins a new key stream and says so. */
export function flushNext(state: usize): void {
  store<u32>(state, load<u32>(state, M_FLAGS) | MPPE_FLUSH, M_FLAGS);
}

/**
 * Says that `count` packets of the peer are missing before the next one that is decrypted, as far
 * as the tunnel's own sequence numbers tell. Twelve bits of count alone cannot say after more than
 * 2,048 of them, and the keys would never fit again. Absurdly many are none.
 */
export function skipped(state: usize, count: u32): void {
  store<u32>(state, count <= SKIPPED_MAX ? count : 0, M_SKIPPED);
}

/** What of that is still missing behind a packet that was decrypted, or could not be. */
export function stillMissing(state: usize): u32 {
  return load<u32>(state, M_SKIPPED);
}
