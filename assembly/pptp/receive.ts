// Packets of PPTP calls as the raw GRE socket hands them over: enhanced GRE off, the call found by
// its id and source, acknowledgment and number taken.
import * as coalesce from "../coalesce";
import * as decap from "../decap";
import * as dropRecord from "../drop-record";
import * as follow from "../follow";
import * as output from "../output";
import * as proof from "../proof";
import { CALL_HELD_MAX, HELD_BYTES_MAX } from "../shared/calls";
import { Drop } from "../shared/drop";
import { D_FAMILY, D_PEER, D_TOS } from "../shared/layout";
import * as pptp from "../wire/pptp";
import { worker } from "../worker";
import * as calls from "./calls";
import * as order from "./order";
import * as window from "./window";

/** Room that one packet may need together with all those that waited for it. */
const TUN_DESCRIPTORS: u32 = 256;
const WIRE_DESCRIPTORS: u32 = 5600;
const HELD_BYTES: usize = <usize>(CALL_HELD_MAX * (HELD_BYTES_MAX + 1024));
const TUN_BYTES: usize = 524288 + HELD_BYTES;
const WIRE_BYTES: usize = 2097152;

/** Whether the outputs hold whatever a packet of a call makes, or the end of a wait. */
export function hasRoom(): bool {
  return (
    output.tunRoom() >= TUN_DESCRIPTORS &&
    output.wireRoom() >= WIRE_DESCRIPTORS &&
    output.tunArenaRoom() >= TUN_BYTES &&
    output.wireArenaRoom() >= WIRE_BYTES
  );
}

/** Takes a packet as `take`. Returns decap.DELIVERED, also where it is held; or as decap. */
function takeOne(descriptor: usize, at: usize, length: u32, free: u32): i32 {
  const header = pptp.check(at, length);
  if (header < 0) return header;
  const family: u32 = load<u8>(descriptor, D_FAMILY);
  const record = calls.find(pptp.callId(at), descriptor + D_PEER, family);
  if (record === 0) return -Drop.UNKNOWN_CALL;
  if (pptp.hasAck(at)) window.acknowledged(record, pptp.ack(at), calls.now());
  if (!pptp.hasSequence(at)) return decap.CONSUMED;
  const payload = pptp.payloadLength(at);
  const number = pptp.sequence(at);
  const tos: u32 = load<u8>(descriptor, D_TOS);
  follow.interrupt();
  proof.begin(true);
  const result = order.take(record, number, at + header, payload, tos, free + header);
  // What comes next by another way must not be put behind what came by this one.
  coalesce.forgetLatest(worker);
  return result;
}

/**
 * Takes one packet of `length` bytes at `at`, that came by a descriptor, and counts what became of
 * it; `free` bytes before it are nobody's.
 */
export function take(descriptor: usize, at: usize, length: u32, free: u32): void {
  const result = takeOne(descriptor, at, length, free);
  if (result < 0) dropRecord.keep(-result, descriptor, at, length);
  order.count(result, length);
}
