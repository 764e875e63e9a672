// The hinge of both planes, pure: records of the cluster in, table contents and host state out.
// The same records give the same plan, in whatever order they came (test/agent/plan.test.ts).
import type { MemberRecord, MeshSnapshot, PeerRecord } from "../../../control/index.js";
import type { ListeningPort } from "../../datapath/index.js";
import { tunnelMtu } from "../mtu.js";
import { type PrefixClaim, resolveClaims } from "../overlap.js";
import {
  comparePrefixes,
  firstAddress,
  firstInside,
  formatAddress,
  formatPrefix,
  hostPrefix,
  type Prefix,
  parsePrefix,
} from "../prefix.js";
import {
  defaultPortOf,
  greOptionsOf,
  isTunnelProtocol,
  isUdp,
  spokenProtocols,
} from "../protocols.js";
import {
  callAddresses,
  callNatOf,
  callRoutes,
  foreignPrefixes,
  NO_CALLS,
  pairCalls,
  pairsOf,
  planCalls,
} from "./calls.js";
import { CHECKED, planChecksums } from "./checksums.js";
import { type Form, formsInUse, keptBeside, meshForm, NO_CHANGE } from "./forms.js";
import { identityIn } from "./identity.js";
import {
  type Candidate,
  mayForward,
  memberCandidate,
  memberClaims,
  Problems,
  type Report,
  settleAddresses,
  staticCandidate,
  staticClaims,
} from "./peers.js";
import { planPorts } from "./ports.js";
import {
  admissionOf,
  exceptions,
  leases,
  nodeAddressOf,
  type Peered,
  routesOf,
  type Shared,
  texts,
  wallsAlone,
} from "./routes.js";
import { changesOf, type Numbers, shadowsOf, tablesOf, withoutProof } from "./tables.js";
import type { LocalFacts, Plan, PlanInput, PlannedPeer, Way } from "./types.js";
import { type PrefixWay, wayRules, waysDecider } from "./ways.js";

export function poolsOf(snapshot: MeshSnapshot): string[] {
  const { clusterPoolIPv4PodCIDR: four, clusterPoolIPv6PodCIDR: six } = snapshot.config;
  return [four, six].filter((pool) => pool !== null);
}

function parsedPools(snapshot: MeshSnapshot): Prefix[] {
  return poolsOf(snapshot).flatMap((pool) => parsePrefix(pool) ?? []);
}

/** A plan that forwards nothing, with what can be said all the same. */
function emptyPlan(snapshot: MeshSnapshot, local: LocalFacts, member: MemberRecord | null): Plan {
  return {
    member: member === null ? null : memberView(member),
    hold: false,
    tables: null,
    peers: [],
    addresses: [],
    routes: [],
    masquerade: null,
    admission: null,
    routingMode: snapshot.config.routingMode,
    encapMode: snapshot.config.encapMode,
    leftToUnderlay: wayRules(snapshot.config).left.map(formatPrefix),
    tunnelProtocol: snapshot.config.tunnelProtocol,
    ...sizesOf({ snapshot, local }),
    otherPorts: [],
    receives: [],
    changes: [],
    calls: [],
    pairs: null,
    callNat: { sources: [], calls: [] },
    checksums: CHECKED,
    identity: null,
    ordered: false,
    problems: [],
  };
}

/** As far as they can be said of a node that carries nothing. */
function sizesOf(input: PlanInput): Pick<Plan, "port" | "mtu" | "pathMtu"> {
  const { own, mtu, pathMtu } = numbersOf(input, () => undefined);
  return { port: own.port, mtu, pathMtu };
}

function memberView(member: MemberRecord): NonNullable<Plan["member"]> {
  const { name, state, role, podCIDRs, epoch } = member;
  return { name, state, role, podCIDRs: [...podCIDRs], epoch };
}

/** The encapsulation asked for, or null when this version has none of that kind. */
function supportedTunnel(
  snapshot: MeshSnapshot,
  report: Report,
): Pick<Numbers, "vni" | "dscp" | "pools"> | null {
  const { tunnelProtocol, vni, dscp } = snapshot.config;
  const refuse = (setting: string, value: string, allowed: string) => {
    const why = `${setting} ${value} is not supported by this agent, allowed: ${allowed}`;
    report("MESHD_UNSUPPORTED_SETTING", "config", `${why}; keeping the last good state`);
    return null;
  };
  return isTunnelProtocol(tunnelProtocol)
    ? { vni, dscp, pools: parsedPools(snapshot) }
    : refuse("tunnelProtocol", tunnelProtocol, spokenProtocols.join(", "));
}

interface Shares extends Shared {
  /** Ports to listen on beside the tunnel's own. */
  others: ListeningPort[];
}

