// PodCIDR leases by compare-and-set alone: give, end (into quarantine), reserve. Two controllers
// may do all of it at once.
import {
  overlaps,
  type Prefix,
  parsePrefix,
  pieceAt,
  pieceCount,
  prefixHolds,
  prefixText,
} from "../cidr.js";
import { ControlError } from "../errors.js";
import { keyOf } from "../keys.js";
import type { LeaseRecord } from "../records.js";
import type { MeshConfig } from "../settings.js";
import { Rests } from "./rests.js";
import type { Store, Stored } from "./store.js";

export interface Pool {
  prefix: Prefix;
  maskSize: number;
}

/** Pools of a mesh, IPv4 first. */
export function poolsOf(config: MeshConfig): Pool[] {
  const { clusterPoolIPv4PodCIDR: four, clusterPoolIPv6PodCIDR: six } = config;
  const pools: Pool[] = [];
  const prefix4 = four === null ? null : parsePrefix(four);
  const prefix6 = six === null ? null : parsePrefix(six);
  if (prefix4) pools.push({ prefix: prefix4, maskSize: config.clusterPoolIPv4MaskSize });
  if (prefix6) pools.push({ prefix: prefix6, maskSize: config.clusterPoolIPv6MaskSize });
  return pools;
}

/** An underlay inside the overlay sends tunnel packets into the tunnel: MESHD_UNDERLAY_IN_POOL. */
export function refuseInPool(address: string, config: MeshConfig): void {
  const pool = poolsOf(config).find(({ prefix }) => prefixHolds(prefix, address));
  if (!pool) return;
  const what =
    `underlay address ${address} lies in the mesh's pool ${prefixText(pool.prefix)}; use an ` +
    "address outside of it, or a mesh with another pool";
  throw new ControlError("MESHD_UNDERLAY_IN_POOL", what);
}

/** Whose lease is meant; `epoch`: only one that was given under it. */
export interface Holder {
  nodeId: string | null;
  epoch?: number;
}

export class Leases {
  readonly #store: Store;
  readonly #config: () => MeshConfig;
  /** CIDRs that this controller is giving away at this moment. */
  readonly #pending = new Set<string>();
  readonly rests = new Rests();

  constructor(store: Store, config: () => MeshConfig) {
    this.#store = store;
    this.#config = config;
  }

  /**
   * One lease for a node out of a pool: its own resting one, else a never used one, else the one
   * that has rested longest. MESHD_POOL_EXHAUSTED when all are held or rest.
   */
  async give(pool: Pool, nodeId: string, epoch: number): Promise<LeaseRecord> {
    for (const cidr of this.#candidates(pool, nodeId)) {
      if (this.#pending.has(cidr)) continue;
      this.#pending.add(cidr);
      try {
        const lease = await this.#take(cidr, nodeId, epoch);
        if (lease) return lease;
      } finally {
        this.#pending.delete(cidr);
      }
    }
    throw exhausted(pool, this.#records());
  }

  /** The lease, when it is free by the store's own word and nobody was faster. */
  async #take(cidr: string, nodeId: string, epoch: number): Promise<LeaseRecord | null> {
    const before = await this.#readOrNull(cidr);
    if (!before || !this.#isFree(before.record, nodeId)) return null;
    const lease: LeaseRecord = {
      cidr,
      nodeId,
      epoch,
      state: "held",
      since: new Date().toISOString(),
      until: null,
      signature: "",
    };
    return (await this.#store.write(before, lease)) ? lease : null;
  }

  /** A damaged record of an unknown past may hide a holder: its CIDR is passed over. */
  async #readOrNull(cidr: string): Promise<Stored<"leases"> | null> {
    try {
      return await this.#store.read<"leases">(keyOf.lease(cidr));
    } catch (error) {
      if (error instanceof ControlError && error.code === "MESHD_BAD_RECORD") return null;
      throw error;
    }
  }

  /** Never used, or rested long enough; one's own resting lease needs no rest. */
  #isFree(lease: LeaseRecord | null, nodeId: string): boolean {
    if (lease === null) return true;
    if (lease.state !== "quarantined") return false;
    return lease.nodeId === nodeId || this.rests.isOver(lease);
  }

  #records(): LeaseRecord[] {
    return [...this.#store.ledgers.mesh.records("leases")];
  }

  *#candidates(pool: Pool, nodeId: string): Generator<string> {
    const all = this.#records();
    const known = new Map(all.map((lease) => [lease.cidr, lease]));
    const blocked = this.#blocked(pool, all);
    const fits = (cidr: string) => {
      const prefix = parsePrefix(cidr);
      return fitsPool(cidr, pool) && !blocked.some((one) => prefix && overlaps(one, prefix));
    };
    const resting = all.filter((lease) => lease.state === "quarantined" && fits(lease.cidr));
    const own = resting.filter((lease) => lease.nodeId === nodeId);
    yield* own.map((lease) => lease.cidr);
    for (let index = 0; index < pieceCount(pool.prefix, pool.maskSize); index++) {
      const piece = pieceAt(pool.prefix, pool.maskSize, index);
      const cidr = prefixText(piece);
      if (known.has(cidr) || blocked.some((one) => overlaps(one, piece))) continue;
      yield cidr;
    }
    const rested = resting.filter((lease) => this.#isFree(lease, nodeId));
    rested.sort((a, b) => (a.since < b.since ? -1 : 1));
    yield* rested.map((lease) => lease.cidr);
  }

  /**
   * Prefixes inside the pool that are taken in another way: leases of another size, static peers,
   * granted prefixes.
   */
  #blocked(pool: Pool, leases: LeaseRecord[]): Prefix[] {
    const { mesh } = this.#store.ledgers;
    const others = leases.map(prefixOf).filter((prefix) => !isPieceOf(prefix, pool));
    const peers = [...mesh.records("peers")].flatMap((peer) => peer.podCIDRs);
    const granted = [...mesh.records("members")].flatMap((member) => member.grantedPrefixes);
    return [...others, ...[...peers, ...granted].map((text) => parsePrefix(text))]
      .filter((prefix) => prefix !== null)
      .filter((prefix) => overlaps(prefix, pool.prefix));
  }

