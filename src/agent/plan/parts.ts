// What a plan says of one peer whose prefixes are decided: its entry in the tables, routes, what is
// shown of it. Made again only when the peer or what all peers share has changed.

import type { MeshConfig } from "../../../control/index.js";
import type { TablePeer } from "../../datapath/index.js";
import type { PrefixClaim } from "../overlap.js";
import { firstAddress, formatAddress, type Prefix } from "../prefix.js";
import { isSameButPort } from "./forms.js";
import { identityIn } from "./identity.js";
import type { Candidate } from "./peers.js";
import { Problems } from "./peers.js";
import { bareOf, leases, type Peered, routesTo, texts } from "./routes.js";
import { type Numbers, tablePeer, withoutProof } from "./tables.js";
import type { LocalFacts, PlannedPeer, Problem, WantedRoute, Way } from "./types.js";
import { type PrefixWay, waysDecider } from "./ways.js";

export interface PeerPart {
  peered: Peered;
  table: TablePeer;
  planned: PlannedPeer;
  routes: readonly WantedRoute[];
  /** Prefixes whose packets come and go without an outer header. */
  bare: readonly string[];
  /** Prefixes beside its leases. */
  others: readonly string[];
  /** It is sent the mesh's own form, whatever the port, and nothing else is asked about. */
  isSettled: boolean;
  problems: readonly Problem[];
}

/** What all parts are made with. */
export interface Common {
  config: MeshConfig;
  local: LocalFacts;
  numbers: Numbers;
  /** Accepted prefixes of this node, and the number of its pods. */
  own: readonly PrefixClaim[];
  ours: number;
}

export function peerPart(
  candidate: Candidate,
  claims: readonly PrefixClaim[],
  { config, local, numbers, own, ours }: Common,
): PeerPart {
  const problems = new Problems();
  const decide = waysDecider(config, local.underlay, numbers.pools, problems.report);
  const peered = withoutProof({ candidate, claims, ways: decide(candidate, claims) });
  const { kind, form, next } = peered.candidate;
  const settled = next === null && isSameButPort(form, numbers.own);
  return {
    peered,
    table: tablePeer(peered, numbers, ours),
    planned: plannedPeer(peered, numbers),
    routes: routesTo(peered, own, local),
    bare: bareOf(peered),
    others: texts(claims.filter((claim) => claim.kind !== "lease")),
    isSettled: kind === "static" || settled,
    problems: problems.sorted(),
  };
}

function plannedPeer({ candidate, claims, ways }: Peered, numbers: Numbers): PlannedPeer {
  const { name, nodeId, kind, address, form } = candidate;
  const probed = kind === "member" ? leases(claims) : claims;
  return {
    name,
    nodeId,
    kind,
    address,
    form,
    identity: kind === "member" ? identityIn(numbers, claims) : null,
    prefixes: texts(claims),
    prefixWays: ways.map(({ way }) => way),
    podCIDRs: kind === "member" ? texts(leases(claims)) : texts(claims),
    probeAddresses: probed.flatMap(({ prefix }) => probeTargets(prefix, kind)),
    ways: { ipv4: wayInFamily(4, claims, ways), ipv6: wayInFamily(6, claims, ways) },
  };
}

/** The way of the PodCIDR in a family, or of the first prefix where there is no PodCIDR. */
function wayInFamily(
  family: 4 | 6,
  claims: readonly PrefixClaim[],
  ways: readonly PrefixWay[],
): Way | null {
  const own = claims.filter(({ prefix }) => prefix.family === family);
  const claim = leases(own)[0] ?? own[0];
  return claim === undefined ? null : (ways[claims.indexOf(claim)]?.way ?? null);
}

/** A member stands at the first address; a peer that is no meshd may as well use the second. */
function probeTargets(prefix: Prefix, kind: "member" | "static"): string[] {
  const alone = prefix.length === (prefix.family === 4 ? 32 : 128);
  if (kind === "member" || alone) return [firstAddress(prefix)];
  return [firstAddress(prefix), formatAddress({ ...prefix, value: prefix.value + 1n })];
}
