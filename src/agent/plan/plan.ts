// The hinge of both planes, pure: records of the cluster in, table contents and host state out.
// The same records give the same plan, in whatever order they came (test/agent/plan.test.ts).
import type { MemberRecord, MeshConfig, MeshSnapshot } from "../../../control/index.js";
import { tunnelMtu } from "../mtu.js";
import { formatPrefix, type Prefix, parsePrefix } from "../prefix.js";
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
import { Memo } from "./memo.js";
import type { PeerPart } from "./parts.js";
import { mayForward, Problems, type Report } from "./peers.js";
import {
  admissionOf,
  exceptions,
  leases,
  nodeAddressOf,
  texts,
  wallsAlone,
  wallsBehind,
} from "./routes.js";
import { type Shares, share } from "./share.js";
import { changesOf, type Numbers, shadowsOf, tablesOf } from "./tables.js";
import type { LocalFacts, Plan, PlanInput, PlannedCall } from "./types.js";
import { wayRules } from "./ways.js";

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
  memo: Memo,
  report: Report,
): Pick<Numbers, "vni" | "dscp" | "pools"> | null {
  const { tunnelProtocol, vni, dscp } = snapshot.config;
  const refuse = (setting: string, value: string, allowed: string) => {
    const why = `${setting} ${value} is not supported by this agent, allowed: ${allowed}`;
    report("MESHD_UNSUPPORTED_SETTING", "config", `${why}; keeping the last good state`);
    return null;
  };
  return isTunnelProtocol(tunnelProtocol)
    ? { vni, dscp, pools: memo.pools.of("", [snapshot.config], () => parsedPools(snapshot)) }
    : refuse("tunnelProtocol", tunnelProtocol, spokenProtocols.join(", "));
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
  { snapshot, local, duplicate }: PlanInput,
): { code: string; message: string; hold: boolean } | null {
  if (duplicate !== undefined) {
    return { code: "MESHD_DUPLICATE_NODE", message: duplicate, hold: false };
  }
  if (member === null) {
    const why = `revision ${snapshot.revision} of the store knows no node ${local.nodeId}`;
    return {
      code: "MESHD_NOT_A_MEMBER",
      message: `${why}; keeping the last good state`,
      hold: true,
    };
  }
  if (!mayForward(member)) {
    const todo =
      member.state === "removed"
        ? "'meshd leave --force' takes it off this host, a new token makes it a node again"
        : "ask an administrator";
    const message = `this node is ${member.state}: no traffic is carried; ${todo}`;
    return { code: "MESHD_REMOVED", message, hold: false };
  }
  return null;
}

/**
 * Plans this node from one snapshot. Throws nothing: what cannot be applied is left out and said in
 * `problems`, sorted. `hold` asks the caller to keep the plan it has.
 */
export function plan(input: PlanInput): Plan {
  return planWith(new Memo(), input);
}

/** Plans one node again and again: the same as `plan`, at the cost of what has changed. */
export class Planner {
  readonly #memo = new Memo();

  plan(input: PlanInput): Plan {
    return planWith(this.#memo, input);
  }
}

function planWith(memo: Memo, asked: PlanInput): Plan {
  const input = { ...asked, local: memo.stable("local", asked.local) };
  const { snapshot, local } = input;
  const problems = new Problems();
  const member = snapshot.members.get(local.nodeId) ?? null;
  const base = emptyPlan(snapshot, local, member);
  const stop = standstill(member, input);
  const walls = wallsAlone(poolsOf(snapshot));
  if (stop !== null) {
    problems.report(stop.code, `members.${local.nodeId}`, stop.message);
    return { ...base, hold: stop.hold, routes: walls, problems: problems.sorted() };
  }
  const tunnel = supportedTunnel(snapshot, memo, problems.report);
  if (tunnel === null) {
    return { ...base, hold: true, routes: walls, problems: problems.sorted() };
  }
  const made = { ...base, ...carrying(input, tunnel, memo, problems) };
  memo.end();
  return { ...made, problems: problems.sorted() };
}

/** What a node that carries traffic has beside the rest. */
function carrying(
  input: PlanInput,
  tunnel: Pick<Numbers, "vni" | "dscp" | "pools">,
  memo: Memo,
  problems: Problems,
): Partial<Plan> {
  const { snapshot, local, change = NO_CHANGE, calls: known = NO_CALLS } = input;
  const { config } = snapshot;
  const { report } = problems;
  const isNative = config.routingMode === "native";
  const { family } = local.underlay;
  const checksums = planChecksums(snapshot, local.nodeId, family, report);
  const sizes = numbersOf(input, report);
  const numbers = { ...tunnel, ...sizes, family, isNative, checksums, pairs: pairCalls(known) };
  const shared = share(input, numbers, memo, problems);
  const { own, peers, parts } = shared;
  const calls = planCalls(known, shared, tunnel.pools, local, report);
  const receives = [numbers.own, ...numbers.kept];
  const shadows = shadowsOf(peers, change);
  const pools = poolsOf(snapshot);
  const podCIDRs = texts(leases(own));
  const unsettled = parts.filter(({ isSettled }) => !isSettled).map(({ peered }) => peered);
  return {
    tables: tablesOf(
      own,
      parts.map(({ table }) => table),
      calls,
      shadows,
      local,
      numbers,
    ),
    peers: parts.map(({ planned }) => planned),
    addresses: [...leases(own).map(({ prefix }) => nodeAddressOf(prefix)), ...callAddresses(calls)],
    routes: [
      ...callRoutes(calls, own),
      ...memo.routes.of(listed(parts, ({ routes }) => routes)),
      ...wallsBehind(own, pools, config),
    ],
    ...hostOf(shared, podCIDRs, calls, pools, local, config),
    port: numbers.own.port,
    otherPorts: shared.others,
    receives,
    changes: changesOf(unsettled, peers.length + calls.length, shadows),
    calls,
    pairs: pairsOf(snapshot, shared, receives),
    callNat: callNatOf(podCIDRs, calls),
    checksums,
    identity: identityIn(numbers, own, report),
    ordered: known.open || isOrdered(shared, numbers),
    mtu: numbers.mtu,
    pathMtu: numbers.pathMtu,
  };
}

/** As flatMap, several times as fast, for what every plan goes through. */
function listed<T>(parts: readonly PeerPart[], of: (part: PeerPart) => readonly T[]): T[] {
  const all: T[] = [];
  for (const part of parts) for (const one of of(part)) all.push(one);
  return all;
}

/** What the firewall of the host is to do for traffic beside the tunnel. */
function hostOf(
  { own, parts }: Shares,
  podCIDRs: string[],
  calls: readonly PlannedCall[],
  pools: readonly string[],
  local: LocalFacts,
  config: MeshConfig,
): Pick<Plan, "masquerade" | "admission"> {
  const sources = config.masquerade ? podCIDRs : [];
  const left = wayRules(config).left.map(formatPrefix);
  const others = listed(parts, (part) => part.others);
  const except = exceptions(own, others, [...pools, ...left, ...foreignPrefixes(calls)]);
  const bare = listed(parts, (part) => part.bare);
  return {
    masquerade: sources.length === 0 ? null : { sources, except },
    admission: admissionOf(own, bare, pools, local, config),
  };
}

/** Whether packets are numbered, in whatever form they come or go. */
function isOrdered({ peers }: Shares, { own, kept }: Numbers): boolean {
  const isNumbered = ({ greSequence, protocol }: Form) =>
    greSequence === true || protocol === "pptp";
  return (
    [own, ...kept].some(isNumbered) || peers.some(({ candidate }) => isNumbered(candidate.form))
  );
}
