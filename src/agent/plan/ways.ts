// Which way a peer's prefixes go: encapsulated, straight to a neighbour on the same subnet, left to
// the underlay's own routing, or nowhere (ADR 0027). Pure.
import type { MeshConfig } from "../../../control/index.js";
import type { PrefixClaim } from "../overlap.js";
import {
  addressPart,
  contains,
  containsAddress,
  formatAddress,
  formatPrefix,
  type Prefix,
  parseAddress,
  parseNetwork,
  parsePrefix,
  withoutPrefix,
} from "../prefix.js";
import type { Candidate, Report } from "./peers.js";
import type { LocalFacts, PlannedPeer, Way } from "./types.js";

/** The way of one prefix; `gateway` is the neighbour's address when it is direct. */
export interface PrefixWay {
  way: Way;
  gateway: string | null;
}

/** What the mesh's settings say of ways, read once. */
export interface WayRules {
  isNative: boolean;
  /** Neighbours get kernel routes. */
  isDirect: boolean;
  /** Prefixes that the underlay routes by itself; native routing alone has them. */
  left: Prefix[];
}

export function wayRules(config: MeshConfig): WayRules {
  const isNative = config.routingMode === "native";
  const cidrs = [config.ipv4NativeRoutingCIDR, config.ipv6NativeRoutingCIDR];
  return {
    isNative,
    isDirect: isNative ? config.autoDirectNodeRoutes : config.encapMode === "crossSubnet",
    left: isNative ? cidrs.flatMap((cidr) => parsePrefix(cidr ?? "") ?? []) : [],
  };
}

/** Traffic of pods may come and go by the underlay's interface without an outer header. */
export function hasBareTraffic(rules: WayRules): boolean {
  return rules.isNative || rules.isDirect;
}

/** The underlay subnet of a node: the network of its advertised address; null when it said none. */
function subnetOf(interfaceAddresses: readonly string[], advertised: string): Prefix | null {
  const own = interfaceAddresses.find((text) => addressPart(text) === advertised);
  return own === undefined ? null : parseNetwork(own);
}

/** Both stand in one another's subnet. Both nodes ask the same of the same facts. */
export function areNeighbours(local: LocalFacts["underlay"], candidate: Candidate): boolean {
  const own = subnetOf(local.interfaceAddresses, local.address);
  const other = subnetOf(candidate.interfaceAddresses, candidate.address);
  if (own === null || other === null) return false;
  return containsAddress(own, candidate.address) && containsAddress(other, local.address);
}

/**
 * Where a neighbour takes packets of a family: its advertised address, or in the other family an
 * address on our subnet of that family; IPv6 link-local ones are on every link's subnet. IPv4 may
 * have an IPv6 gateway (RFC 5549), IPv6 no IPv4 one.
 */
export function gatewayOf(
  local: LocalFacts["underlay"],
  candidate: Candidate,
  family: 4 | 6,
  pools: readonly Prefix[],
): string | null {
  if (!areNeighbours(local, candidate)) return null;
  if (family === local.family) return candidate.address;
  const subnets = local.interfaceAddresses.flatMap((text) => parseNetwork(text) ?? []);
  const fits = candidate.interfaceAddresses.map(addressPart).find((address) => {
    const isOfFamily = parseAddress(address)?.family === family;
    const isInside = subnets.some((subnet) => containsAddress(subnet, address));
    return isOfFamily && isInside && !pools.some((pool) => containsAddress(pool, address));
  });
  return fits ?? (family === 4 ? candidate.address : null);
}

/** Decides the way of one prefix of a peer. */
function wayOf(
  rules: WayRules,
  candidate: Candidate,
  prefix: Prefix,
  local: LocalFacts["underlay"],
  pools: readonly Prefix[],
): PrefixWay {
  // A peer that is no meshd takes what was agreed with it.
  if (candidate.kind === "static" || !hasBareTraffic(rules))
    return { way: "tunnel", gateway: null };
  const gateway = rules.isDirect ? gatewayOf(local, candidate, prefix.family, pools) : null;
  if (gateway !== null) return { way: "direct", gateway };
  if (!rules.isNative) return { way: "tunnel", gateway: null };
  const isLeft = rules.left.some((left) => contains(left, prefix));
  return { way: isLeft ? "underlay" : "none", gateway: null };
}

/** Gives each prefix of a peer its way; those without one are a problem of that peer. */
export function waysDecider(
  config: MeshConfig,
  local: LocalFacts["underlay"],
  pools: readonly Prefix[],
  report: Report,
): (candidate: Candidate, claims: readonly PrefixClaim[]) => PrefixWay[] {
  const rules = wayRules(config);
  return (candidate, claims) => {
    const ways = claims.map(({ prefix }) => wayOf(rules, candidate, prefix, local, pools));
    const lost = claims.flatMap(({ prefix }, i) => (ways[i]?.way === "none" ? [prefix] : []));
    if (lost.length > 0) {
      const why = whyNone(rules, candidate, lost, local);
      report("MESHD_NO_WAY", `nodes.${candidate.nodeId}`, `${why}: not routed`);
    }
    return ways;
  };
}

/** Why nothing leads to a prefix of a peer under native routing. */
function whyNone(
  rules: WayRules,
  candidate: Candidate,
  prefixes: readonly Prefix[],
  local: LocalFacts["underlay"],
): string {
  const settings = [...new Set(prefixes.map(({ family }) => `ipv${family}NativeRoutingCIDR`))];
  const list = prefixes.map(formatPrefix).join(" and ");
  const verb = settings.length === 1 ? "does" : "do";
  const outside = `${settings.join(" and ")} ${verb} not hold ${list}`;
  const why = reasonNotDirect(rules, candidate, prefixes, local);
  return `node ${candidate.name}: ${why}, and ${outside}`;
}

function reasonNotDirect(
  rules: WayRules,
  candidate: Candidate,
  prefixes: readonly Prefix[],
  local: LocalFacts["underlay"],
): string {
  if (!rules.isDirect) return "autoDirectNodeRoutes is false";
  if (candidate.interfaceAddresses.length === 0) return "does not say its underlay subnet";
  if (areNeighbours(local, candidate)) {
    const family = prefixes[0]?.family ?? 4;
    return `has no IPv${family} address on our link`;
  }
  return `its underlay address ${candidate.address} is on another subnet than ${local.address}`;
}

/** Whether packets of a family, or of any, go to the peer through the hot path. */
export function isTunnelled({ ways }: PlannedPeer, family?: 4 | 6): boolean {
  const { ipv4, ipv6 } = ways;
  const asked = family === undefined ? [ipv4, ipv6] : [family === 4 ? ipv4 : ipv6];
  return asked.includes("tunnel");
}

/** What of the pools gets a wall: all but what is left to the underlay. */
export function walledPools(pools: readonly string[], left: readonly Prefix[]): string[] {
  const parsed = pools.flatMap((pool) => parsePrefix(pool) ?? []);
  const walled = left.reduce(
    (rest, hole) => rest.flatMap((prefix) => withoutPrefix(prefix, hole)),
    parsed,
  );
  return walled.map(formatPrefix);
}

/** Address and length of an interface, one spelling; null when it is none. */
export function interfaceAddress(text: string): string | null {
  const [address = "", length = ""] = text.split("/");
  const parsed = parseAddress(address);
  return parsed === undefined || parseNetwork(text) === null
    ? null
    : `${formatAddress(parsed)}/${Number(length)}`;
}
