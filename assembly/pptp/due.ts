// What calls have due without anything coming: acknowledgments that nothing carried, packets that
// waited long enough. Only calls in the list are looked at; at rest it is empty, and nothing wakes.
import * as coalesce from "../coalesce";
import * as follow from "../follow";
import * as proof from "../proof";
import {
  CALL_ACK_AT,
  CALL_IS_ACTIVE,
  CALL_NEXT,
  CALL_OPEN,
  CALL_STATE,
  CALL_UNACKED,
  CALLS_ACTIVE,
} from "../shared/calls";
import { worker } from "../worker";
import * as calls from "./calls";
import * as leave from "./leave";
import * as order from "./order";
import { hasRoom } from "./receive";

/** So many packets are acknowledged at once: the other end may be waiting. */
const UNACKED_MAX: u32 = 8;

/** Does what one open call has due. Returns when there is more; +Infinity: when something comes. */
function attend(record: usize, now_us: f64): f64 {
  order.expire(record, now_us);
  const ackAt = load<f64>(record, CALL_ACK_AT);
  const isDue = ackAt <= now_us || load<u32>(record, CALL_UNACKED) >= UNACKED_MAX;
  if (ackAt !== 0 && isDue) leave.ack(record);
  const left = load<f64>(record, CALL_ACK_AT);
  return min<f64>(order.deadline(record), left === 0 ? Infinity : left);
}

/**
 * Goes through the calls in the list, and takes those out that have nothing due any more. Returns
 * the time in microseconds at which to be called again, or +Infinity.
 */
export function tick(now_us: f64): f64 {
  // Where the slot + 1 of the next call stands.
  let link = calls.region() + CALLS_ACTIVE;
  if (load<u32>(link) === 0 || !calls.isOwner()) return Infinity;
  let first = Infinity;
  follow.interrupt();
  proof.begin(true);
  while (load<u32>(link) !== 0) {
    if (!hasRoom()) return now_us;
    const record = calls.recordAt(load<u32>(link) - 1);
    const isOpen = load<u32>(record, CALL_STATE) === CALL_OPEN;
    const next = isOpen ? attend(record, now_us) : Infinity;
    first = min<f64>(first, next);
    if (next === Infinity) {
      store<u32>(link, load<u32>(record, CALL_NEXT));
      store<u32>(record, 0, CALL_IS_ACTIVE);
    } else {
      link = record + CALL_NEXT;
    }
  }
  coalesce.forgetLatest(worker);
  return first;
}
