// Peers and prefixes of the whole mesh: who stands where, whose each prefix is when claims overlap,
// which ports are open. Pure but for the memo of an earlier plan.
import type { ListeningPort } from "../../datapath/index.js";
import { lostClaims, type PrefixClaim } from "../overlap.js";
import { comparePrefixes, firstAddress, firstInside, formatPrefix, hostPrefix } from "../prefix.js";
import { NO_CALLS } from "./calls.js";
import { NO_CHANGE } from "./forms.js";
import { identityOf } from "./identity.js";
import type { Memo } from "./memo.js";
import { type OwnerPart, ownerParts } from "./owners.js";
import { type Common, type PeerPart, peerPart } from "./parts.js";
import { type Candidate, type Problems, type Report, settleAddresses } from "./peers.js";
import { planPorts } from "./ports.js";
import type { Shared } from "./routes.js";
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

/** Gives an owner's claims that stand, in order. */
function acceptedClaims(
  owners: readonly OwnerPart[],
  underlays: () => string[],
  memo: Memo,
  report: Report,
): (owner: string) => readonly PrefixClaim[] {
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
  const claimsOf = (owner: string) => memo.owners.get(owner)?.claims ?? [];
  if (lost.size + loops.size === 0) return claimsOf;
  return (owner) => {
    const left = claimsOf(owner).filter((claim) => !lost.has(claim) && !loops.has(claim));
    return memo.accepted.of(owner, left, () => left);
  };
}

/** Who there is, where each stands, and whom sockets can hear. */
function peersOf(
  { local, calls = NO_CALLS, snapshot }: PlanInput,
  owners: readonly OwnerPart[],
  { own, kept }: Numbers,
  memo: Memo,
  report: Report,
) {
  const candidates: Candidate[] = [];
  for (const { candidate } of owners) if (candidate !== null) candidates.push(candidate);
  const settled = memo.candidates.of(settleAddresses(snapshot, local, candidates, report));
  const calling = calls.open ? [{ protocol: "pptp" as const, port: 0 }] : [];
  return planPorts(settled, own, kept, calling, report);
}

/** Decides peers and prefixes for the whole mesh, this node included. */
export function share(input: PlanInput, numbers: Numbers, memo: Memo, problems: Problems): Shares {
  const { snapshot, local, change = NO_CHANGE } = input;
  const { report } = problems;
  const { family, pools, pairs } = numbers;
  const owners = ownerParts({ snapshot, family, pools, change, pairs }, local, memo);
  for (const part of owners) problems.add(part.problems);
  const { candidates, others } = peersOf(input, owners, numbers, memo, report);
  const underlays = () => [local.underlay.address, ...candidates.map((peer) => peer.address)];
  const acceptedOf = acceptedClaims(owners, underlays, memo, report);
  const isMember = owners.some(({ owner }) => owner === local.nodeId);
  const own = isMember ? acceptedOf(local.nodeId) : [];
  const common = { config: snapshot.config, local, numbers, own, ours: identityOf(own, pools) };
  const shared = commonOf(common, memo);
  const parts: PeerPart[] = [];
  for (const candidate of candidates) {
    const claims = acceptedOf(candidate.owner);
    if (claims.length === 0) continue;
    const from = [candidate, claims, shared, pairs.get(candidate.nodeId)];
    parts.push(memo.peers.of(candidate.owner, from, () => peerPart(candidate, claims, common)));
  }
  for (const part of parts) problems.add(part.problems);
  return { own, parts, peers: parts.map(({ peered }) => peered), others };
}

/** Stands for all that the parts of peers are made with; another object when that is another. */
function commonOf({ config, local, numbers, own }: Common, memo: Memo): unknown {
  const { pools: _, pairs: __, ...plain } = numbers;
  const from = [config, local, own, memo.stable("numbers", plain)];
  return memo.constants.of("common", from, () => ({}));
}
