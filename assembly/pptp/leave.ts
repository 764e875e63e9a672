// What leaves by a call that the tables need not know: its other end stands in its record.

import * as counters from "../counters";
import * as output from "../output";
import {
  CALL_ACK_AT,
  CALL_ACKS_SENT,
  CALL_ADDRESS,
  CALL_FAMILY,
  CALL_HIGHEST,
  CALL_PEER_ID,
  CALL_UNACKED,
} from "../shared/calls";
import {
  D_FAMILY,
  D_PEER,
  D_PORT,
  D_PRIVATE,
  D_SOCKET,
  D_TOS,
  INGRESS,
  RAW_SOCKETS,
  SOCKET_GRE,
  SOCKET_IPIP4,
} from "../shared/layout";
import * as pptp from "../wire/pptp";
import * as calls from "./calls";

/** Bytes of the underlay arena that an acknowledgment takes. */
const ACK_ROOM: usize = 64;
/** TOS of control traffic: precedence 6, internetwork control (RFC 1812 section 4.3.2.5). */
export const TOS_CONTROL: u32 = 0xc0;
/** No entry of the tables. */
const NOBODY: u32 = 0xffff;

/** Sends the `length` bytes at `at`, which stay untouched until settle. */
export function datagram(
  record: usize,
  at: usize,
  length: u32,
  inner: u32,
  tos: u32,
  direction: u32,
): void {
  const descriptor = output.toWire(at, length, inner, direction);
  store<u16>(descriptor, RAW_SOCKETS + SOCKET_GRE - SOCKET_IPIP4, D_SOCKET);
  store<u8>(descriptor, tos, D_TOS);
  store<u16>(descriptor, 0, D_PORT);
  store<u8>(descriptor, load<u8>(record, CALL_FAMILY), D_FAMILY);
  store<u16>(descriptor, NOBODY, D_PRIVATE);
  v128.store(descriptor, v128.load(record, CALL_ADDRESS), D_PEER);
}

/** Something that leaves acknowledges all that came. */
export function acknowledged(record: usize): void {
  store<u32>(record, 0, CALL_UNACKED);
  store<f64>(record, 0, CALL_ACK_AT);
}

/** Acknowledges by a packet of its own. */
export function ack(record: usize): void {
  const at = output.takeWire(ACK_ROOM);
  const id: u32 = load<u16>(record, CALL_PEER_ID);
  const length = pptp.writeAck(at, id, load<u32>(record, CALL_HIGHEST));
  counters.generated(INGRESS, 1);
  datagram(record, at, length, 0, TOS_CONTROL, INGRESS);
  calls.count(record, CALL_ACKS_SENT, 1);
  acknowledged(record);
}