function candidatesOf(
  { snapshot, local, change = NO_CHANGE, calls = NO_CALLS }: PlanInput,
  members: MemberRecord[],
  statics: PeerRecord[],
  report: Report,
): Candidate[] {
  const { family } = local.underlay;
  const pairs = pairCalls(calls);
  return [
    ...members.map((member) => memberCandidate(snapshot, member, family, change, pairs, report)),
    ...statics.map((peer) => staticCandidate(peer, family, snapshot.config, report)),
  ].filter((candidate) => candidate !== null);
}

function keyOfOwner(owner: string): string {
  return owner.startsWith("peer:") ? `peers.${owner.slice(5)}` : `members.${owner}`;
}

/** Leases lie in pools, which hold no underlay address; other prefixes must not hold one either. */
function withoutLoops(
  claims: PrefixClaim[],
  underlays: readonly string[],
  report: Report,
): PrefixClaim[] {
  const hosts = underlays.flatMap((text) => hostPrefix(text) ?? []).sort(comparePrefixes);
  return claims.filter((claim) => {
    const held = claim.kind === "lease" ? undefined : firstInside(hosts, claim.prefix);
    if (held !== undefined) {
      const what = `${formatPrefix(claim.prefix)} of ${claim.owner} holds the underlay address`;
      const why = `${what} ${firstAddress(held)}: not routed`;
      report("MESHD_ROUTE_LOOP", keyOfOwner(claim.owner), why);
    }
    return held === undefined;
  });
}

function groupByOwner(claims: readonly PrefixClaim[]): Map<string, PrefixClaim[]> {
  const groups = new Map<string, PrefixClaim[]>();
  const sorted = [...claims].sort((a, b) => comparePrefixes(a.prefix, b.prefix));
  for (const claim of sorted) {
    const group = groups.get(claim.owner);
    if (group === undefined) {
      groups.set(claim.owner, [claim]);
    } else {
      group.push(claim);
    }
  }
  return groups;
}

/** Decides peers and prefixes for the whole mesh, this node included. */
function share(input: PlanInput, { own, kept }: Numbers, report: Report): Shares {
  const { snapshot, local } = input;
  const members = [...snapshot.members.values()].filter(mayForward);
  const statics = [...snapshot.peers.values()];
  const others = members.filter((member) => member.nodeId !== local.nodeId);
  const pools = parsedPools(snapshot);
  const candidates = candidatesOf(input, others, statics, report);
  const settled = settleAddresses(snapshot, local, pools, candidates, report);
  const calling = input.calls?.open === true ? [{ protocol: "pptp" as const, port: 0 }] : [];
  const { candidates: peers, others: ports } = planPorts(settled, own, kept, calling, report);
  const claims = [
    ...members.flatMap((member) => memberClaims(snapshot, member, report)),
    ...statics.flatMap((peer) => staticClaims(peer, report)),
  ];
  const underlays = [local.underlay.address, ...peers.map((peer) => peer.address)];
  const { accepted, refused } = resolveClaims(withoutLoops(claims, underlays, report));
  for (const { claim, winner } of refused) {
    const what = `${formatPrefix(claim.prefix)} of ${claim.owner} overlaps`;
    const why = `${what} ${formatPrefix(winner.prefix)} of ${winner.owner}: not routed`;
    report("MESHD_PREFIX_OVERLAP", keyOfOwner(claim.owner), why);
  }
  const owned = groupByOwner(accepted);
  const decide = waysDecider(snapshot.config, local.underlay, pools, report);
  const peered = peers.flatMap((candidate) => {
    const claims = owned.get(candidate.owner);
    if (claims === undefined) return [];
    return [withoutProof({ candidate, claims, ways: decide(candidate, claims) })];
  });
  return { own: owned.get(local.nodeId) ?? [], peers: peered, others: ports };
}

