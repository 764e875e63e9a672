// The maps that a snapshot shows, kept up to date one record at a time: a change costs a copy of
// one map, not a look at every record. Maps once shown do not change.
import { parsePrefix, prefixHolds } from "./cidr.js";
import type { Opened } from "./envelope.js";
import { claimName, keyOf, type RecordKind } from "./keys.js";
import { Lineage } from "./lineage.js";
import type { MeshSnapshot, NodeRecord, Refusal } from "./records.js";
import type { RecordOfKind } from "./validate.js";

export interface Held<K extends RecordKind = RecordKind> extends Opened<K> {
  key: string;
  revision: number;
}

/** Kinds that are shown as maps; a change of another kind (but for settings) wakes nobody. */
const mapKinds = ["members", "claims", "leases", "peers", "nodes", "endpoints"] as const;
type MapKind = (typeof mapKinds)[number];
export type ShownMaps = Pick<MeshSnapshot, MapKind>;

export function isShown(kind: RecordKind): boolean {
  return kind === "config" || isMapKind(kind);
}

function isMapKind(kind: RecordKind): kind is MapKind {
  return (mapKinds as readonly string[]).includes(kind);
}

/** The name of a record in its map. */
const nameOf: { [K in MapKind]: (record: RecordOfKind[K]) => string } = {
  members: ({ nodeId }) => nodeId,
  claims: ({ address, port }) => claimName(address, port),
  leases: ({ cidr }) => cidr,
  peers: ({ name }) => name,
  nodes: ({ nodeId }) => nodeId,
  endpoints: ({ nodeId, pod }) => `${nodeId}.${pod}`,
};

/** Keys by what they depend on. */
class Index {
  readonly #keys = new Map<string, Set<string>>();

  add(name: string, key: string): void {
    const known = this.#keys.get(name);
    if (known) known.add(key);
    else this.#keys.set(name, new Set([key]));
  }

  remove(name: string, key: string): void {
    const known = this.#keys.get(name);
    known?.delete(key);
    if (known?.size === 0) this.#keys.delete(name);
  }

  of(name: string): Iterable<string> {
    return this.#keys.get(name) ?? [];
  }
}

/** Underlay addresses with port that a node says it has. */
function placesOf({ underlay }: NodeRecord): string[] {
  return underlay.addresses.map((address) => claimName(address, underlay.port));
}

