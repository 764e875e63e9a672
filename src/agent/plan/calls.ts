// What calls (PPTP sessions, ADR 0038) add to a plan: entries in the tables, routes, an address of
// ours, and which members are to be called. Pure.
import type { MeshSnapshot } from "../../../control/index.js";
import type { CallFact } from "../../calls/index.js";
import type { TablePeer } from "../../datapath/index.js";
import type { PrefixClaim } from "../overlap.js";
import {
  contains,
  containsAddress,
  firstAddress,
  formatPrefix,
  hostPrefix,
  type Prefix,
  parsePrefix,
} from "../prefix.js";
import type { Form } from "./forms.js";
import type { Candidate, Report } from "./peers.js";
import { leases, type Shared } from "./routes.js";
import type { CallsInput, LocalFacts, PlannedCall, PlannedPair, WantedRoute } from "./types.js";

export const NO_CALLS: CallsInput = { open: false, up: [] };

/** By nodeId: calls between members that are up. */
export function pairCalls({ up }: CallsInput): ReadonlyMap<string, CallFact> {
  return new Map(
    up.flatMap((fact) => (fact.kind === "pair" && fact.nodeId ? [[fact.nodeId, fact]] : [])),
  );
}

/** What the tables say of a peer that is reached by a call; null: it has none now. */
export function pptpOf(
  fact: Pick<CallFact, "slot" | "encrypted" | "acfc" | "pfc"> | undefined,
): NonNullable<TablePeer["pptp"]> {
  const { slot = null, encrypted = true, acfc = false, pfc = false } = fact ?? {};
  return { slot, encrypted, acfc, pfc };
}

/** Calls that are no member's, as far as what they say fits the mesh. */
export function planCalls(
  { up }: CallsInput,
  shared: Shared,
  pools: readonly Prefix[],
  local: LocalFacts,
  report: Report,
): PlannedCall[] {
  const taken: Prefix[] = [];
  return up.flatMap((fact) => {
    if (fact.kind === "pair") return [];
    const made =
      fact.kind === "dial-in"
        ? dialIn(fact, shared, report)
        : dialOut(fact, shared, pools, local, taken, report);
    taken.push(...(made?.prefixes ?? []).flatMap((text) => parsePrefix(text) ?? []));
    return made === null ? [] : [made];
  });
}

function entryOf(
  fact: CallFact,
  kind: PlannedCall["kind"],
): Omit<PlannedCall, "prefixes" | "local"> {
  const { name, slot, address, mtu, encrypted, acfc, pfc } = fact;
  return { name, kind, slot, address, mtu, encrypted, acfc, pfc };
}

/** A user has one address, which is one of ours: other nodes send it here. */
function dialIn(fact: CallFact, { own }: Shared, report: Report): PlannedCall | null {
  const { name, remote } = fact;
  const prefix = hostPrefix(remote ?? "");
  if (prefix === null || !own.some((claim) => contains(claim.prefix, prefix))) {
    const why = `PPTP user ${name}: ${remote ?? "no address"} is no address of this node`;
    report("MESHD_CALL_ADDRESS", `calls.${fact.slot}`, `${why}: not routed`);
    return null;
  }
  return { ...entryOf(fact, "dial-in"), prefixes: [formatPrefix(prefix)], local: null };
}

function dialOut(
  fact: CallFact,
  shared: Shared,
  pools: readonly Prefix[],
  local: LocalFacts,
  taken: readonly Prefix[],
  report: Report,
): PlannedCall | null {
  const { name, slot, remote, routes } = fact;
  const refuse = (why: string) =>
    report("MESHD_CALL_PREFIX", `calls.${slot}`, `PPTP server ${name}: ${why}: not routed`);
  const own = hostPrefix(fact.local ?? "");
  if (own === null || whoHas(own, shared, pools, taken) !== null) {
    const whose = own === null ? "none" : `${fact.local} (${whoHas(own, shared, pools, taken)})`;
    refuse(`the address that it gave us cannot be ours: ${whose}`);
    return null;
  }
  const underlays = [local.underlay.address, ...shared.peers.map((peer) => peer.candidate.address)];
  const asked = routes.flatMap((text) => parsePrefix(text) ?? []);
  const accepted = asked.filter((prefix) => {
    const held = [...underlays, fact.address].find((address) => containsAddress(prefix, address));
    const whose = held === undefined ? whoHas(prefix, shared, pools, taken) : `underlay ${held}`;
    if (whose !== null) refuse(`${formatPrefix(prefix)} overlaps ${whose}`);
    return whose === null;
  });
  // Its own address is a convenience: one that is on the underlay, too, is reached there.
  const far = hostPrefix(remote ?? "");
  const isApart = far !== null && whoHas(far, shared, pools, [...taken, ...accepted]) === null;
  const isUnderlay = [...underlays, fact.address].includes(remote ?? "");
  const prefixes = isApart && !isUnderlay ? [far, ...accepted] : accepted;
  return { ...entryOf(fact, "dial-out"), prefixes: prefixes.map(formatPrefix), local: fact.local };
}

