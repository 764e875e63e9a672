// Hands datagrams to the underlay: socket by flow, and small trains out of packets that follow each
// other. One UDP_SEGMENT send carries up to MAX_SEGMENTS equal datagrams, the last may be shorter.
// Raw sockets know no trains, nor do those that let the kernel fragment (IPv4; of IPv6: pieces.ts)
// or send no checksums: there each datagram is a message of its own.
import * as output from "./output";
import * as peers from "./peers";
import {
  BATCH,
  D_ADDRESS,
  D_CAPACITY,
  D_FAMILY,
  D_LENGTH,
  D_PEER,
  D_PORT,
  D_PRIVATE,
  D_SEGMENT,
  D_SEGMENTS,
  D_SOCKET,
  D_TOS,
  ENTROPY_SOCKETS,
  FRAGMENT_SOCKETS,
  MAX_SEGMENTS,
  MAX_SEND,
  PROTOCOL_GRE,
  PROTOCOL_IPIP,
  RAW_SOCKETS,
  SLOT_SIZE,
  SOCKET_GRE,
  SOCKET_IPIP4,
  SOCKET_IPIP6,
  W_TRAINS,
  W_TUN_SLOTS,
} from "./shared/layout";
import { P_ADDRESS, P_FAMILY, P_FLAGS, P_PORT, P_PROTOCOL, PEER_LONE } from "./shared/tables";
import { worker } from "./worker";

// An open train per UDP socket: u32 descriptor, 0 = none.
const TRAIN_SIZE: usize = 4;

/** As `socketOf`, of those whose outer packets have don't-fragment set. */
function wholeSocketOf(peerIndex: u32, at: usize, hash: u32): u32 {
  const protocol: u32 = load<u8>(peers.at(peerIndex), P_PROTOCOL);
  if (protocol < PROTOCOL_IPIP) return 1 + (hash % (ENTROPY_SOCKETS - 1));
  if (protocol >= PROTOCOL_GRE) return RAW_SOCKETS + SOCKET_GRE - SOCKET_IPIP4;
  return RAW_SOCKETS + (load<u8>(at) >> 4 === 6 ? SOCKET_IPIP6 - SOCKET_IPIP4 : 0);
}

/**
 * Socket of a flow to a peer, whose datagram stands at `at`: a raw one by IP protocol, or one of
 * several for UDP: never the listening one, and always the same for the same hash. With `fragments`
 * its twin that lets outer packets be fragmented.
 */
function socketOf(peerIndex: u32, at: usize, hash: u32, fragments: bool): u32 {
  return wholeSocketOf(peerIndex, at, hash) + (fragments ? FRAGMENT_SOCKETS : 0);
}

/** Whether each datagram to a peer by that socket is a message of its own. */
function isLone(peerIndex: u32, socket: u32): bool {
  return socket >= RAW_SOCKETS || (load<u8>(peers.at(peerIndex), P_FLAGS) & PEER_LONE) !== 0;
}

function trainAt(socket: u32): usize {
  return worker + W_TRAINS + <usize>socket * TRAIN_SIZE;
}

/** Forgets all open trains: their descriptors are gone. */
export function closeTrains(): void {
  for (let socket: u32 = 0; socket < ENTROPY_SOCKETS; socket++) store<u32>(trainAt(socket), 0);
}

/** Fills in where a descriptor goes. */
export function direct(descriptor: usize, peerIndex: u32, socket: u32, tos: u32): void {
  const peer = peers.at(peerIndex);
  store<u16>(descriptor, socket, D_SOCKET);
  store<u8>(descriptor, tos, D_TOS);
  store<u16>(descriptor, load<u16>(peer, P_PORT), D_PORT);
  store<u8>(descriptor, load<u8>(peer, P_FAMILY), D_FAMILY);
  store<u16>(descriptor, peerIndex, D_PRIVATE);
  v128.store(descriptor, v128.load(peer, P_ADDRESS), D_PEER);
}

