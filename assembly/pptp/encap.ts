// Inner packets into a call: PPP's header, MPPE, enhanced GRE. Needs a raw socket of IP protocol 47
// and the call's record; a packet that may not leave now is a drop.
import * as checksum from "../checksum";
import * as mppe from "../mppe/index";
import * as peers from "../peers";
import {
  CALL_BUSY,
  CALL_ENCRYPTS,
  CALL_HIGHEST,
  CALL_NETWORK,
  CALL_PEER_ID,
  CALL_REQUIRES_MPPE,
  CALL_SENT_BYTES,
  CALL_SENT_PACKETS,
  CALL_STARTED,
  CALL_WINDOW_DROPS,
  KEYS_SEND,
} from "../shared/calls";
import { Drop } from "../shared/drop";
import { PPTP_OVERHEAD } from "../shared/layout";
import {
  P_ADDRESS,
  P_CALL_ID,
  P_FAMILY,
  P_FLAGS,
  P_OVERHEAD,
  P_SESSION,
  P_TEMPLATE,
  PEER_ENCRYPTED,
} from "../shared/tables";
import * as pptp from "../wire/pptp";
import * as calls from "./calls";
import * as leave from "./leave";
import * as window from "./window";

/** MPPE's count and the number of what is inside, both before the packet. */
const COUNT_AND_PROTOCOL: u32 = 4;
const PAYLOAD_MAX: u32 = 65535;

/** Whether the call is up, is the entry's, and ours to use. */
function carries(record: usize, peer: usize): bool {
  if (record === 0 || !calls.isOwner()) return false;
  if (!calls.isOpen(record, load<u16>(peer, P_CALL_ID))) return false;
  if (!calls.isWith(record, peer + P_ADDRESS, load<u8>(peer, P_FAMILY))) return false;
  return calls.has(record, CALL_NETWORK) && load<u32>(record, CALL_STARTED) !== 0;
}

/** Whether call and tables agree on encryption, and do not break the call's rule. */
function isAgreed(record: usize, encrypted: bool): bool {
  if (encrypted !== calls.has(record, CALL_ENCRYPTS)) return false;
  return encrypted || !calls.has(record, CALL_REQUIRES_MPPE);
}

/** So many packets more do not leave for want of a window. */
export function refused(peer: usize, packets: u32): void {
  calls.count(load<u32>(peer, P_SESSION), CALL_WINDOW_DROPS, packets);
}

/**
 * Writes the peer's headers before the checked packet of `length` bytes at `innerAt`, and encrypts
 * it where it stands. Returns 0, or -Drop where it cannot leave by the call.
 */
export function encap(peer: usize, innerAt: usize, length: u32): i32 {
  const record: usize = load<u32>(peer, P_SESSION);
  if (!carries(record, peer)) return -Drop.NO_CALL;
  const encrypted = (load<u8>(peer, P_FLAGS) & PEER_ENCRYPTED) !== 0;
  if (!isAgreed(record, encrypted)) return -Drop.NOT_ENCRYPTED;
  const outer: u32 = load<u8>(peer, P_OVERHEAD);
  const payload = outer - PPTP_OVERHEAD + length;
  if (payload > PAYLOAD_MAX) return -Drop.TOO_BIG;
  const now_us = calls.now();
  if (!window.mayLeave(record, now_us)) return -Drop.WINDOW_FULL;
  const at = innerAt - outer;
  checksum.copy(at, peers.templateBase(peer, load<u8>(innerAt)) + P_TEMPLATE, outer);
  const number = window.next(record, now_us);
  const peerId: u32 = load<u16>(record, CALL_PEER_ID);
  pptp.fill(at, payload, peerId, number, load<u32>(record, CALL_HIGHEST));
  if (encrypted) {
    store<u8>(record, 1, CALL_BUSY);
    const state = calls.keysOf(record) + KEYS_SEND;
    mppe.encrypt(state, innerAt - COUNT_AND_PROTOCOL, COUNT_AND_PROTOCOL + length);
    store<u8>(record, 0, CALL_BUSY);
  }
  leave.acknowledged(record);
  calls.count(record, CALL_SENT_PACKETS, 1);
  calls.count(record, CALL_SENT_BYTES, payload);
  return 0;
}
