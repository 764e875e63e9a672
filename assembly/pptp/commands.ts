// What the control thread says about calls, by the inject ring and in order with the frames it has
// them send: open, set, close.
import * as counters from "../counters";
import * as mppe from "../mppe/index";
import * as output from "../output";
import * as ring from "../ring";
import {
  CALL_ADDRESS,
  CALL_BUSY,
  CALL_DECRYPTS,
  CALL_ENCRYPTS,
  CALL_EXPECTED,
  CALL_FAMILY,
  CALL_HIDDEN,
  CALL_HIGHEST,
  CALL_ID,
  CALL_IS_ACTIVE,
  CALL_KEYS_SIZE,
  CALL_NETWORK,
  CALL_NEXT,
  CALL_NONSENSE,
  CALL_OPEN,
  CALL_PEER_ID,
  CALL_REQUIRES_MPPE,
  CALL_RESET_TOLD,
  CALL_SENT_BYTES,
  CALL_SENT_PACKETS,
  CALL_SIZE,
  CALL_STARTED,
  CALL_STATE,
  CALLS_ACTIVE,
  CALLS_KEYS,
  CALLS_OPENED,
  KEYS_RECEIVE,
  KEYS_RECEIVE_STAGED,
  KEYS_SEND,
  KEYS_SEND_STAGED,
  OPEN_ADDRESS,
  OPEN_FAMILY,
  OPEN_MODE,
  OPEN_PEER_ID,
  OPEN_SIZE,
  OPEN_WINDOW,
  SET_NETWORK,
  SET_NONE,
  SET_ON,
  SET_RECEIVE,
  SET_REQUIRES_MPPE,
  SET_RESET_SEND,
  SET_SEND,
  SET_SIZE,
} from "../shared/calls";
import { Drop } from "../shared/drop";
import {
  EGRESS,
  ENTRY_DATA,
  ENTRY_KIND,
  ENTRY_LENGTH,
  ENTRY_PEER,
  INGRESS,
  INJECT_CALL_CLOSE,
  INJECT_CALL_FRAME,
  INJECT_CALL_OPEN,
  INJECT_CALL_SET,
} from "../shared/layout";
import * as ppp from "../wire/ppp";
import * as pptp from "../wire/pptp";
import * as buffers from "./buffers";
import * as calls from "./calls";
import * as leave from "./leave";
import * as window from "./window";

/** Most that stands before a frame. */
const HEADERS: u32 = pptp.SIZE + 8 + ppp.ADDRESS_SIZE;

/** Nothing of the network's may be sent in clear text then. */
const HIDES: u32 = CALL_REQUIRES_MPPE | CALL_ENCRYPTS;

function open(record: usize, id: u32, at: usize): void {
  const region = calls.region();
  if (load<u32>(record, CALL_STATE) === CALL_OPEN) close(record);
  // What links it in the list of calls with something due stays as it is.
  const isActive = load<u32>(record, CALL_IS_ACTIVE);
  const next = load<u32>(record, CALL_NEXT);
  memory.fill(record, 0, CALL_SIZE);
  store<u32>(record, isActive, CALL_IS_ACTIVE);
  store<u32>(record, next, CALL_NEXT);
  store<u16>(record, id, CALL_ID);
  store<u16>(record, load<u16>(at, OPEN_PEER_ID), CALL_PEER_ID);
  store<u8>(record, load<u8>(at, OPEN_FAMILY), CALL_FAMILY);
  v128.store(record, v128.load(at, OPEN_ADDRESS), CALL_ADDRESS);
  window.begin(record, load<u32>(at, OPEN_WINDOW), load<u8>(at, OPEN_MODE));
  const opened = max<u32>(load<u32>(region, CALLS_OPENED), calls.slotOf(id) + 1);
  store<u32>(region, opened, CALLS_OPENED);
  atomic.store<u32>(record, CALL_OPEN, CALL_STATE);
}

/** Ends a call: nothing of it stays but its counters. */
function close(record: usize): void {
  const held = buffers.releaseAll(record);
  if (held > 0) counters.dropped(INGRESS, Drop.NO_CALL, held, 0);
  eraseKeys(record);
  atomic.store<u32>(record, 0, CALL_STATE);
}

function eraseKeys(record: usize): void {
  const keys = calls.keysOf(record);
  if (calls.has(record, CALL_DECRYPTS)) mppe.erase(keys + KEYS_RECEIVE);
  if (calls.has(record, CALL_ENCRYPTS)) mppe.erase(keys + KEYS_SEND);
  calls.setFlag(record, CALL_DECRYPTS | CALL_ENCRYPTS, false);
}

function setFlag(record: usize, flag: u32, wanted: u32): void {
  if (wanted !== SET_NONE) calls.setFlag(record, flag, wanted === SET_ON);
}

/** Takes the keys of one direction that are staged, or gives up those there are. */
function setKeys(record: usize, flag: u32, wanted: u32, state: usize, staged: usize): void {
  if (wanted === SET_NONE) return;
  if (wanted === SET_ON) mppe.install(state, staged);
  else if (calls.has(record, flag)) mppe.erase(state);
  calls.setFlag(record, flag, wanted === SET_ON);
}

