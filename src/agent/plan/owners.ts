// What each member and static peer would be, and what it claims: each alone, before they are
// compared with one another. Made again only when its own records changed.
import type { MemberRecord, MeshSnapshot, PeerRecord } from "../../../control/index.js";
import type { PrefixClaim } from "../overlap.js";
import { comparePrefixes } from "../prefix.js";
import { formKey } from "./forms.js";
import type { Memo } from "./memo.js";
import {
  type Around,
  type Candidate,
  mayForward,
  memberCandidate,
  memberClaims,
  Problems,
  staticCandidate,
  staticClaims,
} from "./peers.js";
import type { LocalFacts, Problem } from "./types.js";

export interface OwnerPart {
  owner: string;
  /** null: nothing can be sent to it, or it is this node. */
  candidate: Candidate | null;
  /** In order. */
  claims: readonly PrefixClaim[];
  problems: readonly Problem[];
}

function inOrder(claims: PrefixClaim[]): PrefixClaim[] {
  return claims.sort((a, b) => comparePrefixes(a.prefix, b.prefix));
}

function makeMember(around: Around, member: MemberRecord, ownId: string): OwnerPart {
  const problems = new Problems();
  const { report } = problems;
  const isOther = member.nodeId !== ownId;
  return {
    owner: member.nodeId,
    candidate: isOther ? memberCandidate(around, member, report) : null,
    claims: inOrder(memberClaims(around.snapshot, member, report)),
    problems: problems.sorted(),
  };
}

function makeStatic(around: Around, peer: PeerRecord): OwnerPart {
  const problems = new Problems();
  return {
    owner: `peer:${peer.name}`,
    candidate: staticCandidate(around, peer, problems.report),
    claims: inOrder(staticClaims(peer, problems.report)),
    problems: problems.sorted(),
  };
}

/** Adds the records that a member's part is made from. */
function addRecords(from: unknown[], { nodes, leases }: MeshSnapshot, member: MemberRecord): void {
  from.push(member, nodes.get(member.nodeId));
  for (const cidr of member.podCIDRs) from.push(leases.get(cidr));
}

/** `local` must be the same object while its contents are the same. */
export function ownerParts(around: Around, local: LocalFacts, memo: Memo): OwnerPart[] {
  const { snapshot, change, pairs } = around;
  const { config } = snapshot;
  const parts: OwnerPart[] = [];
  for (const member of snapshot.members.values()) {
    if (!mayForward(member)) continue;
    const { nodeId } = member;
    const confirmed = change.confirmed.get(nodeId);
    const form = confirmed === undefined ? null : formKey(confirmed);
    const from: unknown[] = [config, local, form, pairs.has(nodeId)];
    addRecords(from, snapshot, member);
    parts.push(memo.owners.of(nodeId, from, () => makeMember(around, member, local.nodeId)));
  }
  for (const peer of snapshot.peers.values()) {
    const from = [config, local, peer];
    parts.push(memo.owners.of(`peer:${peer.name}`, from, () => makeStatic(around, peer)));
  }
  return parts;
}
