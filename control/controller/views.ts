// What administrators are shown: nodes with their liveness, leases, routes, and what an audit
// finds.
import { overlaps, parsePrefix } from "../cidr.js";
import { keyOf } from "../keys.js";
import type {
  EndpointRecord,
  LeaseState,
  MemberRecord,
  MemberState,
  NodeRecord,
} from "../records.js";
import { tunnelPortOf } from "../setting-rules.js";
import { type Core, configOf, unfinished_ms } from "./core.js";

export interface NodeView {
  nodeId: string;
  name: string;
  state: MemberState;
  role: string;
  podCIDRs: string[];
  epoch: number;
  grantedPrefixes: string[];
  /** Whether it may serve PPTP accounts. */
  pptpServer: boolean;
  /** Of the token it joined with, where that is known. */
  tokenId?: string;
  joined: string;
  /** RFC 3339; null: the answering controller heard no heartbeat. */
  lastSeen: string | null;
  online: boolean;
  node: NodeRecord | null;
  endpoints: EndpointRecord[];
}

export interface LeaseView {
  cidr: string;
  nodeId: string | null;
  /** Name of the node, when it is still known. */
  name: string | null;
  epoch: number;
  state: LeaseState;
  since: string;
  until: string | null;
  /** It has rested: the next node may get it. */
  free: boolean;
}

export interface LeaseFinding {
  cidr: string;
  /**
   * orphan: held by no member. unlisted: held by a member that does not list it, for longer than a
   * join takes. unheld: listed by a member that does not hold it. epoch: of an older membership.
   * overlap: with another.
   */
  kind: "orphan" | "unlisted" | "unheld" | "epoch" | "overlap";
  detail: string;
  nodeId: string | null;
}

export interface RouteView {
  prefix: string;
  via: "node" | "peer";
  name: string;
  nodeId: string | null;
  underlay: string | null;
  port: number | null;
  protocol: string;
  state: string;
}

/** Three missed heartbeats. */
const online_ms = 15_000;

/** When each node was last heard, by this controller. */
export class Roster {
  readonly #heard = new Map<string, number>();
  readonly #trust = new Map<string, number>();
  /** `text`: what its heartbeat says. */
  hear(nodeId: string, text: string): void {
    this.#heard.set(nodeId, performance.now());
    const trust = /"trust":(\d{1,16})/.exec(text)?.[1];
    if (trust !== undefined) this.#trust.set(nodeId, Number(trust));
  }
  /** Serial of the record of trust that it has taken, 0 when it has not said so. */
  trustOf(nodeId: string): number {
    return this.#trust.get(nodeId) ?? 0;
  }
  lastSeen(nodeId: string): { lastSeen: string | null; online: boolean } {
    const at = this.#heard.get(nodeId);
    if (at === undefined) return { lastSeen: null, online: false };
    // The wall clock may have jumped since.
    const age_ms = performance.now() - at;
    const lastSeen = new Date(Date.now() - age_ms).toISOString();
    return { lastSeen, online: age_ms < online_ms };
  }
}

export function nodeView(core: Core, roster: Roster, member: MemberRecord): NodeView {
  const { mesh } = core.store.ledgers;
  const { signature: _, key: __, ...shown } = member;
  const node = mesh.get<"nodes">(keyOf.node(member.nodeId))?.record ?? null;
  const endpoints = [...mesh.records("endpoints")].filter((one) => one.nodeId === member.nodeId);
  const pptpServer = member.pptpServer === true;
  return { ...shown, pptpServer, ...roster.lastSeen(member.nodeId), node, endpoints };
}

export function leaseViews(core: Core): LeaseView[] {
  const { mesh } = core.store.ledgers;
  const names = new Map([...mesh.records("members")].map((one) => [one.nodeId, one.name]));
  const views = [...mesh.records("leases")].map((record) => {
    const { signature: _, ...lease } = record;
    const name = lease.nodeId === null ? null : (names.get(lease.nodeId) ?? null);
    const free = lease.state === "quarantined" && core.leases.rests.isOver(record);
    return { ...lease, name, free };
  });
  return views.sort((a, b) => comparePrefixes(a.cidr, b.cidr));
}

