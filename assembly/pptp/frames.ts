// PPP frames out of a call: IP goes on as any inner packet, encrypted or not as the call wants it;
// everything else is the control thread's, as far as the call's phase lets it pass.
import * as decap from "../decap";
import * as life from "../life";
import * as mppe from "../mppe/index";
import * as ratelimit from "../ratelimit";
import * as ring from "../ring";
import {
  CALL_BAD_FRAMES,
  CALL_BUSY,
  CALL_DECRYPTS,
  CALL_EXPECTED,
  CALL_FRAMES,
  CALL_HIDDEN,
  CALL_NETWORK,
  CALL_NONSENSE,
  CALL_RECEIVED_BYTES,
  CALL_RECEIVED_PACKETS,
  CALL_REQUIRES_MPPE,
  CALL_RESET_TOLD,
  KEYS_RECEIVE,
} from "../shared/calls";
import { Drop } from "../shared/drop";
import {
  PUNT_CALL_EVENT,
  PUNT_CALL_LOST,
  PUNT_PPP,
  RING_ENTRIES,
  SOCKET_CALL,
  W_TABLES,
} from "../shared/layout";
import { CALL_ENTRY_ID, T_CALLS_AT } from "../shared/tables";
import * as ppp from "../wire/ppp";
import { worker } from "../worker";
import * as calls from "./calls";

/** Results, as decap's: on the way to TUN or another peer; taken; taken, and answered. */
export const DELIVERED: i32 = decap.DELIVERED;
export const ANSWERED: i32 = decap.ANSWERED;

/** Bytes of MPPE's count. */
const COUNT_SIZE: u32 = 2;
/** The ring is not for calls alone: probes come by it, too. */
const RING_SHARE: u32 = RING_ENTRIES / 2;
/** Frames of one call for the control thread. */
const FRAMES_PER_SECOND: f64 = 200;
const FRAMES_BURST: f64 = 64;
/** So many frames in a row that make no sense mean that the keys fit no more. */
const NONSENSE_MAX: u32 = 128;
/** Result of `decrypt`: the place in the key stream is lost (stateful). */
const NEEDS_RESET: i32 = 1;
/** The control thread hears so often that keys are lost, while they are. */
const TELL_US: f64 = 1000000;

/** Hands a frame to the control thread, from its two-byte protocol number on. */
function punt(record: usize, at: usize, size: u32, length: u32): i32 {
  const isInTime = ratelimit.take(
    record + CALL_FRAMES,
    calls.now(),
    FRAMES_PER_SECOND,
    FRAMES_BURST,
  );
  if (!isInTime) return -Drop.RING_FULL;
  const short: u32 = size === 1 ? 1 : 0;
  if (short !== 0) ppp.lengthen(at);
  const isTaken = ring.puntUpTo(RING_SHARE, PUNT_PPP, calls.id(record), at - short, length + short);
  return isTaken ? decap.CONSUMED : -Drop.RING_FULL;
}

/** Index of the entry that a call's packets belong to, or -1. */
function entryOf(record: usize): i32 {
  const id = calls.id(record);
  const entries: usize = load<u32>(load<u32>(worker, W_TABLES), T_CALLS_AT);
  const entry = load<u32>(entries + ((<usize>calls.slotOf(id)) << 2));
  return entry / CALL_ENTRY_ID === id ? <i32>(entry % CALL_ENTRY_ID) - 1 : -1;
}

/** An IP packet of `length` bytes at `at` that must be of that version. */
function ip(record: usize, version: u32, at: usize, length: u32, tos: u32, free: u32): i32 {
  const peerIndex = entryOf(record);
  if (peerIndex < 0) return -Drop.NO_CALL;
  if (length === 0) return -Drop.TOO_SHORT;
  if (<u32>load<u8>(at) >> 4 !== version) return -Drop.BAD_IP_VERSION;
  const result = decap.datagram(SOCKET_CALL, peerIndex, at, length, tos, free);
  if (result === DELIVERED) life.brought(peerIndex);
  return result;
}

/** The control thread is to ask for a new key stream. */
function tellReset(record: usize): void {
  const told = load<f64>(record, CALL_RESET_TOLD);
  if (told !== 0 && calls.now() - told < TELL_US) return;
  if (!ring.puntUpTo(RING_SHARE, PUNT_CALL_EVENT, calls.id(record), record, 0)) return;
  store<f64>(record, calls.now(), CALL_RESET_TOLD);
}

/**
 * Counts what came encrypted and made no sense, since the last that did: keys that forged counts
 * have moved away fit nothing any more, while the link's own frames, in clear text, go on.
 */
