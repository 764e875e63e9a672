// Makes the host what plan wants and keeps it so: link, sysctls, addresses, routes, masquerade.
// Every step compares first; when nothing differs nothing is written, and the count of changes is
// 0.
import {
  applyAdmission,
  applyCallNat,
  applyMasquerade,
  deleteRoutes,
  enableForwarding,
  findFiltered,
  HostError,
  type WantedRoute as HostRoute,
  leaveOutQueueing,
  listAddresses,
  listRoutes,
  MESH_ROUTE_PROTOCOL,
  POD_ROUTE_PROTOCOL,
  readSysctl,
  reconcileAddresses,
  reconcileRoutes,
  removeAdmission,
  removeMasquerade,
  replaceFile,
  type SysctlChange,
  SysctlKeeper,
  setLink,
} from "../host/index.js";
import { messageOf } from "./errors.js";
import { readText } from "./files.js";
import { gsoMaxSize } from "./gso.js";
import type { Plan, WantedAdmission, WantedMasquerade, WantedRoute } from "./plan/types.js";

/**
 * Packets the kernel keeps for a worker that waits for a CPU. Its default of 500 is 1.5 ms at 340
 * kpps, and every longer gap lost packets (docs/benchmarks.md).
 */
const TUN_QUEUE_LENGTH = 4096;
/** rtnetlink's number for routes learned from router advertisements. */
const PROTOCOL_RA = 9;

/** What the host should look like; parts of a Plan. */
export interface HostWanted {
  mtu: number;
  addresses: readonly string[];
  routes: readonly WantedRoute[];
  masquerade: WantedMasquerade | null;
  admission: WantedAdmission | null;
  callNat: Plan["callNat"];
  /** Pools and own PodCIDRs: unreachable routes inside them are ours. */
  pools: readonly string[];
}

export interface HostResult {
  /** Things written; 0 = everything was as wanted. */
  changes: number;
  /** One line each: what could not be done and does not stop the agent. */
  problems: string[];
}

function isIPv6(text: string): boolean {
  return text.includes(":");
}

/** The route as the host room wants it; protocol and metrics are that room's. */
export function hostRoute(route: WantedRoute, device: string): HostRoute {
  const { destination, source } = route;
  if (route.kind === "unreachable") {
    return { destination, kind: "unreachable" };
  }
  if (route.gateway !== undefined && route.device !== undefined) {
    const by = { device: route.device, via: route.gateway };
    return { destination, ...by, ...(source === null ? {} : { source }) };
  }
  return { destination, device, ...(source === null ? {} : { source }) };
}

export class HostKeeper {
  /** Prefixes in which earlier plans of this process had walls. */
  private readonly pools = new Set<string>();
  private saved = "";
  /** Perhaps: an earlier process may have left the table. */
  private hasAdmission = true;
  private hasCallNat = true;

  private constructor(
    private readonly device: string,
    private readonly path: string,
    private readonly sysctls: SysctlKeeper,
  ) {}

  /** `path` remembers what was changed below /proc/sys, so that leave can put it back. */
  static async open(device: string, path: string): Promise<HostKeeper> {
    const text = await readText(path);
    const keeper = new HostKeeper(device, path, new SysctlKeeper(readChanges(text)));
    keeper.saved = text ?? "";
    return keeper;
  }

  /**
   * Applies. Throws HostError when link, addresses or routes cannot be set; what only makes the
   * mesh poorer (masquerade without nft, a sysctl that is read-only) is a problem in the result.
   */
  async apply(wanted: HostWanted): Promise<HostResult> {
    const problems: string[] = [];
    const ipv6 = await hasIPv6();
    if (!ipv6 && wanted.addresses.some(isIPv6)) {
      problems.push("IPv6 is switched off on this host: pods have IPv4 only");
    }
    const fits = (text: string) => ipv6 || !isIPv6(text);
    const addresses = wanted.addresses.filter(fits);
    const routes = wanted.routes.filter((route) => fits(route.destination));
    let changes = await this.attempt(problems, () => this.setSysctls(addresses.some(isIPv6)));
    changes += await this.setLink(wanted.mtu);
    changes += await reconcileAddresses(this.device, addresses);
    changes += await this.setBare(wanted, problems, () =>
      this.setRoutes(routes, wanted.pools, problems),
    );
    changes += await this.attempt(problems, () => this.setMasquerade(wanted));
    changes += await this.attempt(problems, () => this.setCallNat(wanted));
    await this.save();
    return { changes, problems };
  }

  private async setLink(mtu: number): Promise<number> {
    const sizes = { mtu, gsoMaxSize: gsoMaxSize(mtu), queueLength: TUN_QUEUE_LENGTH };
    const wanted = { up: true, ...sizes, addressMode: "none" } as const;
    const changes = await setLink(this.device, wanted);
    // A device that is new, or was down, has the kernel's own discipline. Without tc it keeps it.
    const isLeftOut = changes > 0 && (await leaveOutQueueing(this.device).catch(() => false));
    return changes + Number(isLeftOut);
  }

  private async setSysctls(ipv6: boolean): Promise<number> {
    const device = this.device;
    let changes = await enableForwarding(this.sysctls, 4);
    // ICMP errors of the hot path come out of the device with our own address as their source.
    changes += Number(await this.sysctls.set(`ipv4/conf/${device}/accept_local`, 1));
    // Loose, not off: the kernel takes the larger of this and "all", and "all" may be 1, strict.
    changes += Number(await this.sysctls.set(`ipv4/conf/${device}/rp_filter`, 2));
    if (!ipv6) {
      return changes;
    }
    changes += Number(await this.sysctls.set(`ipv6/conf/${device}/disable_ipv6`, 0));
    return changes + (await enableForwarding(this.sysctls, 6, await raDevices()));
  }