/**
 * Whether a datagram may follow in the train: same way, same marks, not longer, and room for it.
 */
function fits(train: usize, peerIndex: u32, tos: u32, length: u32): bool {
  const segment: u32 = load<u16>(train, D_SEGMENT);
  const first = segment === 0 ? load<u32>(train, D_LENGTH) : segment;
  return (
    load<u16>(train, D_PRIVATE) === peerIndex &&
    load<u8>(train, D_TOS) === tos &&
    length <= first &&
    load<u32>(train, D_LENGTH) + length <= MAX_SEND &&
    load<u16>(train, D_SEGMENTS) < MAX_SEGMENTS
  );
}

/**
 * Adds a datagram to the socket's open train, behind the others in the first one's slot. Returns
 * false where there is none that it fits.
 */
function join(slot: usize, peerIndex: u32, at: usize, length: u32, inner: u32, tos: u32): bool {
  const train: usize = load<u32>(slot);
  if (train === 0 || !fits(train, peerIndex, tos, length)) return false;
  const used = load<u32>(train, D_LENGTH);
  const segments: u32 = load<u16>(train, D_SEGMENTS);
  if (segments === 1) store<u16>(train, used, D_SEGMENT);
  memory.copy(load<u32>(train, D_ADDRESS) + used, at, length);
  store<u32>(train, used + length, D_LENGTH);
  store<u32>(train, load<u32>(train, D_CAPACITY) + inner, D_CAPACITY);
  store<u16>(train, segments + 1, D_SEGMENTS);
  // A shorter datagram ends a train: all but the last must be equal.
  if (length < <u32>load<u16>(train, D_SEGMENT)) store<u32>(slot, 0);
  return true;
}

/**
 * Sends one datagram of `length` bytes at `at`, which stay untouched until settle. `innerLength` is
 * what of it is the inner packet. One that lies in a slot of TUN, with room for a whole send behind
 * it, opens a train for those that follow in this run.
 */
export function datagram(
  peerIndex: u32,
  at: usize,
  length: u32,
  innerLength: u32,
  tos: u32,
  hash: u32,
  direction: u32,
  fragments: bool = false,
): void {
  const socket = socketOf(peerIndex, at, hash, fragments);
  const slot = trainAt(socket);
  const isAlone = isLone(peerIndex, socket);
  const mayJoin = !isAlone && at - (worker + W_TUN_SLOTS) < SLOT_SIZE * BATCH;
  if (mayJoin && join(slot, peerIndex, at, length, innerLength, tos)) return;
  const descriptor = output.toWire(at, length, innerLength, direction);
  direct(descriptor, peerIndex, socket, tos);
  if (!isAlone) store<u32>(slot, mayJoin ? <u32>descriptor : 0);
}

/**
 * Sends `count` datagrams of `stride` bytes that stand one behind the other at `at`; the last may
 * be shorter, together they are `length` bytes. `overhead` of each is not the inner packet.
 */
export function train(
  peerIndex: u32,
  at: usize,
  length: u32,
  count: u32,
  stride: u32,
  overhead: u32,
  tos: u32,
  hash: u32,
  direction: u32,
  fragments: bool,
): void {
  const socket = socketOf(peerIndex, at, hash, fragments);
  const isAlone = isLone(peerIndex, socket);
  if (!isAlone) store<u32>(trainAt(socket), 0);
  const step = isAlone ? 1 : min<u32>(MAX_SEGMENTS, MAX_SEND / stride);
  for (let done: u32 = 0; done < count; done += step) {
    const segments = min<u32>(step, count - done);
    const bytes = min<u32>(segments * stride, length - done * stride);
    const inner = bytes - segments * overhead;
    const descriptor = output.toWire(at + done * stride, bytes, inner, direction);
    store<u16>(descriptor, segments === 1 ? 0 : stride, D_SEGMENT);
    store<u16>(descriptor, segments, D_SEGMENTS);
    direct(descriptor, peerIndex, socket, tos);
  }
}