function plannedPeer({ candidate, claims, ways }: Peered, numbers: Numbers): PlannedPeer {
  const { name, nodeId, kind, address, form } = candidate;
  const probed = kind === "member" ? leases(claims) : claims;
  return {
    ...{ name, nodeId, kind, address, form },
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
  const second = formatAddress({ ...prefix, value: prefix.value + 1n });
  return kind === "member" || alone ? [firstAddress(prefix)] : [firstAddress(prefix), second];
}

/** Tunnel port and MTU by the settings, the node's own first; known also while nothing flows. */
function numbersOf(
  { snapshot, local, change = NO_CHANGE }: PlanInput,
  report: Report,
): Pick<Numbers, "own" | "mtu" | "pathMtu" | "kept"> {
  const { config } = snapshot;
  const protocol = isTunnelProtocol(config.tunnelProtocol) ? config.tunnelProtocol : "vxlan";
  const isNative = config.routingMode === "native";
  const asked = local.tunnelPort || config.tunnelPort || defaultPortOf(protocol);
  const own = meshForm(config, protocol, isUdp(protocol) ? asked : 0);
  const sizeWith = (form: Form) =>
    tunnelMtu({
      setting: local.mtu ?? config.mtu,
      protocol: isNative ? null : form.protocol,
      gre: greOptionsOf(form),
      underlayFamily: local.underlay.family,
      underlayMtu: local.underlay.mtu,
      overlayIPv6: config.clusterPoolIPv6PodCIDR !== null,
    });
  const { mtu, path, warning } = sizeWith(own);
  if (warning !== null) {
    report("MESHD_MTU", "config", warning);
  }
  // What comes or goes in another form meanwhile must fit, too.
  const sizes = formsInUse(own, change).map((form) => sizeWith(form).mtu);
  const kept = keptBeside(own, change.kept);
  return { own, mtu: Math.min(mtu, ...sizes), pathMtu: path, kept };
}

/** Why this node may not forward now: one problem, or null. */
function standstill(
  member: MemberRecord | null,
  { snapshot, local }: PlanInput,
): { code: string; message: string; hold: boolean } | null {
  if (member === null) {
    const why = `revision ${snapshot.revision} of the store knows no node ${local.nodeId}`;
    return {
      code: "MESHD_NOT_A_MEMBER",
      message: `${why}; keeping the last good state`,
      hold: true,
    };
  }
  if (!mayForward(member)) {
    const message = `this node is ${member.state}: no traffic is carried; ask an administrator`;
    return { code: "MESHD_REMOVED", message, hold: false };
  }
  return null;
}

/**
 * Plans this node from one snapshot. Throws nothing: what cannot be applied is left out and said in
 * `problems`, sorted. `hold` asks the caller to keep the plan it has.
 */
export function plan(input: PlanInput): Plan {
  const { snapshot, local } = input;
  const problems = new Problems();
  const member = snapshot.members.get(local.nodeId) ?? null;
  const base = emptyPlan(snapshot, local, member);
  const stop = standstill(member, input);
  if (stop !== null) {
    problems.report(stop.code, `members.${local.nodeId}`, stop.message);
    return {
      ...base,
      hold: stop.hold,
      routes: wallsAlone(poolsOf(snapshot)),
      problems: problems.sorted(),
    };
  }
  const tunnel = supportedTunnel(snapshot, problems.report);
  if (tunnel === null) {
    return {
      ...base,
      hold: true,
      routes: wallsAlone(poolsOf(snapshot)),
      problems: problems.sorted(),
    };
  }
  const isNative = snapshot.config.routingMode === "native";
  const { family } = local.underlay;
  const checksums = planChecksums(snapshot, local.nodeId, family, problems.report);
  const sizes = numbersOf(input, problems.report);
  const { calls: known = NO_CALLS } = input;
  const numbers = { ...tunnel, ...sizes, family, isNative, checksums, pairs: pairCalls(known) };
  const shared = share(input, numbers, problems.report);
  const calls = planCalls(known, shared, tunnel.pools, local, problems.report);
  const receives = [numbers.own, ...numbers.kept];
  const shadows = shadowsOf(shared.peers, input.change ?? NO_CHANGE);
  const pools = poolsOf(snapshot);
  const podCIDRs = texts(leases(shared.own));
  const sources = snapshot.config.masquerade ? podCIDRs : [];
  const except = exceptions(shared, [...pools, ...base.leftToUnderlay, ...foreignPrefixes(calls)]);
  return {
    ...base,
    tables: tablesOf(shared, calls, shadows, local, numbers),
    peers: shared.peers.map((peer) => plannedPeer(peer, numbers)),
    addresses: [
      ...leases(shared.own).map(({ prefix }) => nodeAddressOf(prefix)),
      ...callAddresses(calls),
    ],
    routes: [...callRoutes(calls, shared.own), ...routesOf(shared, pools, local, snapshot.config)],
    masquerade: sources.length === 0 ? null : { sources, except },
    admission: admissionOf(shared, pools, local, snapshot.config),
    port: numbers.own.port,
    otherPorts: shared.others,
    receives,
    changes: changesOf(shared.peers, calls.length, shadows, numbers.own),
    calls,
    pairs: pairsOf(snapshot, shared, receives),
    callNat: callNatOf(podCIDRs, calls),
    checksums,
    identity: identityIn(numbers, shared.own, problems.report),
    ordered: known.open || isOrdered(shared, numbers),
    mtu: numbers.mtu,
    pathMtu: numbers.pathMtu,
    problems: problems.sorted(),
  };
}

/** Whether packets are numbered, in whatever form they come or go. */
function isOrdered({ peers }: Shares, { own, kept }: Numbers): boolean {
  const forms = [own, ...kept, ...peers.map(({ candidate }) => candidate.form)];
  return forms.some(({ greSequence, protocol }) => greSequence === true || protocol === "pptp");
}
