// Puts one pod into the kernel, mends it, takes it out: namespace, veth pair, addresses, routes.
// Every step compares first, so that a pod which is as it should be costs reads only.
import {
  addressLines,
  addVeth,
  deleteLink,
  deleteNamespace,
  diffRoutes,
  gatherFacts,
  type HostFacts,
  ipBatch,
  type Link,
  type LinkAddress,
  linkChanges,
  POD_ROUTE_PROTOCOL,
  routeLines,
  setLink,
  type WantedRoute,
  writeSysctls,
} from "../host/index.js";
import { PodError } from "./errors.js";
import { checkUsable, ensureNamespace, POD_DEVICE } from "./namespace.js";
import type { Pod } from "./types.js";

/** The pods' IPv4 gateway: nobody has this address, the host answers for it by proxy ARP. */
export const GATEWAY4 = "169.254.1.1";
/** The pods' IPv6 gateway: an address of the host's end of each pair. */
export const GATEWAY6 = "fe80::1";

/** accept_dad 0: the link-local address works at once, not after a second of asking around. */
const POD_SYSCTLS: Readonly<Record<string, number>> = {
  [`ipv6/conf/${POD_DEVICE}/disable_ipv6`]: 0,
  [`ipv6/conf/${POD_DEVICE}/accept_ra`]: 0,
  [`ipv6/conf/${POD_DEVICE}/accept_dad`]: 0,
};

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

/**
 * Makes the kernel's side of a pod as it should be; `outside` is what the host's namespace has now.
 * Says how many things were changed.
 */
export async function wire(pod: Pod, settings: PairSettings, outside: HostFacts): Promise<number> {
  const changes = await ensureNamespace(pod);
  const pair = await ensurePair(pod, settings.mtu, outside);
  const outer = await wireHostEnd(pod, settings.mtu, pair);
  const inner = await wirePodEnd(pod, settings, pair);
  return changes + Number(pair.made) + outer + inner;
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

/** Both ends of a pair, and what the kernel has in their namespaces. */
interface Pair {
  outer: Link;
  inner: Link;
  outside: HostFacts;
  inside: HostFacts;
  made: boolean;
}

/** Both ends exist and belong together, else the pair is made anew. */
async function ensurePair(pod: Pod, mtu: number, outside: HostFacts): Promise<Pair> {
  const found = findPair(pod, outside, await gatherFacts({ netns: pod.netns }));
  if (found !== undefined) return { ...found, made: false };
  if (!(await deleteLink(pod.hostDevice))) await checkUsable(pod.netns);
  const peer = { peerName: POD_DEVICE, peerNetns: pod.netns };
  await addVeth({ name: pod.hostDevice, ...peer, mtu });
  const made = findPair(pod, await gatherFacts(), await gatherFacts({ netns: pod.netns }));
  if (made !== undefined) return { ...made, made: true };
  const what = `pod ${pod.name}: its veth pair was taken away while it was set up; try again`;
  throw new PodError("MESHD_POD_SETUP", what);
}

function findPair(pod: Pod, outside: HostFacts, inside: HostFacts): Omit<Pair, "made"> | undefined {
  const outer = outside.links.find((link) => link.name === pod.hostDevice);
  const inner = inside.links.find((link) => link.name === POD_DEVICE);
  if (outer === undefined || inner === undefined) return undefined;
  const belong = outer.peerIndex === inner.index && inner.peerIndex === outer.index;
  return belong ? { outer, inner, outside, inside } : undefined;
}

async function wireHostEnd(pod: Pod, mtu: number, pair: Pair): Promise<number> {
  const device = pod.hostDevice;
  const ipv6 = hasIPv6(pod);
  const conf6 = `ipv6/conf/${device}`;
  const changes = await writeSysctls({
    [`ipv4/conf/${device}/proxy_arp`]: 1,
    [`ipv4/conf/${device}/forwarding`]: 1,
    // The kernel waits up to 0.8 s before it answers a proxied ARP request unless told not to.
    [`ipv4/neigh/${device}/proxy_delay`]: 0,
    ...(ipv6 ? { [`${conf6}/disable_ipv6`]: 0, [`${conf6}/accept_ra`]: 0 } : {}),
  });
  const lines = [
    // Without "none" the device would have a second link-local address of its own.
    ...linkChanges(pair.outer, { mtu, addressMode: "none", up: true }),
    ...addressLines(device, ipv6 ? [`${GATEWAY6}/64`] : [], on(device, pair.outside)),
  ];
  if (lines.length > 0) await ipBatch(lines);
  return changes + lines.length;
}

async function wirePodEnd(pod: Pod, settings: PairSettings, pair: Pair): Promise<number> {
  const where = { netns: pod.netns };
  const { mtu, gsoMaxSize } = settings;
  const { inside } = pair;
  const changes = hasIPv6(pod) ? await writeSysctls(POD_SYSCTLS, where) : 0;
  const loopback = inside.links.find((link) => link.name === "lo");
  const gso = gsoMaxSize === undefined ? {} : { gsoMaxSize };
  const scope = { devices: [POD_DEVICE], pools: [], protocol: POD_ROUTE_PROTOCOL };
  const routes = diffRoutes(podRoutes(pod), inside.routes, scope);
  const foreign = routes.conflicts[0]?.foreign;
  if (foreign !== undefined) {
    const what = `namespace ${pod.netns} has a route ${foreign.destination} of somebody else`;
    throw new PodError("MESHD_POD_NETNS", `${what} with our metric; remove it`);
  }
  const lines = [
    ...(loopback === undefined ? [] : linkChanges(loopback, { up: true })),
    ...linkChanges(pair.inner, { mtu, ...gso, up: true }),
    ...addressLines(POD_DEVICE, pod.addresses, on(POD_DEVICE, inside)),
    ...routeLines(routes, scope),
  ];
  if (lines.length > 0) await ipBatch(lines, where);
  return changes + lines.length;
}

function on(device: string, facts: HostFacts): LinkAddress[] {
  return facts.addresses.filter((address) => address.device === device);
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

function hasIPv6(pod: Pod): boolean {
  return pod.addresses.some((address) => address.includes(":"));
}

/** One line for anything that went wrong while wiring; a PodError stays as it is. */
export function wiringError(pod: Pod, error: unknown): PodError {
  if (error instanceof PodError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new PodError("MESHD_POD_SETUP", `pod ${pod.name} could not be set up: ${why}`, error);
}