  /**
   * Ends a lease that a node holds: it rests for the quarantine time. False when it does not hold
   * it, or under another epoch than the one that is named.
   */
  async end(cidr: string, holder: Holder, rest_s?: number): Promise<boolean> {
    const now = Date.now();
    const quarantine_s = rest_s ?? this.#config().leaseQuarantine;
    let ended = false;
    await this.#store.change<"leases">(keyOf.lease(cidr), (lease) => {
      const { nodeId, epoch } = holder;
      const isSame = lease?.nodeId === nodeId && (epoch === undefined || lease.epoch === epoch);
      ended = lease?.state === "held" && isSame;
      if (!lease || !ended) return undefined;
      const until = new Date(now + quarantine_s * 1000).toISOString();
      return { ...lease, state: "quarantined", since: new Date(now).toISOString(), until };
    });
    return ended;
  }

  /** Lets a resting lease be given at once, or frees a reserved one. False when it was neither. */
  async free(cidr: string): Promise<boolean> {
    const now = new Date().toISOString();
    let freed = false;
    await this.#store.change<"leases">(keyOf.lease(cidr), (lease) => {
      freed = lease !== null && lease.state !== "held";
      if (!lease || !freed) return undefined;
      return { ...lease, state: "quarantined", since: now, until: now };
    });
    return freed;
  }

  /**
   * Keeps a CIDR of a pool from being given. MESHD_BAD_REQUEST, MESHD_CONFLICT when a node holds
   * it.
   */
  async reserve(cidr: string): Promise<LeaseRecord> {
    if (!poolsOf(this.#config()).some((pool) => fitsPool(cidr, pool))) {
      const what = `${cidr} is no PodCIDR of a pool of this mesh`;
      throw new ControlError("MESHD_BAD_REQUEST", what);
    }
    const lease = await this.#store.change<"leases">(keyOf.lease(cidr), (before) => {
      if (before?.state === "held") {
        const what = `${cidr} is held by ${before.nodeId}; reclaim it first`;
        throw new ControlError("MESHD_CONFLICT", what);
      }
      const since = new Date().toISOString();
      const epoch = before?.epoch ?? 0;
      return { cidr, nodeId: null, epoch, state: "reserved", since, until: null, signature: "" };
    });
    if (!lease) throw new ControlError("MESHD_NOT_FOUND", `${cidr} could not be reserved`);
    return lease;
  }
}

/** Read once: each join looks at all leases. */
const prefixes = new WeakMap<LeaseRecord, Prefix | null>();

function prefixOf(lease: LeaseRecord): Prefix | null {
  const known = prefixes.get(lease);
  if (known !== undefined) return known;
  const prefix = parsePrefix(lease.cidr);
  prefixes.set(lease, prefix);
  return prefix;
}

function isPieceOf(prefix: Prefix | null, { prefix: whole, maskSize }: Pool): boolean {
  return prefix !== null && prefix.length === maskSize && overlaps(whole, prefix);
}

function fitsPool(cidr: string, pool: Pool): boolean {
  return isPieceOf(parsePrefix(cidr), pool);
}

function exhausted(pool: Pool, leases: LeaseRecord[]): ControlError {
  const inPool = leases.filter((lease) => fitsPool(lease.cidr, pool));
  const resting = inPool.filter((lease) => lease.state === "quarantined");
  const next = resting.map((lease) => lease.until ?? "").sort()[0];
  const rest = next ? `; ${resting.length} rest in quarantine, the first until ${next}` : "";
  const what =
    `the pool ${prefixText(pool.prefix)} has no free /${pool.maskSize}: ${inPool.length} ` +
    `are taken${rest}; ` +
    `remove nodes, reclaim leases ("meshd lease reclaim"), or make a mesh with a larger pool`;
  return new ControlError("MESHD_POOL_EXHAUSTED", what);
}