function comparePrefixes(a: string, b: string): number {
  const [left, right] = [parsePrefix(a), parsePrefix(b)];
  if (!left || !right) return a < b ? -1 : 1;
  if (left.family !== right.family) return left.family - right.family;
  if (left.first !== right.first) return left.first < right.first ? -1 : 1;
  return left.length - right.length;
}

/** Where each prefix of the mesh leads, as members' records say. */
export function routeViews(core: Core): RouteView[] {
  const { mesh } = core.store.ledgers;
  const config = configOf(core.store);
  const routes: RouteView[] = [];
  for (const member of mesh.records("members")) {
    if (member.state === "removed") continue;
    const node = mesh.get<"nodes">(keyOf.node(member.nodeId))?.record ?? null;
    for (const prefix of [...member.podCIDRs, ...member.grantedPrefixes]) {
      const { nodeId, name, state } = member;
      const underlay = node?.underlay.addresses[0] ?? null;
      const port = node?.underlay.port ?? tunnelPortOf(config);
      const protocol = config.routingMode === "native" ? "native" : config.tunnelProtocol;
      routes.push({ prefix, via: "node", name, nodeId, underlay, port, protocol, state });
    }
  }
  for (const { name, podCIDRs, endpoint, port, protocol } of mesh.records("peers")) {
    for (const prefix of podCIDRs) {
      const rest = { nodeId: null, underlay: endpoint, port, protocol, state: "static" };
      routes.push({ prefix, via: "peer", name, ...rest });
    }
  }
  return routes.sort((a, b) => comparePrefixes(a.prefix, b.prefix));
}

/** Leases and member records that do not fit together. Empty when all is well. */
export function auditLeases(core: Core): LeaseFinding[] {
  const { mesh } = core.store.ledgers;
  const members = new Map([...mesh.records("members")].map((one) => [one.nodeId, one]));
  const held = [...mesh.records("leases")].filter((lease) => lease.state === "held");
  const findings: LeaseFinding[] = [];
  for (const lease of held) {
    const { cidr, nodeId } = lease;
    const member = nodeId === null ? undefined : members.get(nodeId);
    const find = (kind: LeaseFinding["kind"], detail: string) =>
      findings.push({ cidr, kind, detail, nodeId });
    if (!member || member.state === "removed") find("orphan", "its holder is no member");
    else if (lease.epoch !== member.epoch) find("epoch", `${lease.epoch}, not ${member.epoch}`);
    else if (!member.podCIDRs.includes(cidr) && isOld(lease.since)) {
      find("unlisted", `${member.name} does not list it`);
    }
  }
  const holders = new Map(held.map((lease) => [lease.cidr, lease.nodeId]));
  for (const { nodeId, name, podCIDRs } of members.values()) {
    for (const cidr of podCIDRs) {
      if (holders.get(cidr) === nodeId) continue;
      const detail = `${name} lists it but does not hold it`;
      findings.push({ cidr, kind: "unheld", detail, nodeId });
    }
  }
  return [...findings, ...overlapping(held.map((lease) => lease.cidr))];
}

const isOld = (since: string) => Date.now() - Date.parse(since) > unfinished_ms;

/** Neighbours in address order: enough to find every overlap of prefixes. */
function overlapping(cidrs: string[]): LeaseFinding[] {
  const sorted = [...cidrs].sort(comparePrefixes);
  const findings: LeaseFinding[] = [];
  for (const [index, cidr] of sorted.entries()) {
    const next = sorted[index + 1];
    const [a, b] = [parsePrefix(cidr), next === undefined ? null : parsePrefix(next)];
    if (next === undefined || !a || !b || !overlaps(a, b)) continue;
    findings.push({ cidr: next, kind: "overlap", detail: `overlaps ${cidr}`, nodeId: null });
  }
  return findings;
}
