// PPTP filtering: an interface of this host that takes nothing in but PPTP. Which one, what of the
// mesh passes all the same, and who has a control connection that is up; the rules are src/host's.
import { lookup } from "node:dns/promises";
import {
  applyPptpFilter,
  deviceTowards,
  type FilteredMesh,
  findLink,
  HostError,
  pptpFilterTable,
  readPptpFilter,
  removePptpFilter,
  type Where,
} from "../host/index.js";
import { AgentError, messageOf } from "./errors.js";
import { hostDropRows } from "./queue-drops.js";
import type { DropRow, PptpFilterStatus } from "./types.js";

export interface FilterWish {
  device: string;
  /** The mesh's own packets come in there, too. */
  withMesh: boolean;
}

/** What of the mesh is where. */
export interface FilterFacts {
  underlayDevice: string;
  /** NATS servers as URLs. */
  servers: readonly string[];
  /** Without its NATS ports, which follow from the servers. */
  mesh: Omit<FilteredMesh, "natsPorts">;
}

const NATS_PORT = 4222;

/** Settings to a wish; null: no interface is filtered. */
export function filterWish(options: {
  pptpFilter?: string;
  withMesh?: boolean;
}): FilterWish | null {
  const { pptpFilter: device, withMesh = false } = options;
  return device === undefined ? null : { device, withMesh };
}

/**
 * Refuses a filter that would cut the mesh off.
 * @throws AgentError MESHD_FILTER_CUTS_MESH
 */
export async function checkFilter(
  wish: FilterWish | null,
  { underlayDevice, servers }: Pick<FilterFacts, "underlayDevice" | "servers">,
  where: Where = {},
): Promise<void> {
  if (wish === null || wish.withMesh) return;
  const { device } = wish;
  const carries = underlayDevice === device ? "underlay" : await natsBy(device, servers, where);
  if (carries === null) return;
  const what = `pptpFilter ${device}: that interface carries the mesh's ${carries}`;
  const fix = "filter another one, or let the mesh in, too: --with-mesh";
  throw new AgentError("MESHD_FILTER_CUTS_MESH", `${what}; ${fix}`);
}

/** The server that is reached by the device, as text; null: none, as far as can be known now. */
async function natsBy(
  device: string,
  servers: readonly string[],
  where: Where,
): Promise<string | null> {
  for (const server of servers) {
    const host = urlOf(server)?.hostname.replace(/^\[|\]$/g, "") ?? "";
    const found = host === "" ? [] : await lookup(host, { all: true }).catch(() => []);
    for (const { address } of found) {
      const towards = await deviceTowards(address, where).catch(() => undefined);
      if (towards === device) return `NATS (${host})`;
    }
  }
  return null;
}

function urlOf(server: string): URL | undefined {
  const text = server.includes("://") ? server : `nats://${server}`;
  return URL.canParse(text) ? new URL(text) : undefined;
}

function natsPorts(servers: readonly string[]): number[] {
  return servers.map((server) => Number(urlOf(server)?.port || NATS_PORT));
}

export class FilterKeeper {
  private callers: readonly string[] = [];
  private facts: FilterFacts | null = null;
  private refused: PptpFilterStatus["refused"] = null;
  private problem: string | null = null;
  /** The interface; a name that was mistyped must not look like protection. */
  private isThere = true;
  /** A process before this one may have left its table. */
  private mayStand = true;
  /** One change of the table after the other. */
  private queue: Promise<unknown> = Promise.resolve();

  /** `where` is for tests. */
  constructor(
    private readonly overlay: string,
    private readonly wish: FilterWish | null,
    private readonly where: Where = {},
  ) {}

  /** null: no interface is filtered. */
  status(): PptpFilterStatus | null {
    if (this.wish === null) return null;
    const { device: iface, withMesh } = this.wish;
    const table = this.mayStand ? pptpFilterTable(this.overlay) : null;
    const { refused } = this;
    const absent = `there is no interface ${iface}: the rules hold when it comes`;
    const problem = this.problem ?? (this.isThere ? null : absent);
    return { interface: iface, withMesh, callers: [...this.callers], refused, table, problem };
  }

  /**
   * Makes the rules what they should be, or takes them away where they would cut the mesh off.
   * Gives the number of changes.
   * @throws AgentError MESHD_FILTER_CUTS_MESH, HostError
   */
  async apply(facts: FilterFacts): Promise<number> {
    this.facts = facts;
    return this.inTurn(async () => {
      try {
        await checkFilter(this.wish, facts, this.where);
      } catch (error) {
        this.facts = null;
        this.problem = messageOf(error);
        await this.takeAway();
        throw error;
      }
      return this.put();
    });
  }

  /** Addresses with a control connection that is up: their calls come in from now on. */
  async setCallers(addresses: readonly string[]): Promise<void> {
    this.callers = addresses;
    if (this.wish === null) return;
    // What fails here is said by status, and tried again by the next round.
    await this.inTurn(() => this.put()).catch(() => undefined);
  }

  /** Looks for the interface, and reads the kernel's counters; what cannot be read is not known. */
  async refresh(): Promise<void> {
    if (this.wish === null) return;
    const { device } = this.wish;
    this.isThere = await findLink(device, this.where).then(
      (link) => link !== undefined,
      () => true,
    );
    const counts = await readPptpFilter(this.overlay, this.where).catch(() => undefined);
    this.refused = counts ?? null;
  }

  /** What was refused, as rows of `meshd drops`. */
  drops(): DropRow[] {
    const all = Object.values(this.refused ?? {});
    const sum = (unit: "packets" | "bytes") => all.reduce((total, one) => total + one[unit], 0);
    return hostDropRows({ NFT_PPTP_FILTER: { packets: sum("packets"), bytes: sum("bytes") } });
  }

  /** Takes the table away. Without nft there is none. */
  async remove(): Promise<number> {
    this.facts = null;
    return this.inTurn(() => this.takeAway());
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.queue.then(work);
    this.queue = done.catch(() => undefined);
    return done;
  }

  private async put(): Promise<number> {
    const { wish, facts, overlay, callers } = this;
    if (wish === null) return this.takeAway();
    if (facts === null) return 0;
    const mesh = wish.withMesh ? { ...facts.mesh, natsPorts: natsPorts(facts.servers) } : null;
    this.mayStand = true;
    const options = { overlay, device: wish.device, callers, mesh };
    try {
      const changes = Number(await applyPptpFilter(options, this.where));
      this.problem = null;
      return changes;
    } catch (error) {
      this.problem = messageOf(error);
      throw error;
    }
  }

  private async takeAway(): Promise<number> {
    if (!this.mayStand) return 0;
    try {
      const changes = Number(await removePptpFilter(this.overlay, this.where));
      this.mayStand = false;
      return changes;
    } catch (error) {
      if (error instanceof HostError && error.code === "MESHD_HOST_TOOL_MISSING") return 0;
      throw error;
    }
  }
}