  private async setRoutes(
    routes: readonly WantedRoute[],
    pools: readonly string[],
    problems: string[],
  ): Promise<number> {
    for (const pool of pools) {
      this.pools.add(pool);
    }
    const wanted = routes.map((route) => hostRoute(route, this.device));
    const sources = await this.nodeAddresses();
    const scope = { devices: [this.device], pools: [...this.pools], sources };
    const result = await reconcileRoutes(wanted, scope);
    for (const { foreign } of result.conflicts) {
      const what = `a route of somebody else stands where ours should: ${foreign.destination}`;
      problems.push(`${what} metric ${foreign.metric}; remove it: ip route show`);
    }
    // A neighbour's address that cannot be a gateway here is that peer's trouble, and no other's.
    const isGateway = (line: string) => line.includes(" via ");
    problems.push(...result.failed.filter(isGateway));
    const refused = result.failed.find((line) => !isGateway(line));
    if (refused !== undefined) throw new HostError("MESHD_HOST_COMMAND", refused);
    return result.changes;
  }

  /**
   * Admission stands before the first route beside the tunnel and goes after the last one.
   */
  private async setBare(
    { admission }: HostWanted,
    problems: string[],
    setRoutes: () => Promise<number>,
  ): Promise<number> {
    if (admission === null) {
      const changes = await setRoutes();
      return changes + (await this.attempt(problems, () => this.removeAdmission()));
    }
    this.hasAdmission = true;
    const options = { ...admission, overlay: this.device };
    const found: string[] = [];
    const applied = await this.attempt(found, async () => Number(await applyAdmission(options)));
    const what = "packets of directly routed peers are neither checked nor counted";
    problems.push(...found.map((why) => `${what}: ${why}`));
    const changes = applied + (await setRoutes());
    problems.push(...(await findFiltered(admission.device, admission.peers)));
    return changes;
  }

  private async removeAdmission(): Promise<number> {
    if (!this.hasAdmission) return 0;
    // Without nft there is no table either.
    const removed = await removeAdmission(this.device).catch((error: unknown) => {
      if (isToolMissing(error)) return false;
      throw error;
    });
    this.hasAdmission = false;
    return Number(removed);
  }

  /** What our routes to neighbours have as their source, and nobody else's. */
  private async nodeAddresses(): Promise<string[]> {
    return (await listAddresses(this.device)).map(({ address }) => address);
  }

  private async setMasquerade({ masquerade }: HostWanted): Promise<number> {
    if (masquerade === null) {
      return Number(await removeMasquerade(this.device));
    }
    const { sources, except: pools } = masquerade;
    return Number(await applyMasquerade({ device: this.device, sources, pools }));
  }

  private async setCallNat({ callNat }: HostWanted): Promise<number> {
    const isWanted = callNat.calls.length > 0;
    if (!isWanted && !this.hasCallNat) return 0;
    const changed = await applyCallNat({ device: this.device, ...callNat }).catch((error) => {
      // Without nft there is no table either.
      if (!isWanted && isToolMissing(error)) return false;
      throw error;
    });
    this.hasCallNat = isWanted;
    return Number(changed);
  }

  private async attempt(problems: string[], work: () => Promise<number>): Promise<number> {
    try {
      return await work();
    } catch (error) {
      problems.push(messageOf(error));
      return 0;
    }
  }

  private async save(): Promise<void> {
    const text = JSON.stringify(this.sysctls.changes());
    if (text !== this.saved) {
      await replaceFile(this.path, text);
      this.saved = text;
    }
  }

  /** Takes out what apply put in, except the device itself; `pools` as in apply. */
  async remove(pools: readonly string[]): Promise<void> {
    const sources = await this.nodeAddresses();
    await deleteRoutes({ devices: [this.device], pools: [...this.pools, ...pools], sources });
    await reconcileAddresses(this.device, []);
    // Without nft there was no masquerade either.
    await removeMasquerade(this.device).catch(() => false);
    await removeAdmission(this.device).catch(() => false);
    const none = { device: this.device, sources: [], calls: [] };
    await applyCallNat(none).catch(() => false);
    // Other agents of this host forward, too; what is the device's own goes with it.
    if (!(await hasRoutesOfOthers(this.device))) await this.sysctls.restore();
  }
}

function isToolMissing(error: unknown): boolean {
  return error instanceof HostError && error.code === "MESHD_HOST_TOOL_MISSING";
}

function readChanges(text: string | null): SysctlChange[] {
  try {
    const parsed: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(parsed) ? parsed.filter(isChange) : [];
  } catch {
    // Only the memory of old values is lost: leave then lets the present ones stand.
    return [];
  }
}

function isChange(value: unknown): value is SysctlChange {
  const change = value as Partial<SysctlChange> | null;
  return (
    typeof change === "object" &&
    typeof change?.key === "string" &&
    typeof change.before === "string" &&
    typeof change.after === "string"
  );
}

async function hasIPv6(): Promise<boolean> {
  return (await readSysctl("ipv6/conf/all/disable_ipv6")) === "0";
}

/** Whether routes are left that only agents make, and none of this device. */
async function hasRoutesOfOthers(own: string): Promise<boolean> {
  const made: number[] = [MESH_ROUTE_PROTOCOL, POD_ROUTE_PROTOCOL];
  const routes = await listRoutes();
  return routes.some(({ protocol, device }) => made.includes(protocol) && device !== own);
}

/** Interfaces whose routes come from router advertisements. */
async function raDevices(): Promise<string[]> {
  const learned = (await listRoutes()).filter((route) => route.protocol === PROTOCOL_RA);
  return [...new Set(learned.flatMap((route) => route.device ?? []))];
}
