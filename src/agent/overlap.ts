// Whose prefix it is when two claims overlap: decided alike on every node, whatever order records
// came in.
import { comparePrefixes, contains, formatPrefix, type Prefix } from "./prefix.js";

/**
 * lease: a PodCIDR held. granted: given to a member by an administrator. static: a peer's that is
 * no meshd.
 */
export type ClaimKind = "lease" | "granted" | "static";

export interface PrefixClaim {
  prefix: Prefix;
  kind: ClaimKind;
  /** nodeId of a member, or "peer:<name>" for a static peer. */
  owner: string;
  /** Lease: when it began (RFC 3339): the older one wins. Else "". */
  since: string;
}

export interface ResolvedClaims {
  accepted: PrefixClaim[];
  refused: Refused[];
}

export interface Refused {
  claim: PrefixClaim;
  winner: PrefixClaim;
}

/** A claim at its place in the tree that prefixes form: they nest or are apart, nothing else. */
interface Place {
  claim: PrefixClaim;
  text: string;
  parent: Place | null;
  accepted: boolean;
  /** Accepted leases of others inside this prefix, one is enough to name. */
  leaseInside: Place | null;
}

const RANK: Record<ClaimKind, number> = { lease: 0, granted: 1, static: 2 };

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** The order in which claims are heard: leases first, older first, then by place and owner. */
function comparePriority(a: PrefixClaim, b: PrefixClaim): number {
  return (
    RANK[a.kind] - RANK[b.kind] ||
    compareText(a.since, b.since) ||
    comparePrefixes(a.prefix, b.prefix) ||
    compareText(a.owner, b.owner)
  );
}

function buildTree(claims: readonly PrefixClaim[]): Place[] {
  const sorted = [...claims].sort(
    (a, b) => comparePrefixes(a.prefix, b.prefix) || comparePriority(a, b),
  );
  const open: Place[] = [];
  return sorted.map((claim) => {
    while (open.length > 0 && !contains((open.at(-1) as Place).claim.prefix, claim.prefix)) {
      open.pop();
    }
    const place: Place = {
      claim,
      text: formatPrefix(claim.prefix),
      parent: open.at(-1) ?? null,
      accepted: false,
      leaseInside: null,
    };
    open.push(place);
    return place;
  });
}

/** The accepted claim that `place` may not stand beside, or null. */
function rivalOf(place: Place, taken: Map<string, Place>): Place | null {
  const same = taken.get(place.text);
  if (same !== undefined) {
    return same;
  }
  const inside = place.leaseInside;
  if (place.claim.kind === "lease" && inside !== null) {
    return inside;
  }
  for (let above = place.parent; above !== null; above = above.parent) {
    const foreign = above.accepted && above.claim.owner !== place.claim.owner;
    if (foreign && above.claim.kind === "lease") {
      return above;
    }
  }
  return null;
}

function accept(place: Place, taken: Map<string, Place>): void {
  place.accepted = true;
  taken.set(place.text, place);
  if (place.claim.kind !== "lease") {
    return;
  }
  for (let above = place.parent; above !== null; above = above.parent) {
    if (above.claim.owner !== place.claim.owner) {
      above.leaseInside ??= place;
    }
  }
}

/**
 * Decides all claims. Equal prefixes have one owner. Nobody claims a part of another's lease, and
 * no lease spans another's. A wider static or granted prefix may hold leases: longest prefix wins
 * there.
 */
export function resolveClaims(claims: readonly PrefixClaim[]): ResolvedClaims {
  const places = buildTree(claims).sort((a, b) => comparePriority(a.claim, b.claim));
  const taken = new Map<string, Place>();
  const result: ResolvedClaims = { accepted: [], refused: [] };
  for (const place of places) {
    const rival = rivalOf(place, taken);
    if (rival === null) {
      accept(place, taken);
      result.accepted.push(place.claim);
    } else if (rival.claim.owner !== place.claim.owner) {
      result.refused.push({ claim: place.claim, winner: rival.claim });
    }
  }
  return result;
}

export interface LostClaims {
  lost: ReadonlySet<PrefixClaim>;
  refused: readonly Refused[];
}

/** Claims in order that overlap one another, in groups that have nothing to do with each other. */
function* entangled(sorted: readonly PrefixClaim[]): Generator<PrefixClaim[]> {
  let begin = 0;
  for (let at = 1; at <= sorted.length; at++) {
    const [outer, next] = [sorted[begin] as PrefixClaim, sorted[at]];
    if (next !== undefined && contains(outer.prefix, next.prefix)) continue;
    if (at - begin > 1) yield sorted.slice(begin, at);
    begin = at;
  }
}

/**
 * As resolveClaims, for claims in the order of comparePrefixes: prefixes nest or are apart, so that
 * each that holds none and lies in none is accepted. Gives those that are not.
 */
export function lostClaims(sorted: readonly PrefixClaim[]): LostClaims {
  const lost = new Set<PrefixClaim>();
  const refused: Refused[] = [];
  for (const group of entangled(sorted)) {
    const resolved = resolveClaims(group);
    refused.push(...resolved.refused);
    const accepted = new Set(resolved.accepted);
    for (const claim of group) if (!accepted.has(claim)) lost.add(claim);
  }
  return { lost, refused };
}
