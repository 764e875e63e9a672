// MPPE's session keys (RFC 3079 section 3.4, RFC 3078 section 7.3): the first one, and each next.
import { M_BITS, M_LENGTH, M_RC4_I, M_SESSION, M_START } from "../shared/mppe";
import * as rc4 from "./rc4";
import * as sha1 from "./sha1";

/** Weakens a key to 40 or 56 bits, as both sides do (RFC 3079 section 2.3 and 2.4). */
function reduce(state: usize): void {
  const bits = load<u32>(state, M_BITS);
  if (bits === 128) return;
  store<u8>(state, 0xd1, M_SESSION);
  if (bits === 56) return;
  store<u16>(state, 0x9e26, M_SESSION + 1);
}

/** The key that follows from start key and `session`, in its place. */
function derive(state: usize): void {
  sha1.derive(state + M_START, state + M_SESSION, load<u32>(state, M_LENGTH), state + M_SESSION);
}

/** The first session key; no RC4 takes part in it. Its key stream begins, and is kept. */
export function first(state: usize): void {
  memory.copy(state + M_SESSION, state + M_START, 16);
  derive(state);
  reduce(state);
  begin(state);
  keep(state);
}

/** The key stream of the session key begins. */
export function begin(state: usize): void {
  rc4.schedule(state + M_SESSION, load<u32>(state, M_LENGTH));
}

/** The next session key; its key stream does not begin yet. */
export function change(state: usize): void {
  const length = load<u32>(state, M_LENGTH);
  derive(state);
  rc4.schedule(state + M_SESSION, length);
  rc4.crypt(state + M_SESSION, length);
  reduce(state);
}

/** Keeps the key stream for the next packet (stateful). */
export function keep(state: usize): void {
  rc4.keep(state + M_RC4_I);
}

/** Takes up the key stream of the last packet (stateful). */
export function takeUp(state: usize): void {
  rc4.takeUp(state + M_RC4_I);
}
