// The pods of one node: the record on disk first, then the kernel. A crash in between leaves a
// record that restore() mends; it never leaves one address with two pods.
import {
  deleteRoutes,
  diffRoutes,
  gatherFacts,
  HostError,
  type HostFacts,
  ipBatch,
  listLinks,
  POD_ROUTE_PROTOCOL,
  type RouteScope,
  readSysctl,
  routeLines,
} from "../host/index.js";
import { allocateAddress, allocateFromTop } from "./allocate.js";
import { PodError } from "./errors.js";
import { checkLabels, checkPodName, hostDeviceName } from "./names.js";
import { chooseNamespace } from "./namespace.js";
import { type PodsState, readState, writeState } from "./state.js";
import type { Pod, PodRequest, PodsOptions, RestoreResult } from "./types.js";
import {
  GATEWAY4,
  hostRoutes,
  type PairSettings,
  setPairMtu,
  unwire,
  wire,
  wiringError,
} from "./wiring.js";

/**
 * Metric of the gateway route: this plus the device's index, so that two agents' do not collide.
 */
const GATEWAY_METRIC = 158_000;
const SYNC_ATTEMPTS = 5;
/** What `ip` answers about a device that is going or gone. */
const DEVICE_GONE = /Cannot find device|Network is down|is not up|No such device/;

export class Pods {
  /** The end of the queue: one change at a time. */
  private tail: Promise<unknown> = Promise.resolve();
  private mtu: number;
  /** What went wrong with a pod last: the same again is not logged again. */
  private readonly troubles = new Map<string, string>();
  private podCidrs: readonly string[];
  /** Addresses that dial-in clients have, and those kept for some of them. */
  private readonly clients = new Set<string>();
  private kept: readonly string[] = [];

  private constructor(
    private readonly options: PodsOptions,
    private readonly state: PodsState,
  ) {
    this.mtu = options.mtu;
    this.podCidrs = options.podCidrs;
  }

  /** Reads the state; touches no network. Throws MESHD_POD_STATE. */
  static async open(options: PodsOptions): Promise<Pods> {
    return new Pods(options, await readState(options.stateDir));
  }

