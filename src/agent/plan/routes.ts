// Kernel routes, walls, masquerade's exceptions and admission: what the host is to do with the
// prefixes that plan has decided. Pure.
import type { MeshConfig } from "../../../control/index.js";
import type { PrefixClaim } from "../overlap.js";
import { firstAddress, formatPrefix, type Prefix } from "../prefix.js";
import type { Candidate } from "./peers.js";
import type { LocalFacts, WantedAdmission, WantedRoute } from "./types.js";
import { hasBareTraffic, type PrefixWay, walledPools, wayRules } from "./ways.js";

/** A peer with the prefixes it owns; `ways` has one entry for each of them. */
export interface Peered {
  candidate: Candidate;
  claims: readonly PrefixClaim[];
  ways: readonly PrefixWay[];
}

export interface Shared {
  /** Accepted prefixes of this node. */
  own: readonly PrefixClaim[];
  peers: readonly Peered[];
}

export function byText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

export const texts = (claims: readonly PrefixClaim[]) =>
  claims.map(({ prefix }) => formatPrefix(prefix));

export const leases = (claims: readonly PrefixClaim[]) =>
  claims.filter(({ kind }) => kind === "lease");

export function nodeAddressOf(prefix: Prefix): string {
  return `${firstAddress(prefix)}/${prefix.family === 4 ? 32 : 128}`;
}

function wallsOf(prefixes: readonly string[]): WantedRoute[] {
  return [...new Set(prefixes)]
    .map(
      (destination): WantedRoute => ({
        ...{ destination, kind: "unreachable", source: null, via: "pool" },
      }),
    )
    .sort((a, b) => byText(a.destination, b.destination));
}

/** Pod traffic stays walled in also while this node carries none. */
export function wallsAlone(pools: readonly string[]): WantedRoute[] {
  return wallsOf(pools);
}

/** Kernel routes to a peer's prefixes: by the tunnel's device or by a neighbour. */
export function routesTo(
  { candidate, claims, ways }: Peered,
  own: readonly PrefixClaim[],
  local: LocalFacts,
): WantedRoute[] {
  const nodeAddress = (family: 4 | 6) => {
    const lease = leases(own).find(({ prefix }) => prefix.family === family);
    return lease === undefined ? null : firstAddress(lease.prefix);
  };
  const device = local.underlay.interface;
  return claims.flatMap(({ prefix }, index): WantedRoute[] => {
    const source = nodeAddress(prefix.family);
    const { way = "none", gateway = null } = ways[index] ?? {};
    // Without an address of that family nothing of ours could be answered.
    if (source === null || way === "underlay" || way === "none") return [];
    const route = { destination: formatPrefix(prefix), source, via: candidate.name };
    if (gateway === null) return [{ ...route, kind: "peer" }];
    return [{ ...route, kind: "direct", gateway, device }];
  });
}

/** Behind the routes: what has none must not leave, but for what the underlay routes by itself. */
export function wallsBehind(
  own: readonly PrefixClaim[],
  pools: readonly string[],
  config: MeshConfig,
): WantedRoute[] {
  return wallsOf([...walledPools(pools, wayRules(config).left), ...texts(own)]);
}

/** Everything of the mesh: pools, own prefixes, and what peers have outside the pools. */
export function exceptions(
  own: readonly PrefixClaim[],
  others: readonly string[],
  pools: readonly string[],
): string[] {
  return [...new Set([...pools, ...texts(own), ...others])].sort(byText);
}

/** Prefixes of a peer whose packets come and go without an outer header. */
export function bareOf({ claims, ways }: Peered): string[] {
  return claims.flatMap(({ prefix }, index) => {
    const way = ways[index]?.way;
    return way === "direct" || way === "underlay" ? [formatPrefix(prefix)] : [];
  });
}

/** Which sources may pass the underlay's interface bare; null while everything is encapsulated. */
export function admissionOf(
  own: readonly PrefixClaim[],
  bare: readonly string[],
  pools: readonly string[],
  local: LocalFacts,
  config: MeshConfig,
): WantedAdmission | null {
  if (!hasBareTraffic(wayRules(config))) return null;
  return {
    device: local.underlay.interface,
    own: texts(own).sort(byText),
    peers: [...bare].sort(byText),
    pools: [...pools].sort(byText),
  };
}
