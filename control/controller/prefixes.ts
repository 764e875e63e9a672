// Prefixes that are no leases: of static peers, and granted to nodes. No two owners may overlap, or
// readers would have to choose between them.
import { contains, overlaps, parsePrefix, prefixHolds } from "../cidr.js";
import { ControlError } from "../errors.js";
import type { MemberRecord, PeerRecord } from "../records.js";
import { type Core, configOf, peerAt } from "./core.js";
import { poolsOf } from "./leases.js";
import type { Members } from "./members.js";
import { routeViews } from "./views.js";

const granted_max = 256;

interface Owner {
  via: "node" | "peer";
  name: string;
}

/**
 * Received packets are told apart by their outer source address alone (the port is a flow's): no
 * two may share one. MESHD_ADDRESS_CLAIMED.
 */
export function refuseEndpoint(core: Core, members: Members, peer: PeerRecord): void {
  const owner = members.at(peer.endpoint) ?? peerAt(core, peer.endpoint, peer.name);
  if (owner === null) return;
  const what = `${peer.endpoint} is the underlay address of ${owner}; give the peer its own`;
  throw new ControlError("MESHD_ADDRESS_CLAIMED", what);
}

/**
 * MESHD_CONFLICT when prefixes overlap what another owner has, a lease that is held or rests, hold
 * an underlay address, or a whole pool.
 */
export function refuseOverlap(core: Core, owner: Owner, prefixes: string[]): void {
  for (const text of prefixes) {
    const clash = clashOf(core, owner, text);
    if (clash === null) continue;
    const what = `${text} ${clash}; give ${owner.via} ${owner.name} other prefixes`;
    throw new ControlError("MESHD_CONFLICT", what);
  }
}

function clashOf(core: Core, owner: Owner, text: string): string | null {
  const prefix = parsePrefix(text);
  if (prefix === null) return "is no prefix";
  const { mesh } = core.store.ledgers;
  const meets = (other: string) => {
    const parsed = parsePrefix(other);
    return parsed !== null && overlaps(parsed, prefix);
  };
  // What it has already is no clash, but for the leases of a node.
  const routes = routeViews(core).filter((one) => {
    const own = one.via === owner.via && one.name === owner.name;
    return meets(one.prefix) && !(own && (one.via === "peer" || one.prefix === text));
  });
  if (routes[0]) return `overlaps ${routes[0].prefix} of ${routes[0].via} ${routes[0].name}`;
  const lease = [...mesh.records("leases")].find(
    (one) => one.state !== "reserved" && meets(one.cidr),
  );
  if (lease) return `overlaps the ${lease.state} lease ${lease.cidr}`;
  const pool = poolsOf(configOf(core.store)).find((one) => contains(prefix, one.prefix));
  if (pool) return "holds a whole pool of the mesh";
  const claims = [...mesh.records("claims")].map((one) => one.address);
  const peers = [...mesh.records("peers")].filter(
    (one) => owner.via === "node" || one.name !== owner.name,
  );
  const endpoints = peers.map((one) => one.endpoint);
  const held = [...claims, ...endpoints].find((address) => prefixHolds(prefix, address));
  return held === undefined ? null : `holds the underlay address ${held}`;
}

/**
 * Routes a prefix to a node beside its PodCIDRs, or ends that. MESHD_NOT_FOUND, MESHD_CONFLICT,
 * MESHD_REMOVED.
 */
export async function grantPrefix(
  core: Core,
  members: Members,
  request: { node: string; cidr: string; on: boolean },
): Promise<MemberRecord> {
  const { cidr, on } = request;
  const { nodeId, name } = members.find(request.node);
  if (on) refuseOverlap(core, { via: "node", name }, [cidr]);
  return members.changeOnce(nodeId, (member) => {
    if (member.state === "removed") {
      throw new ControlError("MESHD_REMOVED", `node ${name} was removed; nothing leads to it`);
    }
    const has = member.grantedPrefixes.includes(cidr);
    if (!on && !has) {
      const what = `node ${name} was not granted ${cidr}; "meshd node show ${name}" lists it all`;
      throw new ControlError("MESHD_NOT_FOUND", what);
    }
    if (on === has) return undefined;
    if (on && member.grantedPrefixes.length >= granted_max) {
      const what = `node ${name} has ${granted_max} granted prefixes, the most there may be`;
      throw new ControlError("MESHD_CONFLICT", what);
    }
    const others = member.grantedPrefixes.filter((one) => one !== cidr);
    return { ...member, grantedPrefixes: on ? [...others, cidr] : others };
  });
}
