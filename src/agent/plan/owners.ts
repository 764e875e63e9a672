// What each member and static peer would be, and what it claims: each alone, before they are
// compared with one another. Made again only when its own records changed.
import type { MemberRecord, PeerRecord } from "../../../control/index.js";
import type { PrefixClaim } from "../overlap.js";
import { comparePrefixes } from "../prefix.js";
import { changedKeys } from "./changes.js";
import { formKey } from "./forms.js";
import type { Memo } from "./memo.js";
import type { KnownOwners, OwnerPart } from "./owner-parts.js";
import {
  type Around,
  mayForward,
  memberCandidate,
  memberClaims,
  Problems,
  staticCandidate,
  staticClaims,
} from "./peers.js";
import type { LocalFacts } from "./types.js";

function inOrder(claims: PrefixClaim[]): PrefixClaim[] {
  return claims.sort((a, b) => comparePrefixes(a.prefix, b.prefix));
}

function memberPart(
  around: Around,
  member: MemberRecord,
  local: LocalFacts,
  memo: Memo,
): OwnerPart {
  const { snapshot, change, pairs } = around;
  const { config, nodes, leases } = snapshot;
  const { nodeId } = member;
  const confirmed = change.confirmed.get(nodeId);
  const form = confirmed === undefined ? null : formKey(confirmed);
  const held = member.podCIDRs.map((cidr) => leases.get(cidr));
  const claimed = memo.claimed.of(nodeId, [member, ...held], () => {
    const problems = new Problems();
    const claims = inOrder(memberClaims(snapshot, member, problems.report));
    return { claims, problems: problems.sorted() };
  });
  const from = [config, local, form, pairs.has(nodeId), member, nodes.get(nodeId), claimed];
  return memo.owners.of(nodeId, from, () => {
    const problems = new Problems();
    problems.add(claimed.problems);
    const isOther = nodeId !== local.nodeId;
    const candidate = isOther ? memberCandidate(around, member, problems.report) : null;
    return { owner: nodeId, candidate, claims: claimed.claims, problems: problems.sorted() };
  });
}

function staticPart(around: Around, peer: PeerRecord, local: LocalFacts, memo: Memo): OwnerPart {
  const owner = `peer:${peer.name}`;
  return memo.owners.of(owner, [around.snapshot.config, local, peer], () => {
    const problems = new Problems();
    const candidate = staticCandidate(around, peer, problems.report);
    const claims = inOrder(staticClaims(peer, problems.report));
    return { owner, candidate, claims, problems: problems.sorted() };
  });
}

/** Members whose records are others than those that their parts were made from; null: unknown. */
function touchedMembers(known: KnownOwners, around: Around, local: LocalFacts): string[] | null {
  const { snapshot, change, pairs } = around;
  const isSame = known.config === snapshot.config && known.local === local;
  if (!isSame || known.hasPairs || pairs.size > 0) return null;
  if (changedKeys(known.peers, snapshot.peers)?.length !== 0) return null;
  const leases = changedKeys(known.leases, snapshot.leases);
  const own = [
    changedKeys(known.members, snapshot.members),
    changedKeys(known.nodes, snapshot.nodes),
    changedKeys(known.confirmed, change.confirmed),
  ];
  if (leases === null || own.some((keys) => keys === null)) return null;
  // A lease is of no account but to whom it is given.
  const holders = leases.flatMap((cidr) =>
    [known.leases.get(cidr), snapshot.leases.get(cidr)].flatMap((lease) => lease?.nodeId ?? []),
  );
  return [...new Set([...own.flatMap((keys) => keys ?? []), ...holders])];
}

/** Takes a member's part out; the last one takes its place, for their order says nothing. */
function dropPart(parts: OwnerPart[], { at }: KnownOwners, nodeId: string, memo: Memo): void {
  const place = at.get(nodeId);
  if (place === undefined) return;
  at.delete(nodeId);
  const last = parts.pop();
  if (last !== undefined && place < parts.length) {
    parts[place] = last;
    if (at.has(last.owner)) at.set(last.owner, place);
  }
  memo.claimed.drop(nodeId);
  memo.owners.drop(nodeId);
}

/** The parts of an earlier plan with those of some members made anew. */
function renewed(
  known: KnownOwners,
  touched: readonly string[],
  around: Around,
  local: LocalFacts,
  memo: Memo,
): readonly OwnerPart[] {
  if (touched.length === 0) return known.parts;
  const parts = [...known.parts];
  for (const nodeId of touched) {
    const member = around.snapshot.members.get(nodeId);
    if (member === undefined || !mayForward(member)) {
      dropPart(parts, known, nodeId, memo);
      continue;
    }
    const at = known.at.get(nodeId);
    if (at === undefined) known.at.set(nodeId, parts.length);
    parts[at ?? parts.length] = memberPart(around, member, local, memo);
  }
  return parts;
}

function allParts(around: Around, local: LocalFacts, memo: Memo): KnownOwners {
  const { snapshot, change, pairs } = around;
  const { config, members, nodes, leases, peers } = snapshot;
  const parts: OwnerPart[] = [];
  const at = new Map<string, number>();
  for (const member of members.values()) {
    if (!mayForward(member)) continue;
    at.set(member.nodeId, parts.length);
    parts.push(memberPart(around, member, local, memo));
  }
  for (const peer of peers.values()) parts.push(staticPart(around, peer, local, memo));
  // What was not asked for is of nobody who is there.
  memo.claimed.end();
  memo.owners.end();
  const { confirmed } = change;
  const hasPairs = pairs.size > 0;
  return { ...{ config, local, members, nodes, leases, peers, confirmed, hasPairs }, parts, at };
}

/** `local` must be the same object while its contents are the same. */
export function ownerParts(around: Around, local: LocalFacts, memo: Memo): readonly OwnerPart[] {
  const { known } = memo;
  const touched = known === null ? null : touchedMembers(known, around, local);
  if (known === null || touched === null) {
    memo.known = allParts(around, local, memo);
    return memo.known.parts;
  }
  const parts = renewed(known, touched, around, local, memo);
  const { members, nodes, leases, peers } = around.snapshot;
  const { confirmed } = around.change;
  memo.known = { ...known, members, nodes, leases, peers, confirmed, parts };
  return parts;
}
