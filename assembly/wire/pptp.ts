// Enhanced GRE header, RFC 2637 section 4.1: GRE version 1, by the same IP protocol as GRE.
//
//  |C|R|K|S|s|Recur|A| Flags | Ver |         Protocol Type         |
//  |    Key (HW) Payload Length    |       Key (LW) Call ID        |
//  |                  Sequence Number (optional)                   |
//  |               Acknowledgment Number (optional)                |
//
// S and A say which of the optional words are there. The call id is the one of who receives.
import { Drop } from "../shared/drop";

const TYPE: usize = 2;
const LENGTH: usize = 4;
const CALL_ID: usize = 6;
const FIRST: usize = 8;

/** Bytes without the optional words. */
export const SIZE: u32 = 8;
const WORD: u32 = 4;
/** The first two bytes, as a number. */
const PLAIN: u32 = 0x2001;
const HAS_SEQUENCE: u32 = 0x1000;
const HAS_ACK: u32 = 0x0080;
const VERSION: u32 = 7;
/** Protocol type of PPP. */
const PPP: u32 = 0x880b;

function flags(at: usize): u32 {
  return bswap<u16>(load<u16>(at));
}

/** Whether the `length` bytes of GRE at `at` are of this version. */
export function isCall(at: usize, length: u32): bool {
  return length >= 2 && (<u32>load<u8>(at, 1) & VERSION) === 1;
}

/** Checks the header at `at`, of which `length` bytes are there. Returns its length, or -Drop. */
export function check(at: usize, length: u32): i32 {
  if (length < SIZE) return -Drop.TOO_SHORT;
  const word = flags(at);
  const optional = word & (HAS_SEQUENCE | HAS_ACK);
  if (word - optional !== PLAIN || optional === 0) return -Drop.BAD_FLAGS;
  if (bswap<u16>(load<u16>(at, TYPE)) !== PPP) return -Drop.BAD_PPP;
  const both = HAS_SEQUENCE | HAS_ACK;
  const header = SIZE + (optional === both ? 2 * WORD : WORD);
  if (length < header) return -Drop.TOO_SHORT;
  const payload = payloadLength(at);
  if (payload > length - header) return -Drop.BAD_LENGTH;
  // What has no number carries nothing.
  return payload !== 0 && !hasSequence(at) ? -Drop.BAD_LENGTH : <i32>header;
}

/** Bytes behind the header. */
export function payloadLength(at: usize): u32 {
  return bswap<u16>(load<u16>(at, LENGTH));
}

export function callId(at: usize): u32 {
  return bswap<u16>(load<u16>(at, CALL_ID));
}

export function hasSequence(at: usize): bool {
  return (flags(at) & HAS_SEQUENCE) !== 0;
}

export function hasAck(at: usize): bool {
  return (flags(at) & HAS_ACK) !== 0;
}

/** The number of a header that has one. */
export function sequence(at: usize): u32 {
  return bswap<u32>(load<u32>(at, FIRST));
}

/** What a header acknowledges that does. */
export function ack(at: usize): u32 {
  const raw = hasSequence(at) ? load<u32>(at, FIRST + WORD) : load<u32>(at, FIRST);
  return bswap<u32>(raw);
}

/** Fills in a header that has both optional words, and whose first four bytes are there. */
export function fill(at: usize, payload: u32, id: u32, number: u32, acknowledged: u32): void {
  store<u16>(at, bswap<u16>(<u16>payload), LENGTH);
  store<u16>(at, bswap<u16>(<u16>id), CALL_ID);
  store<u32>(at, bswap<u32>(number), FIRST);
  store<u32>(at, bswap<u32>(acknowledged), FIRST + WORD);
}

function writeFirst(at: usize, word: u32, payload: u32, id: u32): void {
  store<u16>(at, bswap<u16>(<u16>word));
  store<u16>(at, bswap<u16>(<u16>PPP), TYPE);
  store<u16>(at, bswap<u16>(<u16>payload), LENGTH);
  store<u16>(at, bswap<u16>(<u16>id), CALL_ID);
}

/** Writes the header of a packet with a number, that acknowledges or not. Returns its length. */
export function write(
  at: usize,
  payload: u32,
  id: u32,
  number: u32,
  acknowledges: bool,
  acknowledged: u32,
): u32 {
  writeFirst(at, PLAIN | HAS_SEQUENCE | (acknowledges ? HAS_ACK : 0), payload, id);
  store<u32>(at, bswap<u32>(number), FIRST);
  if (acknowledges) store<u32>(at, bswap<u32>(acknowledged), FIRST + WORD);
  return SIZE + (acknowledges ? 2 * WORD : WORD);
}

/** Writes a header that acknowledges and carries nothing. Returns its length. */
export function writeAck(at: usize, id: u32, acknowledged: u32): u32 {
  writeFirst(at, PLAIN | HAS_ACK, 0, id);
  store<u32>(at, bswap<u32>(acknowledged), FIRST);
  return SIZE + WORD;
}
