// Peers and prefixes of the whole mesh: who stands where, whose each prefix is when claims overlap,
// which ports are open. Pure but for the memo of an earlier plan.
import type { ListeningPort } from "../../datapath/index.js";
import { lostClaims, type PrefixClaim } from "../overlap.js";
import { comparePrefixes, firstAddress, firstInside, formatPrefix, hostPrefix } from "../prefix.js";
import { NO_CALLS } from "./calls.js";
import { NO_CHANGE } from "./forms.js";
import { identityOf } from "./identity.js";
import type { Memo } from "./memo.js";
import type { OwnerPart } from "./owner-parts.js";
import { ownerParts } from "./owners.js";
import { type Common, type PeerPart, peerPart } from "./parts.js";
import type { Problems, Report } from "./peers.js";
import { planPorts } from "./ports.js";
import type { Shared } from "./routes.js";
import { byOwner, type Present, settleAddresses } from "./standing.js";
import type { Numbers } from "./tables.js";
import type { PlanInput } from "./types.js";

export interface Shares extends Shared {
  parts: readonly PeerPart[];
  /** Ports to listen on beside the tunnel's own. */
  others: ListeningPort[];
}

function keyOfOwner(owner: string): string {
  return owner.startsWith("peer:") ? `peers.${owner.slice(5)}` : `members.${owner}`;
}

/** Leases lie in pools, which hold no underlay address; other prefixes must not hold one either. */
function loopsAmong(
  claims: readonly PrefixClaim[],
  underlays: () => string[],
  report: Report,
): ReadonlySet<PrefixClaim> {
  const free = claims.filter(({ kind }) => kind !== "lease");
  if (free.length === 0) return NONE;
  const hosts = underlays()
    .flatMap((text) => hostPrefix(text) ?? [])
    .sort(comparePrefixes);
  return new Set(
    free.filter((claim) => {
      const held = firstInside(hosts, claim.prefix);
      if (held === undefined) return false;
      const what = `${formatPrefix(claim.prefix)} of ${claim.owner} holds the underlay address`;
      const why = `${what} ${firstAddress(held)}: not routed`;
      report("MESHD_ROUTE_LOOP", keyOfOwner(claim.owner), why);
      return true;
    }),
  );
}

const NONE: ReadonlySet<PrefixClaim> = new Set();

type AcceptedOf = (part: OwnerPart) => readonly PrefixClaim[];

const allClaims: AcceptedOf = ({ claims }) => claims;

/** Gives an owner's claims that stand, in order: `allClaims` where nobody's overlap. */
function acceptedClaims(
  owners: readonly OwnerPart[],
  underlays: () => string[],
  memo: Memo,
  report: Report,
): AcceptedOf {
  const each: PrefixClaim[] = [];
  for (const { claims } of owners) for (const claim of claims) each.push(claim);
  const all = memo.claims.of(each);
  const loops = loopsAmong(all, underlays, report);
  const heard = loops.size === 0 ? all : all.filter((claim) => !loops.has(claim));
  const { lost, refused } = memo.lost.of("", [heard], () => lostClaims(heard));
  for (const { claim, winner } of refused) {
    const what = `${formatPrefix(claim.prefix)} of ${claim.owner} overlaps`;
    const why = `${what} ${formatPrefix(winner.prefix)} of ${winner.owner}: not routed`;
    report("MESHD_PREFIX_OVERLAP", keyOfOwner(claim.owner), why);
  }
  if (lost.size + loops.size === 0) return allClaims;
  return ({ owner, claims }) => {
    const left = claims.filter((claim) => !lost.has(claim) && !loops.has(claim));
    return memo.accepted.of(owner, left, () => left);
  };
}

/** Who there is, where each stands, and whom sockets can hear. */
function presentPeers(
  { local, calls = NO_CALLS, snapshot }: PlanInput,
  owners: readonly OwnerPart[],
  { own, kept }: Numbers,
  memo: Memo,
  report: Report,
) {
  const all: Present[] = [];
  for (const part of owners) if (hasCandidate(part)) all.push(part);
  const present = memo.present.of(all);
  const settled = settleAddresses(snapshot, local, present, memo.standing, report);
  const calling = calls.open ? [{ protocol: "pptp" as const, port: 0 }] : [];
  return planPorts(settled, own, kept, calling, report);
}

function hasCandidate(part: OwnerPart): part is Present {
  return part.candidate !== null;
}

/** Decides peers and prefixes for the whole mesh, this node included. */
export function share(input: PlanInput, numbers: Numbers, memo: Memo, problems: Problems): Shares {
  const { snapshot, local, change = NO_CHANGE } = input;
  const { report } = problems;
  const { family, pools, pairs } = numbers;
  const owners = ownerParts({ snapshot, family, pools, change, pairs }, local, memo);
  for (const part of owners) problems.add(part.problems);
  const { heard, others } = presentPeers(input, owners, numbers, memo, report);
  const underlays = () => [local.underlay.address, ...heard.map((peer) => peer.candidate.address)];
  const acceptedOf = acceptedClaims(owners, underlays, memo, report);
  const self = owners[memo.known?.at.get(local.nodeId) ?? -1];
  const own = self === undefined ? [] : acceptedOf(self);
  const common = { config: snapshot.config, local, numbers, own, ours: identityOf(own, pools) };
  const parts = peerParts(heard, acceptedOf, common, memo);
  for (const part of parts) problems.add(part.problems);
  return { own, parts, peers: parts.map(({ peered }) => peered), others };
}

function peerParts(
  heard: readonly Present[],
  acceptedOf: AcceptedOf,
  common: Common,
  memo: Memo,
): PeerPart[] {
  const shared = commonOf(common, memo);
  const { pairs } = common.numbers;
  const isPlain = acceptedOf === allClaims && pairs.size === 0;
  const last = isPlain && memo.made?.shared === shared ? memo.made : null;
  let at = 0;
  const parts = heard.map((owner) => {
    while (at < (last?.owners.length ?? 0) && isBefore(last?.owners[at], owner)) at++;
    const known = last?.owners[at] === owner ? last.parts[at] : undefined;
    if (known !== undefined) return known;
    const claims = acceptedOf(owner);
    if (claims.length === 0) return null;
    const from = [owner.candidate, claims, shared, pairs.get(owner.candidate.nodeId)];
    return memo.peers.of(owner.owner, from, () => peerPart(owner.candidate, claims, common));
  });
  memo.made = isPlain ? { shared, owners: heard, parts } : null;
  return parts.filter((part) => part !== null);
}

function isBefore(known: Present | undefined, owner: Present): boolean {
  return known !== undefined && known !== owner && byOwner(known, owner) < 0;
}

/** Stands for all that the parts of peers are made with; another object when that is another. */
function commonOf({ config, local, numbers, own }: Common, memo: Memo): unknown {
  const { pools: _, pairs: __, ...plain } = numbers;
  const from = [config, local, own, memo.stable("numbers", plain)];
  return memo.constants.of("common", from, () => ({}));
}
