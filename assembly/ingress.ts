// Underlay -> overlay: works through the datagrams and trains that were received, and counts them,
// here and nowhere else.

import * as coalesce from "./coalesce";
import * as counters from "./counters";
import * as decap from "./decap";
import * as dropRecord from "./drop-record";
import * as follow from "./follow";
import { isInSlots } from "./input";
import * as life from "./life";
import * as output from "./output";
import * as peers from "./peers";
import * as calls from "./pptp/receive";
import * as proof from "./proof";
import * as protocols from "./protocols";
import { Drop } from "./shared/drop";
import {
  BATCH,
  D_ADDRESS,
  D_CAPACITY,
  D_FAMILY,
  D_FLAG_TRUNCATED,
  D_FLAGS,
  D_LENGTH,
  D_PEER,
  D_SEGMENT,
  D_SOCKET,
  D_TOS,
  DESCRIPTOR_SIZE,
  HEADROOM,
  INGRESS,
  SLOT_SIZE,
  SOCKET_GRE,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_IN_NEXT,
  W_WIRE_SLOTS,
} from "./shared/layout";
import * as ipv4 from "./wire/ipv4";
import * as pptp from "./wire/pptp";
import { worker } from "./worker";

/** No inner packet is smaller than this, so a smaller segment makes no output. */
const SEGMENT_SIZE_MIN: u32 = 20;
/**
 * What the coalescer may take beside the packets themselves, and those that have waited for a
 * packet of a PPTP call.
 */
const SPARE_DESCRIPTORS: u32 = 256;
const SPARE_BYTES: usize = 786432;
/**
 * Of the underlay's output: an answer to each datagram of any train (neighbour.ANSWER_SIZE_MAX), or
 * the pieces of a usual one that goes on to other peers.
 */
const WIRE_DESCRIPTORS: u32 = 5600;
const WIRE_BYTES: usize = 2097152;
/** Of the TUN arena. */
const SPARE_BYTES_PER_SEGMENT: usize = 128;

/** Datagrams in a train of `length` bytes; an empty datagram is one too. */
function segmentsOf(length: u32, segment: u32): u32 {
  return segment === 0 || segment >= length ? 1 : (length + segment - 1) / segment;
}

/** Whether the outputs hold whatever the next descriptor makes. */
function hasRoom(descriptor: usize): bool {
  const length = min<u32>(load<u32>(descriptor, D_LENGTH), <u32>SLOT_SIZE);
  const segment: u32 = load<u16>(descriptor, D_SEGMENT);
  const isTiny = segment !== 0 && segment < SEGMENT_SIZE_MIN;
  const segments: u32 = isTiny ? 1 : segmentsOf(length, segment);
  // Once in super-packets, and once where packets must move to have room before them.
  const extra = <usize>segments * SPARE_BYTES_PER_SEGMENT + SPARE_BYTES;
  return (
    output.tunRoom() >= segments + SPARE_DESCRIPTORS &&
    output.wireRoom() >= WIRE_DESCRIPTORS &&
    output.tunArenaRoom() >= <usize>length + length + extra &&
    output.wireArenaRoom() >= WIRE_BYTES
  );
}

function drop(reason: i32, descriptor: usize, at: usize, packets: u32, bytes: u32): void {
  counters.dropped(INGRESS, reason, packets, bytes);
  dropRecord.keep(reason, descriptor, at, bytes);
}

function count(result: i32, descriptor: usize, at: usize, bytes: u32): void {
  if (result === decap.DELIVERED) return;
  if (result < 0) {
    drop(-result, descriptor, at, 1, bytes);
    return;
  }
  counters.consumed(INGRESS, 1);
  if (result === decap.ANSWERED) counters.generated(INGRESS, 1);
}

/** Where the room of the slot ends that a descriptor's bytes lie in. */
function roomEnd(descriptor: usize): usize {
  const at: usize = load<u32>(descriptor, D_ADDRESS);
  const slots = worker + W_WIRE_SLOTS;
  const slotEnd = slots + ((at - slots) / SLOT_SIZE + 1) * SLOT_SIZE;
  return <usize>min<u64>(<u64>at + load<u32>(descriptor, D_CAPACITY), slotEnd);
}

/**
 * Bytes of the outer header before a datagram: raw sockets hand over that of IPv4, whose length the
 * kernel has checked. -Drop where it is not there.
 */