function judge(record: usize, makesSense: bool): void {
  const run: u32 = makesSense ? 0 : load<u32>(record, CALL_NONSENSE) + 1;
  const isLost = run >= NONSENSE_MAX;
  store<u32>(record, isLost ? 0 : run, CALL_NONSENSE);
  if (isLost) ring.puntUpTo(RING_SHARE, PUNT_CALL_LOST, calls.id(record), record, 0);
}

/** Whether what became of an IP packet says that it was none. */
function isNoPacket(result: i32): bool {
  return (
    result === -Drop.BAD_IP_VERSION ||
    result === -Drop.BAD_IP_HEADER ||
    result === -Drop.BAD_LENGTH ||
    result === -Drop.TOO_SHORT
  );
}

/**
 * Decrypts what stands behind the protocol number. Returns 0 or -Drop. What is missing before it is
 * told by its number and that of the last one decrypted: forged numbers in between say nothing.
 */
function decrypt(record: usize, at: usize, length: u32): i32 {
  if (!calls.has(record, CALL_DECRYPTS)) return -Drop.MPPE_NO_KEY;
  const state = calls.keysOf(record) + KEYS_RECEIVE;
  const before = load<u32>(record, CALL_EXPECTED) - 1;
  store<u8>(record, 1, CALL_BUSY);
  mppe.skipped(state, before - load<u32>(record, CALL_HIDDEN) - 1);
  const result = mppe.decrypt(state, at, length);
  store<u32>(record, before - mppe.stillMissing(state), CALL_HIDDEN);
  store<u8>(record, 0, CALL_BUSY);
  if (result <= 0) return result;
  tellReset(record);
  return NEEDS_RESET;
}

/** What was encrypted: IP, or a protocol that the control thread refuses. */
function decrypted(record: usize, at: usize, length: u32, tos: u32, free: u32): i32 {
  const wrong = decrypt(record, at, length);
  // Until there are keys, or the other end begins anew, nothing can make sense.
  if (wrong === NEEDS_RESET) return -Drop.MPPE_BAD_COUNT;
  if (wrong === -Drop.MPPE_NO_KEY) return wrong;
  const frame = at + COUNT_SIZE;
  const bytes = length - COUNT_SIZE;
  const size = wrong === 0 ? ppp.protocolLength(frame, bytes) : 0;
  const protocol: u32 = size === 0 ? 0 : ppp.protocol(frame, size);
  if (protocol === ppp.IPV4 || protocol === ppp.IPV6) {
    const room = free === 0 ? 0 : free + COUNT_SIZE + size;
    const version: u32 = protocol === ppp.IPV4 ? 4 : 6;
    const result = ip(record, version, frame + size, bytes - size, tos, room);
    judge(record, !isNoPacket(result));
    return result;
  }
  judge(record, false);
  if (wrong !== 0) return wrong;
  // Control frames travel in clear text (RFC 3078 section 3).
  const isControl = protocol >= ppp.CONTROL_MIN;
  return size === 0 || isControl ? -Drop.BAD_PPP : punt(record, frame, size, bytes);
}

function mayPass(protocol: u32): bool {
  return protocol === ppp.LCP || protocol === ppp.PAP || protocol === ppp.CHAP;
}

function dispatch(record: usize, at: usize, length: u32, tos: u32, free: u32): i32 {
  const address = ppp.addressLength(at, length);
  const frame = at + address;
  const bytes = length - address;
  const size = ppp.protocolLength(frame, bytes);
  if (size === 0) return -Drop.BAD_PPP;
  const protocol = ppp.protocol(frame, size);
  if (!calls.has(record, CALL_NETWORK) && !mayPass(protocol)) return -Drop.NOT_AUTHENTICATED;
  const room = free === 0 ? 0 : free + address + size;
  const rest = frame + size;
  if (protocol === ppp.COMPRESSED) return decrypted(record, rest, bytes - size, tos, room);
  store<u32>(record, load<u32>(record, CALL_HIDDEN) + 1, CALL_HIDDEN);
  if (protocol !== ppp.IPV4 && protocol !== ppp.IPV6) return punt(record, frame, size, bytes);
  if (calls.has(record, CALL_REQUIRES_MPPE | CALL_DECRYPTS)) return -Drop.CLEAR_REFUSED;
  return ip(record, protocol === ppp.IPV4 ? 4 : 6, rest, bytes - size, tos, room);
}

/**
 * Takes a PPP frame of `length` bytes at `at` whose turn it is; `free` bytes before it are
 * nobody's, and one is there at least. Returns DELIVERED, decap.CONSUMED, ANSWERED or -Drop.
 */
export function take(record: usize, at: usize, length: u32, tos: u32, free: u32): i32 {
  calls.count(record, CALL_RECEIVED_PACKETS, 1);
  calls.count(record, CALL_RECEIVED_BYTES, length);
  const result = dispatch(record, at, length, tos, free);
  if (result < 0) calls.count(record, CALL_BAD_FRAMES, 1);
  return result;
}