function set(record: usize, at: usize): void {
  const keys = calls.keysOf(record);
  setFlag(record, CALL_NETWORK, load<u8>(at, SET_NETWORK));
  setFlag(record, CALL_REQUIRES_MPPE, load<u8>(at, SET_REQUIRES_MPPE));
  const receive: u32 = load<u8>(at, SET_RECEIVE);
  setKeys(record, CALL_DECRYPTS, receive, keys + KEYS_RECEIVE, keys + KEYS_RECEIVE_STAGED);
  if (receive === SET_ON) {
    store<f64>(record, 0, CALL_RESET_TOLD);
    store<u32>(record, 0, CALL_NONSENSE);
    store<u32>(record, load<u32>(record, CALL_EXPECTED) - 1, CALL_HIDDEN);
  }
  const send: u32 = load<u8>(at, SET_SEND);
  setKeys(record, CALL_ENCRYPTS, send, keys + KEYS_SEND, keys + KEYS_SEND_STAGED);
  const isReset = load<u8>(at, SET_RESET_SEND) === SET_ON;
  if (isReset && calls.has(record, CALL_ENCRYPTS)) mppe.flushNext(keys + KEYS_SEND);
}

/** Keys for a call that is not there any more. */
function forgetStaged(id: u32): void {
  const keys = calls.region() + CALLS_KEYS + <usize>calls.slotOf(id) * CALL_KEYS_SIZE;
  memory.fill(keys, 0, KEYS_RECEIVE);
}

/** Sends the frame of `length` bytes at `from`. Returns 0 or -Drop. */
function frame(record: usize, from: usize, length: u32): i32 {
  // An odd first byte would be a protocol number of its own.
  if (ppp.protocolLength(from, length) !== 2) return -Drop.BAD_PPP;
  const isData = ppp.protocol(from, 2) < ppp.CONTROL_MIN;
  const mayShow = calls.has(record, CALL_NETWORK) && !calls.has(record, HIDES);
  if (isData && !mayShow) return -Drop.NOT_ENCRYPTED;
  const at = output.takeWire(HEADERS + length);
  const number = window.next(record, calls.now());
  const peerId: u32 = load<u16>(record, CALL_PEER_ID);
  const payload = ppp.ADDRESS_SIZE + length;
  const isAck = load<u32>(record, CALL_STARTED) !== 0;
  const header = pptp.write(at, payload, peerId, number, isAck, load<u32>(record, CALL_HIGHEST));
  ppp.writeAddress(at + header);
  memory.copy(at + header + ppp.ADDRESS_SIZE, from, length);
  leave.datagram(record, at, header + payload, length, leave.TOS_CONTROL, EGRESS);
  if (isAck) leave.acknowledged(record);
  calls.count(record, CALL_SENT_PACKETS, 1);
  calls.count(record, CALL_SENT_BYTES, payload);
  return 0;
}

function takeFrame(record: usize, isOpen: bool, at: usize, length: u32): void {
  counters.generated(EGRESS, 1);
  let result: i32 = isOpen ? 0 : -Drop.NO_CALL;
  if (length < 2 || length > ring.CAPACITY) result = -Drop.BAD_LENGTH;
  if (result === 0) result = frame(record, at, length);
  if (result < 0) counters.dropped(EGRESS, -result, 1, length);
}

/** Whether an entry of the ring is for a call; then it is done. There is room in the outputs. */
export function take(entry: usize): bool {
  const kind = load<u32>(entry, ENTRY_KIND);
  if (kind - INJECT_CALL_FRAME > INJECT_CALL_CLOSE - INJECT_CALL_FRAME) return false;
  const length = load<u32>(entry, ENTRY_LENGTH);
  const at = entry + ENTRY_DATA;
  const id = load<u32>(entry, ENTRY_PEER);
  const record = calls.recordAt(calls.slotOf(id));
  const isOpen = calls.isOpen(record, id);
  if (kind === INJECT_CALL_FRAME) takeFrame(record, isOpen, at, length);
  else if (kind === INJECT_CALL_OPEN) {
    if (length >= <u32>OPEN_SIZE) open(record, id, at);
  } else if (kind === INJECT_CALL_SET) {
    if (isOpen && length >= <u32>SET_SIZE) set(record, at);
    else forgetStaged(id);
  } else if (isOpen) close(record);
  return true;
}

/**
 * A thread died that had all calls: what it held is gone, and was counted. A call whose keys it
 * was just using ends: nobody knows where they stand.
 */
export function recover(): void {
  if (!calls.isOwner()) return;
  const region = calls.region();
  buffers.reset();
  store<u32>(region, 0, CALLS_ACTIVE);
  for (let slot: u32 = 0; slot < load<u32>(region, CALLS_OPENED); slot++) {
    const record = calls.recordAt(slot);
    buffers.forget(record);
    store<u32>(record, 0, CALL_IS_ACTIVE);
    leave.acknowledged(record);
    if (load<u8>(record, CALL_BUSY) !== 0) close(record);
  }
}
