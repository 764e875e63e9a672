// The two outputs of a run: descriptors for TUN and for the underlay, and their byte arenas.

import {
  ARENA_SIZE,
  D_ADDRESS,
  D_CAPACITY,
  D_DIRECTION,
  D_FAILED,
  D_LENGTH,
  D_SEGMENT,
  D_SEGMENTS,
  D_SOCKET,
  D_STATUS,
  DESCRIPTOR_SIZE,
  OUT_DESCRIPTORS,
  STATUS_PENDING,
  W_TUN_ARENA,
  W_TUN_ARENA_USED,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_WIRE_ARENA,
  W_WIRE_ARENA_USED,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
} from "./shared/layout";
import { worker } from "./worker";

// Cache line: two arena blocks never share one.
const ALIGN: usize = 64;

/** Descriptors the TUN output still holds. */
export function tunRoom(): u32 {
  return OUT_DESCRIPTORS - load<u32>(worker, W_TUN_OUT_COUNT);
}

/** Descriptors the underlay output still holds. */
export function wireRoom(): u32 {
  return OUT_DESCRIPTORS - load<u32>(worker, W_WIRE_OUT_COUNT);
}

/** Bytes the TUN arena still holds. */
export function tunArenaRoom(): usize {
  return ARENA_SIZE - load<u32>(worker, W_TUN_ARENA_USED);
}

/** Bytes the underlay arena still holds. */
export function wireArenaRoom(): usize {
  return ARENA_SIZE - load<u32>(worker, W_WIRE_ARENA_USED);
}

/** Takes `length` bytes of the TUN arena until settle; the caller has asked for room before. */
export function takeTun(length: usize): usize {
  const used: usize = load<u32>(worker, W_TUN_ARENA_USED);
  store<u32>(worker, (used + length + ALIGN - 1) & ~(ALIGN - 1), W_TUN_ARENA_USED);
  return worker + W_TUN_ARENA + used;
}

/**
 * Takes `length` bytes of the underlay arena until settle; the caller has asked for room before.
 */
export function takeWire(length: usize): usize {
  const used: usize = load<u32>(worker, W_WIRE_ARENA_USED);
  store<u32>(worker, (used + length + ALIGN - 1) & ~(ALIGN - 1), W_WIRE_ARENA_USED);
  return worker + W_WIRE_ARENA + used;
}

function start(at: usize, address: usize, length: usize, direction: u32): void {
  store<u32>(at, address, D_ADDRESS);
  store<u32>(at, length, D_LENGTH);
  store<u16>(at, 0, D_SEGMENT);
  store<u8>(at, direction, D_DIRECTION);
  store<u16>(at, 1, D_SEGMENTS);
  store<u16>(at, 0, D_SOCKET);
  store<u32>(at, STATUS_PENDING, D_STATUS);
  store<u16>(at, 0, D_FAILED);
}

/**
 * Appends a packet for TUN. `address` is that of its vnet header, `length` includes the header.
 * Returns the descriptor: a super-packet's writer then sets SEGMENTS and raises CAPACITY.
 */
export function toTun(address: usize, length: usize, innerBytes: u32, direction: u32): usize {
  const count = load<u32>(worker, W_TUN_OUT_COUNT);
  const at = worker + W_TUN_OUT + <usize>count * DESCRIPTOR_SIZE;
  store<u32>(worker, count + 1, W_TUN_OUT_COUNT);
  start(at, address, length, direction);
  store<u32>(at, innerBytes, D_CAPACITY);
  return at;
}

/** Appends a datagram for the underlay; the caller adds peer, port, family, socket and TOS. */
export function toWire(address: usize, length: usize, innerBytes: u32, direction: u32): usize {
  const count = load<u32>(worker, W_WIRE_OUT_COUNT);
  const at = worker + W_WIRE_OUT + <usize>count * DESCRIPTOR_SIZE;
  store<u32>(worker, count + 1, W_WIRE_OUT_COUNT);
  start(at, address, length, direction);
  store<u32>(at, innerBytes, D_CAPACITY);
  return at;
}

/** The descriptor appended last for the underlay. */
export function latestToWire(): usize {
  const count = load<u32>(worker, W_WIRE_OUT_COUNT);
  return worker + W_WIRE_OUT + <usize>(count - 1) * DESCRIPTOR_SIZE;
}