function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a);
}

/** Whose prefix a foreign one would take; null: nobody's. */
function whoHas(
  prefix: Prefix,
  { own, peers }: Shared,
  pools: readonly Prefix[],
  taken: readonly Prefix[],
): string | null {
  const isTaken = (claims: readonly PrefixClaim[]) =>
    claims.some((claim) => overlaps(claim.prefix, prefix));
  if (pools.some((pool) => overlaps(pool, prefix))) return "a pool of the mesh";
  if (isTaken(own)) return "a prefix of this node";
  const peer = peers.find(({ claims }) => isTaken(claims));
  if (peer !== undefined) return `a prefix of ${peer.candidate.name}`;
  return taken.some((other) => overlaps(other, prefix)) ? "another call's" : null;
}

/** Entries of the tables, in the order of the calls. */
export function callPeers(
  calls: readonly PlannedCall[],
  meshMtu: number,
  dscp?: number,
): TablePeer[] {
  return calls.map((call) => ({
    protocol: "pptp",
    ...{ address: call.address, port: 0, pptp: pptpOf(call) },
    mtu: call.kind === "dial-in" ? Math.min(call.mtu, meshMtu) : call.mtu,
    prefixes: call.prefixes,
    ...(call.kind === "dial-in" ? { dialsIn: true } : {}),
    ...(call.kind === "dial-out" ? { foreign: true } : {}),
    ...(dscp === undefined ? {} : { dscp }),
  }));
}

/** The address of ours in each foreign network. */
export function callAddresses(calls: readonly PlannedCall[]): string[] {
  return calls.flatMap(({ local }) => (local === null ? [] : [`${local}/32`]));
}

export function callRoutes(calls: readonly PlannedCall[], own: Shared["own"]): WantedRoute[] {
  const node = leases(own).find(({ prefix }) => prefix.family === 4);
  const nodeAddress = node === undefined ? null : firstAddress(node.prefix);
  return calls.flatMap(({ prefixes, local, name }) =>
    prefixes.map((destination): WantedRoute => {
      return { destination, kind: "peer", source: local ?? nodeAddress, via: name };
    }),
  );
}

/** What lies behind foreign servers. */
export function foreignPrefixes(calls: readonly PlannedCall[]): string[] {
  return calls.flatMap(({ kind, prefixes }) => (kind === "dial-out" ? prefixes : []));
}

export function callNatOf(
  sources: readonly string[],
  calls: readonly PlannedCall[],
): { sources: string[]; calls: { address: string; prefixes: string[] }[] } {
  return {
    sources: [...sources],
    calls: calls.flatMap(({ local, prefixes }) =>
      local === null || prefixes.length === 0 ? [] : [{ address: local, prefixes }],
    ),
  };
}

/** Whether a member takes calls of other members. */
function takesCalls(snapshot: MeshSnapshot, nodeId: string): boolean {
  const receives = snapshot.nodes.get(nodeId)?.receives ?? [];
  return receives.some(({ protocol }) => protocol === "pptp");
}

/** null: this node receives no PPTP of members. */
export function pairsOf(
  snapshot: MeshSnapshot,
  { own, peers }: Shared,
  receives: readonly Form[],
): PlannedPair[] | null {
  if (!receives.some(({ protocol }) => protocol === "pptp")) return null;
  const addressOf = (claims: readonly PrefixClaim[], family: 4 | 6) => {
    const lease = leases(claims).find(({ prefix }) => prefix.family === family);
    return lease === undefined ? null : firstAddress(lease.prefix);
  };
  const isCalled = ({ kind, nodeId }: Candidate) =>
    kind === "member" && takesCalls(snapshot, nodeId);
  return peers
    .filter(({ candidate }) => isCalled(candidate))
    .map(({ candidate: { nodeId, name, address }, claims }) => ({
      ...{ nodeId, name, address },
      ...{ local: addressOf(own, 4), remote: addressOf(claims, 4) },
      ipv6: addressOf(own, 6) !== null && addressOf(claims, 6) !== null,
    }));
}
