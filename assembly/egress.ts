// Overlay -> underlay: works through what was read from TUN and what the control thread injected,
// and counts it, here and nowhere else.
import * as counters from "./counters";
import * as encap from "./encap";
import { isInSlots } from "./input";
import * as output from "./output";
import * as commands from "./pptp/commands";
import * as ring from "./ring";
import { Drop } from "./shared/drop";
import {
  BATCH,
  D_ADDRESS,
  D_LENGTH,
  DESCRIPTOR_SIZE,
  EGRESS,
  ENTRY_DATA,
  ENTRY_GENERATION,
  ENTRY_KIND,
  ENTRY_LENGTH,
  ENTRY_PEER,
  HEADROOM,
  INJECT_PACKET,
  MAX_CUT,
  MAX_CUT_BYTES,
  VNET_HEADER_SIZE,
  W_TUN_IN,
  W_TUN_IN_COUNT,
  W_TUN_IN_NEXT,
  W_TUN_SLOTS,
} from "./shared/layout";
import * as vnet from "./wire/vnet";
import { worker } from "./worker";

/** Output descriptors and TUN arena bytes that one packet may take at most. */
const WIRE_DESCRIPTORS_MAX: u32 = MAX_CUT;
const DESCRIPTORS_MAX: u32 = 64;
const ANSWER_BYTES_MAX: usize = 4096;
/** Underlay arena bytes: all segments of a super-packet, or an injected packet, and alignment. */
const ARENA_BYTES_MAX: usize = MAX_CUT_BYTES + 64;

/** Whether the outputs hold whatever the next packet makes. */
function hasRoom(): bool {
  return (
    output.wireRoom() >= WIRE_DESCRIPTORS_MAX &&
    output.tunRoom() >= DESCRIPTORS_MAX &&
    output.wireArenaRoom() >= ARENA_BYTES_MAX &&
    output.tunArenaRoom() >= ANSWER_BYTES_MAX
  );
}

function drop(result: i32, packets: u32, bytes: u32): void {
  counters.dropped(EGRESS, -result, packets, bytes);
}

function superPacket(vnetAt: usize, innerAt: usize, length: u32, now_us: f64): void {
  const segments = encap.segmentsOf(vnetAt, innerAt, length);
  if (segments < 0) {
    counters.received(EGRESS, 1, length);
    drop(segments, 1, length);
    return;
  }
  counters.superPacket(EGRESS);
  const result = encap.superPacket(vnetAt, innerAt, length, now_us);
  counters.received(EGRESS, result < 0 ? segments : result, length);
  if (result < 0) drop(result, segments, length);
}

/** One packet or super-packet read from TUN. */
function take(descriptor: usize, now_us: f64): void {
  const length = load<u32>(descriptor, D_LENGTH);
  if (!isInSlots(descriptor, worker + W_TUN_SLOTS) || length < <u32>VNET_HEADER_SIZE) {
    counters.received(EGRESS, 1, 0);
    drop(length < <u32>VNET_HEADER_SIZE ? -Drop.TOO_SHORT : -Drop.BAD_LENGTH, 1, 0);
    return;
  }
  const vnetAt: usize = load<u32>(descriptor, D_ADDRESS);
  const innerAt = vnetAt + VNET_HEADER_SIZE;
  const bytes = length - <u32>VNET_HEADER_SIZE;
  if (vnet.gsoKind(vnetAt) !== vnet.GSO_NONE) {
    superPacket(vnetAt, innerAt, bytes, now_us);
    return;
  }
  const result = encap.single(vnetAt, innerAt, bytes, now_us);
  counters.received(EGRESS, result < 0 ? 1 : result, bytes);
  if (result < 0) drop(result, 1, bytes);
}

/** Works through the TUN input; stops early when an output is nearly full. */
export function run(now_us: f64): void {
  const count = min<u32>(load<u32>(worker, W_TUN_IN_COUNT), BATCH);
  let next = load<u32>(worker, W_TUN_IN_NEXT);
  for (; next < count && hasRoom(); next++) {
    take(worker + W_TUN_IN + <usize>next * DESCRIPTOR_SIZE, now_us);
  }
  store<u32>(worker, next, W_TUN_IN_NEXT);
}

/**
 * One packet of the control thread; its bytes move to the arena, for the ring's entry goes back.
 */
function takeInjected(entry: usize): void {
  const length = load<u32>(entry, ENTRY_LENGTH);
  const isWhole = length <= ring.CAPACITY && load<u32>(entry, ENTRY_KIND) === INJECT_PACKET;
  counters.generated(EGRESS, 1);
  if (!isWhole) {
    drop(-Drop.BAD_LENGTH, 1, 0);
    return;
  }
  const at = output.takeWire(HEADROOM + length) + HEADROOM;
  memory.copy(at, entry + ENTRY_DATA, length);
  const named = load<u32>(entry, ENTRY_PEER);
  const result =
    named === 0
      ? encap.injected(at, length)
      : encap.injectedTo(named - 1, load<u32>(entry, ENTRY_GENERATION), at, length);
  if (result < 0) drop(result, 1, length);
}

/** Sends what the control thread injected; the rest waits when an output is nearly full. */
export function runInjected(): void {
  for (let entry = ring.injected(); entry !== 0 && hasRoom(); entry = ring.injected()) {
    if (!commands.take(entry)) takeInjected(entry);
    ring.release();
  }
}
