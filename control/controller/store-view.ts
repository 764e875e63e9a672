// What administrators are told of a store that came back empty or older: what was put back and by
// whom, and what nobody put back yet.
import { keyOf } from "../keys.js";
import type { Core } from "./core.js";
import type { StoreIncident } from "./losses.js";
import { auditLeases, type LeaseFinding, type Roster } from "./views.js";

export interface StoreView {
  /** null: no incident is known. Members are named. */
  incident: StoreIncident | null;
  /** Seconds in which nothing new is given. */
  holdOff_s: number;
  /** Leases and members that do not fit together now: traces of records that nobody handed back. */
  findings: LeaseFinding[];
  /**
   * Members that were not heard since the answering controller started: they may hold newer
   * records, and hand them back when they return. `own`: their own record is missing, too.
   */
  unheard: { name: string; nodeId: string; own: boolean }[];
}

export function storeView(core: Core, roster: Roster): StoreView {
  const { mesh } = core.store.ledgers;
  const members = [...mesh.records("members")].filter(({ state }) => state !== "removed");
  const unheard = members
    .filter(({ nodeId }) => roster.lastSeen(nodeId).lastSeen === null)
    .map(({ name, nodeId }) => ({ name, nodeId, own: !mesh.get(keyOf.node(nodeId))?.record }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const holdOff_s = Math.ceil(core.losses.holdOff_ms / 1000);
  const incident = named(core, core.losses.incident);
  return { incident, holdOff_s, findings: auditLeases(core), unheard };
}

function named(core: Core, incident: StoreIncident | null): StoreIncident | null {
  if (incident === null) return null;
  const { mesh } = core.store.ledgers;
  const nameOf = <T extends { by: string }>(one: T): T => {
    const member = mesh.get<"members">(keyOf.member(one.by))?.record;
    return { ...one, by: member?.name ?? one.by };
  };
  const [counts, restored] = [incident.counts.map(nameOf), incident.restored.map(nameOf)];
  return { ...incident, counts, restored };
}
