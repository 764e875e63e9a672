// MPPE encryption (RFC 3078 sections 3 and 7). Where Linux differs from the RFC it goes Linux's way
// (ADR 0033): a new key stream of a stateful sender has a new key, too, and the first packet does
// not say that it begins one.
import {
  M_COUNT,
  M_FLAGS,
  M_STATEFUL,
  MPPE_COUNT_MASK,
  MPPE_COUNT_SIZE,
  MPPE_ENCRYPTED,
  MPPE_FLUSH,
  MPPE_FLUSHED,
} from "../shared/mppe";
import * as keys from "./keys";
import * as rc4 from "./rc4";

const FLAG_PACKET: u32 = 255;

/** Whether packet `count` of this state begins a key stream. */
function isNew(state: usize, count: u32): bool {
  if (load<u32>(state, M_STATEFUL) === 0) return true;
  return (count & FLAG_PACKET) === FLAG_PACKET || (load<u32>(state, M_FLAGS) & MPPE_FLUSH) !== 0;
}

/**
 * Encrypts in place what stands behind the count word at `at`, and writes that; `length` counts
 * both.
 */
export function encrypt(state: usize, at: usize, length: u32): void {
  const count = (load<u32>(state, M_COUNT) + 1) & MPPE_COUNT_MASK;
  const isFlushed = isNew(state, count);
  store<u32>(state, count, M_COUNT);
  if (isFlushed) {
    keys.change(state);
    keys.begin(state);
    store<u32>(state, 0, M_FLAGS);
  } else {
    keys.takeUp(state);
  }
  const word = count | MPPE_ENCRYPTED | (isFlushed ? MPPE_FLUSHED : 0);
  store<u16>(at, bswap<u16>(<u16>word));
  rc4.crypt(at + MPPE_COUNT_SIZE, length - MPPE_COUNT_SIZE);
  if (load<u32>(state, M_STATEFUL) !== 0) keys.keep(state);
}
