// Takes the queueing discipline off a device whose driver has a queue of its own, as TUN has: there
// a packet waits nowhere else, and every packet would pay for the look at an empty queue.
import { run, runJson, type Where } from "./command.js";
import { objectsIn, textAt } from "./json.js";
import { checkDeviceName } from "./links.js";

/** What kernels give a device by themselves. "fq" is not among them: it paces its senders. */
const BY_ITSELF: readonly string[] = ["pfifo_fast", "fq_codel"];
/** Root of a device of several queues, each of which has a discipline of its own. */
const MANY = "mq";

/**
 * Leaves the discipline out where it is one that the kernel gave the device by itself, on one queue
 * or on all of several; what an administrator chose stays. Says whether that was a change.
 * Throws MESHD_HOST_TOOL_MISSING without `tc`, MESHD_HOST_COMMAND where the kernel refuses.
 */
export async function leaveOutQueueing(name: string, where: Where = {}): Promise<boolean> {
  const device = checkDeviceName(name);
  const list = await runJson(["tc", "-json", "qdisc", "show", "dev", device], where);
  const kinds = objectsIn(list).map((discipline) => textAt(discipline, "kind") ?? "");
  const isOurs = (kind: string) => kind === MANY || BY_ITSELF.includes(kind);
  if (kinds.length === 0 || !kinds.every(isOurs)) return false;
  await run(["tc", "qdisc", "replace", "dev", device, "root", "noqueue"], where);
  return true;
}