  /** All pods, by name. */
  list(): Pod[] {
    return structuredClone(this.state.pods).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Host ends of all pairs: they are ours when the host is looked over for conflicts. */
  devices(): string[] {
    return this.state.pods.map((pod) => pod.hostDevice);
  }

  /** PodCIDRs for pods to come; those that are there keep their addresses. */
  setPodCidrs(podCidrs: readonly string[]): void {
    this.podCidrs = [...podCidrs];
  }

  /** Addresses that no pod is to get, though nobody has them now. */
  keepAddresses(addresses: readonly string[]): void {
    this.kept = [...addresses];
  }

  /**
   * An IPv4 address for a dial-in client, from the top of the PodCIDRs, or the fixed one: it may
   * lie outside of them where the node has it otherwise. Throws MESHD_POD_ADDRESSES_EXHAUSTED.
   */
  takeAddress(fixed: string | null): string {
    const taken = this.takenAddresses();
    if (fixed !== null && taken.has(fixed)) {
      const what = `${fixed} is the address of a pod or of another client`;
      throw new PodError("MESHD_POD_ADDRESSES_EXHAUSTED", `${what}; choose another one`);
    }
    const podCidr = this.podCidrs.find((cidr) => familyOf(cidr) === 4);
    if (fixed === null && podCidr === undefined) {
      const what = "this node has no IPv4 PodCIDR, so a client has no address";
      throw new PodError("MESHD_POD_ADDRESSES_EXHAUSTED", what);
    }
    const others = new Set([...taken, ...this.kept]);
    const address = fixed ?? allocateFromTop(podCidr ?? "", others);
    this.clients.add(address);
    return address;
  }

  /** A client's address is free again. */
  releaseAddress(address: string): void {
    this.clients.delete(address);
  }

  private takenAddresses(): Set<string> {
    return new Set([...this.state.pods.flatMap((pod) => pod.addresses), ...this.clients]);
  }

  /**
   * Makes a pod and returns when its packets flow.
   * Throws MESHD_POD_EXISTS, _BAD_NAME, _BAD_LABEL, _NETNS, _ADDRESSES_EXHAUSTED, _STATE, _SETUP;
   * after an error nothing of the pod is left.
   */
  add(request: PodRequest): Promise<Pod> {
    return this.queue(async () => {
      const pod = await this.plan(request);
      this.state.pods.push(pod);
      try {
        await this.save();
        const facts = await gatherFacts();
        await wire(pod, this.pairSettings(facts), facts);
        await this.syncRoutes();
      } catch (error) {
        await this.forget(pod).catch((second) => this.log("pod-undo-failed", pod, second));
        throw wiringError(pod, error);
      }
      this.log("pod-added", pod);
      return structuredClone(pod);
    });
  }

  /**
   * Takes a pod away; its address is free again. Throws MESHD_POD_NOT_FOUND, and MESHD_POD_STATE
   * where the record cannot be written: then the pod is still listed.
   */
  remove(name: string): Promise<Pod> {
    return this.queue(async () => {
      const pod = this.state.pods.find((item) => item.name === name);
      if (pod === undefined) {
        const what = `no pod ${JSON.stringify(name.slice(0, 80))} here; see: meshd pod list`;
        throw new PodError("MESHD_POD_NOT_FOUND", what);
      }
      try {
        await this.forget(pod);
      } catch (error) {
        // What the record still holds would come back with a restart: it is there to be removed.
        if (!this.state.pods.includes(pod)) this.state.pods.push(pod);
        throw error;
      }
      this.log("pod-removed", pod);
      return pod;
    });
  }

  /**
   * Mends whatever is missing of the recorded pods (after a restart of the agent or the host). One
   * pod that cannot be mended does not keep the others from it.
   */
  restore(): Promise<RestoreResult> {
    return this.queue(async () => {
      const result: RestoreResult = { changes: 0, failed: [] };
      const facts = await gatherFacts();
      const settings = this.pairSettings(facts);
      for (const pod of this.state.pods) {
        try {
          result.changes += await wire(pod, settings, facts);
          this.troubles.delete(pod.name);
        } catch (error) {
          result.failed.push({ name: pod.name, error: wiringError(pod, error) });
          this.logTrouble("pod-restore-failed", pod, error);
        }
      }
      result.changes += await this.syncRoutes();
      return result;
    });
  }

  /** Sets the MTU (bytes) of all pods, now and for those to come. Says how many devices changed. */
  setMtu(mtu: number): Promise<number> {
    return this.queue(async () => {
      this.mtu = mtu;
      let changes = 0;
      for (const pod of this.state.pods) {
        // What keeps it from this keeps it from being restored, too, which is what is told.
        changes += await setPairMtu(pod, mtu).catch(() => 0);
      }
      return changes;
    });
  }

  /** Removes all pods and the gateway route. Says how many pods there were. */
  removeAll(): Promise<number> {
    return this.queue(async () => {
      const pods = [...this.state.pods];
      for (const pod of pods) await this.forget(pod);
      await deleteRoutes(this.routeScope());
      return pods.length;
    });
  }

  /** A checked record with addresses, namespace and device chosen; nothing is made yet. */
  private async plan(request: PodRequest): Promise<Pod> {
    const name = checkPodName(request.name);
    const labels = checkLabels(request.labels ?? {});
    if (this.state.pods.some((pod) => pod.name === name)) {
      const what = `pod ${name} is there already`;
      throw new PodError("MESHD_POD_EXISTS", `${what}; choose another name or remove it first`);
    }
    const { netns, ownsNetns } = await chooseNamespace(name, request.netns);
    const taken = new Set((await listLinks()).map((link) => link.name));
    for (const device of this.devices()) taken.add(device);
    const hostDevice = hostDeviceName(this.options.device, name, taken);
    const addresses = this.allocate(await usable(this.podCidrs));
    const createdAt = new Date().toISOString();
    return { name, netns, ownsNetns, labels, addresses, hostDevice, createdAt };
  }

  private pairSettings(facts: HostFacts): PairSettings {
    const overlay = facts.links.find((link) => link.name === this.options.device);
    return { mtu: this.mtu, gsoMaxSize: overlay?.gsoMaxSize };
  }

  private allocate(podCidrs: readonly string[]): string[] {
    if (podCidrs.length === 0) {
      const what = "this node has no PodCIDR, so a pod has no address; see: meshd status";
      throw new PodError("MESHD_POD_ADDRESSES_EXHAUSTED", what);
    }
    const taken = new Set([...this.takenAddresses(), ...this.kept]);
    const given = podCidrs.map((podCidr) => {
      const address = allocateAddress(podCidr, taken, this.state.last[podCidr]);
      return { podCidr, address };
    });
    for (const { podCidr, address } of given) this.state.last[podCidr] = address;
    return given.map((item) => item.address).sort((a, b) => familyOf(a) - familyOf(b));
  }

  /** The kernel first: a record without a pod is harmless, a pod without a record is lost. */
  private async forget(pod: Pod): Promise<void> {
    await unwire(pod);
    const index = this.state.pods.indexOf(pod);
    if (index >= 0) this.state.pods.splice(index, 1);
    await this.save();
  }

  /**
   * Makes the host's routes as they should be. A namespace that somebody just deleted takes its
   * pair with it a moment later, in the middle of our work: then the devices are looked up once
   * more.
   */
  private async syncRoutes(): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.syncRoutesOnce();
      } catch (error) {
        const vanished = error instanceof HostError && DEVICE_GONE.test(error.stderr);
        if (!vanished || attempt === SYNC_ATTEMPTS) throw error;
      }
    }
  }

  /** Host routes of all pods, and the route that lets the kernel answer for their gateway. */
  private async syncRoutesOnce(): Promise<number> {
    const { links, routes } = await gatherFacts();
    const up = new Map(links.filter((link) => link.up).map((link) => [link.name, link.index]));
    const { device } = this.options;
    const index = up.get(device);
    // Proxy ARP answers only for addresses that are routed elsewhere; a default route may be
    // absent.
    const gateway = { destination: GATEWAY4, device, metric: GATEWAY_METRIC + (index ?? 0) };
    // A route needs its device.
    const present = this.state.pods.filter((pod) => up.has(pod.hostDevice));
    const wanted = [...(index === undefined ? [] : [gateway]), ...present.flatMap(hostRoutes)];
    const change = diffRoutes(wanted, routes, this.routeScope());
    const taken = change.conflicts.map(({ foreign }) => foreign.destination).join(", ");
    const lines = routeLines(change, this.routeScope());
    if (lines.length > 0) await ipBatch(lines);
    if (taken === "") return lines.length;
    const what = `the host has routes of somebody else for ${taken} with our metric`;
    throw new PodError("MESHD_POD_SETUP", `${what}; remove them: ip route show ${taken}`);
  }

  private routeScope(): RouteScope {
    const devices = [this.options.device, ...this.devices()];
    return { devices, pools: [], protocol: POD_ROUTE_PROTOCOL };
  }

  private async save(): Promise<void> {
    const { stateDir } = this.options;
    try {
      await writeState(stateDir, this.state);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const what = `the record of pods in ${stateDir} cannot be written: ${why}`;
      throw new PodError("MESHD_POD_STATE", `${what}; make that possible and try again`, error);
    }
  }

  private queue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.tail.then(work);
    this.tail = done.catch(() => {});
    return done;
  }

  private logTrouble(event: string, pod: Pod, error: unknown): void {
    const said = error instanceof Error ? error.message : String(error);
    if (this.troubles.get(pod.name) === said) return;
    this.troubles.set(pod.name, said);
    this.log(event, pod, error);
  }

  private log(event: string, pod: Pod, error?: unknown): void {
    const why = error instanceof Error ? { error: error.message } : {};
    this.options.log?.(event, { pod: pod.name, addresses: pod.addresses, ...why });
  }
}

/** Without IPv6 on the host pods have IPv4 only. */
async function usable(podCidrs: readonly string[]): Promise<readonly string[]> {
  const ipv6 = (await readSysctl("ipv6/conf/all/disable_ipv6")) === "0";
  return podCidrs.filter((podCidr) => ipv6 || familyOf(podCidr) === 4);
}

function familyOf(address: string): number {
  return address.includes(":") ? 6 : 4;
}
