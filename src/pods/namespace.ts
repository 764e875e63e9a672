// Where a pod lives: which namespace it gets, whether it can live there, and who removes it.
import { stat } from "node:fs/promises";
import { createNamespace, findLink, namespaceExists, namespacePath } from "../host/index.js";
import { PodError } from "./errors.js";
import type { Pod } from "./types.js";

/** The name of a pod's own interface. */
export const POD_DEVICE = "eth0";

/** Which namespace a pod gets and whether it is ours to make and remove. */
export async function chooseNamespace(
  name: string,
  asked: string | undefined,
): Promise<{ netns: string; ownsNetns: boolean }> {
  const netns = asked ?? name;
  const exists = await namespaceExists(netns).catch((error: unknown) => {
    throw new PodError("MESHD_POD_NETNS", error instanceof Error ? error.message : String(error));
  });
  if (!exists) {
    if (!netns.startsWith("/")) return { netns, ownsNetns: true };
    const what = `no network namespace at ${namespacePath(netns)}`;
    throw new PodError("MESHD_POD_NETNS", `${what}; give the path of one that is there, or a name`);
  }
  if (asked === undefined) {
    const what = `network namespace ${netns} is there already; to use it: --netns ${netns}`;
    throw new PodError("MESHD_POD_NETNS", what);
  }
  await checkUsable(netns);
  return { netns, ownsNetns: false };
}

/** Throws MESHD_POD_NETNS when a pod cannot live in that namespace. */
export async function checkUsable(netns: string): Promise<void> {
  const [theirs, ours] = await Promise.all([stat(namespacePath(netns)), stat("/proc/self/ns/net")]);
  if (theirs.ino === ours.ino && theirs.dev === ours.dev) {
    const what = `network namespace ${netns} is the node's own`;
    throw new PodError("MESHD_POD_NETNS", `${what}; give the pod another one`);
  }
  if ((await findLink(POD_DEVICE, { netns })) !== undefined) {
    const what = `network namespace ${netns} has a device ${POD_DEVICE} already`;
    throw new PodError("MESHD_POD_NETNS", `${what}; one pod per namespace`);
  }
}

/** Makes a namespace of ours again when it is gone. Says how many were made. */
export async function ensureNamespace(pod: Pod): Promise<number> {
  if (await namespaceExists(pod.netns)) return 0;
  if (!pod.ownsNetns) {
    const what = `network namespace ${pod.netns} of pod ${pod.name} is gone`;
    throw new PodError("MESHD_POD_NETNS", `${what}; make it again, or remove the pod`);
  }
  await createNamespace(pod.netns);
  return 1;
}
