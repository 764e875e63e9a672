// Takes the queueing discipline off a device whose driver has a queue of its own, as TUN has: there
// a packet waits nowhere else, and every packet would pay for the look at an empty queue.
import { run, runJson, type Where } from "./command.js";
import { objectsIn, textAt } from "./json.js";
import { checkDeviceName } from "./links.js";

/** What kernels give a device by themselves. "fq" is not among them: it paces its senders. */
const BY_ITSELF: readonly string[] = ["pfifo_fast", "fq_codel"];

/**
 * Leaves the discipline out where it is one that the kernel gave the device by itself; what an
 * administrator chose stays, and so does that of several queues. Says whether that was a change.
 * Throws MESHD_HOST_TOOL_MISSING without `tc`, MESHD_HOST_COMMAND where the kernel refuses.
 */
export async function leaveOutQueueing(name: string, where: Where = {}): Promise<boolean> {
  const device = checkDeviceName(name);
  const [link] = objectsIn(await runJson(["ip", "-json", "link", "show", "dev", device], where));
  const discipline = link === undefined ? undefined : textAt(link, "qdisc");
  if (discipline === undefined || !BY_ITSELF.includes(discipline)) return false;
  await run(["tc", "qdisc", "replace", "dev", device, "root", "noqueue"], where);
  return true;
}