function outerHeader(descriptor: usize, length: u32): i32 {
  if (!protocols.isRaw(load<u16>(descriptor, D_SOCKET))) return 0;
  if (load<u8>(descriptor, D_FAMILY) !== 4) return 0;
  if (length < ipv4.SIZE) return -Drop.TOO_SHORT;
  const header = ipv4.headerLength(load<u32>(descriptor, D_ADDRESS));
  return header < ipv4.SIZE || header > length ? -Drop.BAD_LENGTH : <i32>header;
}

/**
 * All datagrams of a descriptor that came from a known peer, behind `outer` bytes; an empty one is
 * one, too. Whether any brought something for the host or another peer.
 */
function takeSegments(
  descriptor: usize,
  peerIndex: u32,
  outer: u32,
  length: u32,
  segments: u32,
): bool {
  const at: usize = load<u32>(descriptor, D_ADDRESS) + outer;
  const socket: u32 = load<u16>(descriptor, D_SOCKET);
  const tos: u32 = load<u8>(descriptor, D_TOS);
  // Raw sockets hand over one by one what would be a train.
  proof.begin(segments > 1 || protocols.isRaw(socket));
  const step: u32 = segments === 1 ? length : load<u16>(descriptor, D_SEGMENT);
  let done = follow.run(socket, peerIndex, at, step, length, tos);
  if (done === length && length > 0) return true;
  let isData = done > 0;
  do {
    const bytes = min<u32>(step, length - done);
    follow.interrupt();
    const free = done === 0 ? <u32>HEADROOM + outer : 0;
    const result = decap.datagram(socket, peerIndex, at + done, bytes, tos, free);
    count(result, descriptor, at + done, bytes);
    if (result === decap.DELIVERED) isData = true;
    done += bytes;
    if (coalesce.latest(worker) !== 0) {
      follow.setLimit(roomEnd(descriptor));
      done += follow.run(socket, peerIndex, at + done, step, length - done, tos);
    }
  } while (done < length);
  return isData;
}

/**
 * One descriptor: a datagram or a train, all of one outer source. Returns 1 + the index of the peer
 * that sent something for the host by it, else 0.
 */
function take(descriptor: usize): u32 {
  if (!isInSlots(descriptor, worker + W_WIRE_SLOTS)) {
    counters.received(INGRESS, 1, 0);
    counters.dropped(INGRESS, Drop.BAD_LENGTH, 1, 0);
    return 0;
  }
  const bytes = load<u32>(descriptor, D_LENGTH);
  const outer = outerHeader(descriptor, bytes);
  const length = bytes - max<i32>(outer, 0);
  const segments = segmentsOf(length, load<u16>(descriptor, D_SEGMENT));
  counters.received(INGRESS, segments, length);
  const at = <usize>load<u32>(descriptor, D_ADDRESS) + max<i32>(outer, 0);
  if (load<u8>(descriptor, D_FLAGS) & D_FLAG_TRUNCATED) {
    drop(Drop.TRUNCATED, descriptor, at, segments, length);
    return 0;
  }
  if (outer < 0) {
    drop(-outer, descriptor, at, segments, length);
    return 0;
  }
  const isGre = load<u16>(descriptor, D_SOCKET) === SOCKET_GRE && segments === 1;
  if (isGre && pptp.isCall(at, length)) {
    calls.take(descriptor, at, length, <u32>HEADROOM + outer);
    return 0;
  }
  const peerIndex = peers.find(descriptor + D_PEER, load<u8>(descriptor, D_FAMILY));
  if (peerIndex < 0) {
    drop(Drop.UNKNOWN_PEER, descriptor, at, segments, length);
    return 0;
  }
  const isData = takeSegments(descriptor, peerIndex, outer, length, segments);
  return isData ? <u32>peerIndex + 1 : 0;
}

/** Works through the underlay input; stops early when an output is nearly full. */
export function run(): void {
  proof.forget();
  const count = min<u32>(load<u32>(worker, W_WIRE_IN_COUNT), BATCH);
  let next = load<u32>(worker, W_WIRE_IN_NEXT);
  let heard: u32 = 0;
  for (; next < count; next++) {
    const descriptor = worker + W_WIRE_IN + <usize>next * DESCRIPTOR_SIZE;
    if (!hasRoom(descriptor)) break;
    const from = take(descriptor);
    // Once for what comes of one peer in a row.
    if (from !== 0 && from !== heard) {
      life.brought(from - 1);
      heard = from;
    }
  }
  store<u32>(worker, next, W_WIRE_IN_NEXT);
}
