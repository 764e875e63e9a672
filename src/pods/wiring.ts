// Puts one pod into the kernel, mends it, takes it out: namespace, veth pair, addresses, routes. Every
// step compares first, so that a pod which is as it should be costs reads only.
import { stat } from "node:fs/promises";
import {
  addVeth,
  createNamespace,
  deleteLink,
  deleteNamespace,
  findLink,
  HostError,
  namespaceExists,
  namespacePath,
  POD_ROUTE_PROTOCOL,
  reconcileAddresses,
  reconcileRoutes,
  setLink,
  type WantedRoute,
  writeSysctl,
} from "../host/index.js";
import { PodError } from "./errors.js";
import type { Pod } from "./types.js";

/** The name of a pod's own interface. */
export const POD_DEVICE = "eth0";
/** The pods' IPv4 gateway: nobody has this address, the host answers for it by proxy ARP. */
export const GATEWAY4 = "169.254.1.1";
/** The pods' IPv6 gateway: an address of the host's end of each pair. */
export const GATEWAY6 = "fe80::1";

/** What all pods of a node have in common. */
export interface PairSettings {
  /** Bytes. */
  mtu: number;
  /**
   * The overlay device's: a pod that makes larger super-packets would have each one cut into single
   * packets by the kernel before the overlay device sees it.
   */
  gsoMaxSize: number | undefined;
}

/** Makes the kernel's side of a pod as it should be. Says how many things were changed. */
export async function wire(pod: Pod, settings: PairSettings): Promise<number> {
  let changes = await ensureNamespace(pod);
  changes += await ensurePair(pod, settings.mtu);
  changes += await wireHostEnd(pod, settings.mtu);
  changes += await wirePodEnd(pod, settings);
  return changes;
}

/** Takes the pod out of the kernel. A namespace that somebody else made stays. */
export async function unwire(pod: Pod): Promise<void> {
  await deleteLink(pod.hostDevice);
  if (pod.ownsNetns) await deleteNamespace(pod.netns);
}

/** Sets the MTU of both ends. Says how many were changed. */
export async function setPairMtu(pod: Pod, mtu: number): Promise<number> {
  const inside = await setLink(POD_DEVICE, { mtu }, { netns: pod.netns });
  return inside + (await setLink(pod.hostDevice, { mtu }));
}

/** Routes on the host to one pod. */
export function hostRoutes(pod: Pod): WantedRoute[] {
  return pod.addresses.map((address) => ({ destination: address, device: pod.hostDevice }));
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

async function ensureNamespace(pod: Pod): Promise<number> {
  if (await namespaceExists(pod.netns)) return 0;
  if (!pod.ownsNetns) {
    const what = `network namespace ${pod.netns} of pod ${pod.name} is gone`;
    throw new PodError("MESHD_POD_NETNS", `${what}; make it again, or remove the pod`);
  }
  await createNamespace(pod.netns);
  return 1;
}

/** Both ends exist and belong together, else the pair is made anew. */
async function ensurePair(pod: Pod, mtu: number): Promise<number> {
  const where = { netns: pod.netns };
  const [outer, inner] = await Promise.all([findLink(pod.hostDevice), findLink(POD_DEVICE, where)]);
  const paired = outer?.peerIndex === inner?.index && inner?.peerIndex === outer?.index;
  if (outer !== undefined && inner !== undefined && paired) return 0;
  if (outer !== undefined) await deleteLink(pod.hostDevice);
  else if (inner !== undefined) await checkUsable(pod.netns);
  const peer = { peerName: POD_DEVICE, peerNetns: pod.netns };
  await addVeth({ name: pod.hostDevice, ...peer, mtu });
  return 1;
}

async function wireHostEnd(pod: Pod, mtu: number): Promise<number> {
  const device = pod.hostDevice;
  // The kernel answers a proxied ARP request after a random wait of up to 0.8 s unless told not to.
  let changes = await setAll({
    [`ipv4/conf/${device}/proxy_arp`]: 1,
    [`ipv4/conf/${device}/forwarding`]: 1,
    [`ipv4/neigh/${device}/proxy_delay`]: 0,
  });
  if (hasIPv6(pod)) {
    changes += await setAll({
      [`ipv6/conf/${device}/disable_ipv6`]: 0,
      [`ipv6/conf/${device}/accept_ra`]: 0,
    });
  }
  // Without "none" the device would have a second link-local address of its own.
  changes += await setLink(device, { mtu, addressMode: "none", up: true });
  return changes + (await reconcileAddresses(device, hasIPv6(pod) ? [`${GATEWAY6}/64`] : []));
}

async function wirePodEnd(pod: Pod, { mtu, gsoMaxSize }: PairSettings): Promise<number> {
  const where = { netns: pod.netns };
  let changes = await setLink("lo", { up: true }, where);
  if (hasIPv6(pod)) {
    // accept_dad 0: the link-local address works at once, not after a second of asking around.
    changes += await setAll(
      {
        [`ipv6/conf/${POD_DEVICE}/disable_ipv6`]: 0,
        [`ipv6/conf/${POD_DEVICE}/accept_ra`]: 0,
        [`ipv6/conf/${POD_DEVICE}/accept_dad`]: 0,
      },
      where,
    );
  }
  const gso = gsoMaxSize === undefined ? {} : { gsoMaxSize };
  changes += await setLink(POD_DEVICE, { mtu, ...gso, up: true }, where);
  changes += await reconcileAddresses(POD_DEVICE, pod.addresses, where);
  const scope = { devices: [POD_DEVICE], pools: [], protocol: POD_ROUTE_PROTOCOL };
  const result = await reconcileRoutes(podRoutes(pod), scope, where);
  const foreign = result.conflicts[0]?.foreign;
  if (foreign !== undefined) {
    const what = `namespace ${pod.netns} has a route ${foreign.destination} of somebody else`;
    throw new PodError("MESHD_POD_NETNS", `${what} with our metric; remove it`);
  }
  return changes + result.changes;
}

/** Routes inside the pod: everything by the gateway. */
function podRoutes(pod: Pod): WantedRoute[] {
  return pod.addresses.flatMap((source): WantedRoute[] => {
    const device = POD_DEVICE;
    if (source.includes(":")) return [{ destination: "::/0", via: GATEWAY6, device, source }];
    return [
      { destination: GATEWAY4, device },
      { destination: "0.0.0.0/0", via: GATEWAY4, device, source },
    ];
  });
}

async function setAll(
  values: Readonly<Record<string, number>>,
  where: { netns?: string } = {},
): Promise<number> {
  let changes = 0;
  for (const [key, value] of Object.entries(values)) {
    if ((await writeSysctl(key, value, where)) !== undefined) changes += 1;
  }
  return changes;
}

function hasIPv6(pod: Pod): boolean {
  return pod.addresses.some((address) => address.includes(":"));
}

/** One line for anything that went wrong while wiring; a PodError stays as it is. */
export function wiringError(pod: Pod, error: unknown): PodError {
  if (error instanceof PodError) return error;
  const why = error instanceof Error ? error.message : String(error);
  const code = error instanceof HostError && /File exists/.test(error.stderr) ? " (taken?)" : "";
  return new PodError(
    "MESHD_POD_SETUP",
    `pod ${pod.name} could not be set up: ${why}${code}`,
    error,
  );
}