export class Shown {
  readonly #held: ReadonlyMap<string, Held>;
  readonly #maps = new Map<MapKind, Map<string, unknown>>(
    mapKinds.map((kind) => [kind, new Map()]),
  );
  readonly #lines = new Map(mapKinds.map((kind) => [kind, new Lineage()]));
  /** Keys of each kind that changed since the last snapshot: key -> name in the map. */
  readonly #dirty = new Map<MapKind, Map<string, string>>(
    mapKinds.map((kind) => [kind, new Map()]),
  );
  /** Records that are good in themselves and do not fit the others, by key. */
  readonly #refused = new Map<string, Refusal>();
  readonly #nodesAt = new Index();
  readonly #endpointsOf = new Index();

  constructor(held: ReadonlyMap<string, Held>) {
    this.#held = held;
    for (const [kind, map] of this.#maps) this.#lines.get(kind)?.add(map, []);
  }

  /** A value took another's place (undefined: there was none). */
  note(held: Held, before: Held | undefined): void {
    if (!isMapKind(held.kind)) return;
    const record = held.record ?? before?.record;
    if (!record) return;
    const name = (nameOf[held.kind] as (record: unknown) => string)(record);
    this.#mark(held.kind, held.key, name);
    if (held.kind === "nodes") this.#noteNode(held as Held<"nodes">, before as Held<"nodes">);
    if (held.kind === "endpoints")
      this.#noteEndpoint(held as Held<"endpoints">, before as Held<"endpoints">);
    if (held.kind === "claims") this.#recheckNodes(this.#nodesAt.of(name));
    if (held.kind === "members") {
      // Its name stands in what is said of others; what pods it may have stands in its record.
      this.#recheckNodes(this.#refused.keys());
      for (const key of this.#endpointsOf.of(name)) this.#recheck("endpoints", key);
    }
  }

  #mark(kind: MapKind, key: string, name: string): void {
    this.#dirty.get(kind)?.set(key, name);
  }

  #recheckNodes(keys: Iterable<string>): void {
    for (const key of keys) this.#recheck("nodes", key);
  }

  #recheck(kind: "nodes" | "endpoints", key: string): void {
    const held = this.#held.get(key);
    if (held?.kind !== kind || held.record === null) return;
    this.#mark(kind, key, (nameOf[kind] as (record: unknown) => string)(held.record));
  }

  #noteNode({ key, record }: Held<"nodes">, before: Held<"nodes"> | undefined): void {
    for (const place of before?.record ? placesOf(before.record) : []) {
      this.#nodesAt.remove(place, key);
    }
    for (const place of record ? placesOf(record) : []) this.#nodesAt.add(place, key);
  }

  #noteEndpoint({ key, record }: Held<"endpoints">, before: Held<"endpoints"> | undefined): void {
    const nodeId = record?.nodeId ?? before?.record?.nodeId ?? "";
    if (record) this.#endpointsOf.add(nodeId, key);
    else this.#endpointsOf.remove(nodeId, key);
  }

  /** The maps as of now. Those of kinds that did not change are the same objects as before. */
  maps(): ShownMaps {
    // Members and claims first: the others are held against them.
    for (const kind of mapKinds) this.#refresh(kind);
    const map = (kind: MapKind) => this.#maps.get(kind) ?? new Map();
    return Object.fromEntries(mapKinds.map((kind) => [kind, map(kind)])) as unknown as ShownMaps;
  }

  /** Of `maps`: what they leave out, and why. */
  refused(): Refusal[] {
    return [...this.#refused.values()];
  }

  #refresh(kind: MapKind): void {
    const dirty = this.#dirty.get(kind);
    if (!dirty || dirty.size === 0) return;
    const map = new Map(this.#maps.get(kind));
    for (const [key, name] of dirty) {
      const held = this.#held.get(key);
      const reason = held?.record ? this.#reasonAgainst(held) : "";
      if (reason === null && held?.record) map.set(name, held.record);
      else map.delete(name);
      if (held && reason) {
        this.#refused.set(key, { key, revision: held.revision, reason });
      } else this.#refused.delete(key);
    }
    this.#lines.get(kind)?.add(map, [...dirty.values()]);
    dirty.clear();
    this.#maps.set(kind, map);
  }

  /** null: it fits. "": it is not shown, and that is no fault. */
  #reasonAgainst(held: Held): string | null {
    if (held.kind === "nodes") return this.#foreignAddress(held.record as NodeRecord);
    if (held.kind === "endpoints") {
      return this.#foreignPodAddress(held.record as RecordOfKind["endpoints"]);
    }
    return null;
  }

  #member(nodeId: string): RecordOfKind["members"] | undefined {
    return (
      (this.#held.get(keyOf.member(nodeId)) as Held<"members"> | undefined)?.record ?? undefined
    );
  }

  /**
   * A node that says it has an underlay address which another member claims would draw that
   * member's traffic.
   */
  #foreignAddress(node: NodeRecord): string | null {
    const claims = this.#maps.get("claims") as Map<string, RecordOfKind["claims"]>;
    for (const [index, place] of placesOf(node).entries()) {
      const claim = claims.get(place);
      if (!claim || claim.nodeId === node.nodeId) continue;
      const owner = this.#member(claim.nodeId)?.name ?? claim.nodeId;
      const address = node.underlay.addresses[index];
      return `underlay address ${address} port ${claim.port} is claimed by ${owner}`;
    }
    return null;
  }

  /**
   * A pod's address must lie in a PodCIDR of its node. "": not shown, and no fault (what removed
   * nodes left behind).
   */
  #foreignPodAddress(endpoint: RecordOfKind["endpoints"]): string | null {
    const member = this.#member(endpoint.nodeId);
    if (!member || member.state === "removed") return "";
    const own = member.podCIDRs;
    const prefixes = own.map((cidr) => parsePrefix(cidr)).filter((prefix) => prefix !== null);
    for (const address of endpoint.addresses) {
      if (prefixes.some((prefix) => prefixHolds(prefix, address))) continue;
      return `address ${address} is in no PodCIDR of its node`;
    }
    return null;
  }
}
