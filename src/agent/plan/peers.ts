// Which records become peers: membership, epoch, leases, addresses; what is left out says why.
import type {
  LeaseRecord,
  MemberRecord,
  MeshConfig,
  MeshSnapshot,
  NodeRecord,
  PeerRecord,
} from "../../../control/index.js";
import type { CallFact } from "../../calls/index.js";
import type { ClaimKind, PrefixClaim } from "../overlap.js";
import {
  canonicalAddress,
  contains,
  hostPrefix,
  type Prefix,
  parseAddress,
  parsePrefix,
} from "../prefix.js";
import { type ChangeFacts, decideForm, type Form, meshForm } from "./forms.js";
import type { Problem } from "./types.js";

/** A peer before its prefixes are decided. */
export interface Candidate {
  owner: string;
  name: string;
  nodeId: string;
  kind: "member" | "static";
  address: string;
  /** What is sent to it. */
  form: Form;
  /** Members: what the mesh asks for instead, to be asked whether it arrives; else null. */
  next: Form | null;
  /** null: the encapsulation has none. */
  mac: string | null;
  /** null: nothing known, ours is used. */
  mtu: number | null;
  /** Of its underlay interface, with lengths; [] when it says none. */
  interfaceAddresses: readonly string[];
  /** Under which its address would be claimed; null for a static peer, which claims nothing. */
  claimed: string | null;
  isInPool: boolean;
}

export type Report = (code: string, key: string, message: string) => void;

/** Collects problems; `sorted` gives them in an order that does not depend on how they came. */
export class Problems {
  private readonly list: Problem[] = [];

  add(problems: readonly Problem[]): void {
    if (problems.length === 0) return;
    for (const problem of problems) this.list.push(problem);
  }

  readonly report: Report = (code, key, message) => {
    this.list.push({ code, key, message });
  };

  sorted(): Problem[] {
    if (this.list.length < 2) return [...this.list];
    const text = (problem: Problem) => `${problem.key} ${problem.code} ${problem.message}`;
    return [...this.list].sort((a, b) => (text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0));
  }
}

/** States in which a member is routed to. */
export function mayForward(member: MemberRecord): boolean {
  return member.state === "active" || member.state === "draining";
}

/** The lease behind a member's CIDR, when it is really its own under the same epoch. */
function heldLease(snapshot: MeshSnapshot, member: MemberRecord, cidr: string): LeaseRecord | null {
  const lease = snapshot.leases.get(cidr);
  const held = lease?.state === "held" && lease.nodeId === member.nodeId;
  return lease !== undefined && held && lease.epoch === member.epoch ? lease : null;
}

function claim(
  text: string,
  kind: ClaimKind,
  owner: string,
  since: string,
  key: string,
  report: Report,
): PrefixClaim[] {
  const prefix = parsePrefix(text);
  if (prefix === null) {
    report("MESHD_BAD_PREFIX", key, `${key}: ${text} is no CIDR: not applied`);
    return [];
  }
  return [{ prefix, kind, owner, since }];
}

/** Everything a member may claim: PodCIDRs with a lease of the same epoch, and granted prefixes. */
export function memberClaims(
  snapshot: MeshSnapshot,
  member: MemberRecord,
  report: Report,
): PrefixClaim[] {
  const owner = member.nodeId;
  const leased = member.podCIDRs.flatMap((cidr) => {
    const lease = heldLease(snapshot, member, cidr);
    if (lease === null) {
      const why = `no held lease of epoch ${member.epoch} for ${cidr}`;
      report("MESHD_LEASE_LOST", `leases.${cidr}`, `node ${member.name}: ${why}: not routed`);
      return [];
    }
    return claim(cidr, "lease", owner, lease.since, `leases.${cidr}`, report);
  });
  const key = `members.${owner}`;
  const granted = member.grantedPrefixes.flatMap((cidr) =>
    claim(cidr, "granted", owner, "", key, report),
  );
  return [...leased, ...granted];
}

export function staticClaims(peer: PeerRecord, report: Report): PrefixClaim[] {
  const key = `peers.${peer.name}`;
  return peer.podCIDRs.flatMap((cidr) =>
    claim(cidr, "static", `peer:${peer.name}`, "", key, report),
  );
}

/** The member's node record, when it counts: right epoch and an encapsulation we speak. */
function factsOf(
  snapshot: MeshSnapshot,
  member: MemberRecord,
  change: ChangeFacts,
  report: Report,
): { node: NodeRecord; form: Form; next: Form | null } | null {
  const node = snapshot.nodes.get(member.nodeId);
  const key = `nodes.${member.nodeId}`;
  const refuse = (code: string, why: string) => {
    report(code, key, `node ${member.name}: ${why}: not routed`);
    return null;
  };
  if (node === undefined) {
    return refuse("MESHD_NODE_SILENT", "has not announced its underlay address yet");
  }
  if (node.epoch !== member.epoch) {
    const why = `works under epoch ${node.epoch}, granted is ${member.epoch}`;
    return refuse("MESHD_STALE_EPOCH", why);
  }
  const { config } = snapshot;
  const decided = decideForm(node, config, change.confirmed.get(node.nodeId));
  if (decided === null) {
    return refuse("MESHD_PROTOCOL_MISSING", `does not speak ${config.tunnelProtocol}`);
  }
  return { node, ...decided };
}

/** What candidates are made with, beside their own records. */
export interface Around {
  snapshot: MeshSnapshot;
  family: 4 | 6;
  pools: readonly Prefix[];
  change: ChangeFacts;
  pairs: ReadonlyMap<string, CallFact>;
}

function isIn(pools: readonly Prefix[], address: string): boolean {
  const host = hostPrefix(address);
  return host !== null && pools.some((pool) => contains(pool, host));
}

export function memberCandidate(
  { snapshot, family, pools, change, pairs }: Around,
  member: MemberRecord,
  report: Report,
): Candidate | null {
  const known = factsOf(snapshot, member, change, report);
  if (known === null) {
    return null;
  }
  const { node, form } = known;
  // Without a call there is nothing to ask through.
  const isAskable = known.next?.protocol !== "pptp" || pairs.has(node.nodeId);
  const next = isAskable ? known.next : null;
  const address = node.underlay.addresses.find((text) => parseAddress(text)?.family === family);
  if (address === undefined) {
    const why = `node ${member.name}: no IPv${family} underlay address: not routed`;
    report("MESHD_NO_UNDERLAY", `nodes.${member.nodeId}`, why);
    return null;
  }
  const canonical = canonicalAddress(address);
  return {
    owner: member.nodeId,
    name: member.name,
    nodeId: member.nodeId,
    kind: "member",
    address: canonical,
    form,
    next,
    mac: node.vtepMac,
    mtu: node.mtu,
    interfaceAddresses: node.underlay.interfaceAddresses,
    // Claimed is the port that the record names first, whatever else is received meanwhile.
    claimed: claimKey(canonical, node.underlay.port),
    isInPool: isIn(pools, canonical),
  };
}

/** What a static peer is sent: the mesh's words, but for those of its own. */
function staticForm({ protocol, port, vni, greKey }: PeerRecord, config: MeshConfig): Form {
  return {
    ...meshForm(config, protocol, port),
    ...(vni === null ? {} : { vni }),
    ...(greKey === undefined ? {} : { greKey }),
  };
}

export function staticCandidate(
  { snapshot, family, pools }: Around,
  peer: PeerRecord,
  report: Report,
): Candidate | null {
  if (parseAddress(peer.endpoint)?.family !== family) {
    const why = `static peer ${peer.name}: ${peer.endpoint} is no IPv${family} address`;
    report("MESHD_NO_UNDERLAY", `peers.${peer.name}`, `${why}, as our underlay is: not routed`);
    return null;
  }
  const address = canonicalAddress(peer.endpoint);
  return {
    owner: `peer:${peer.name}`,
    name: peer.name,
    nodeId: "",
    kind: "static",
    address,
    form: staticForm(peer, snapshot.config),
    next: null,
    mac: peer.vtepMac,
    mtu: null,
    interfaceAddresses: [],
    claimed: null,
    isInPool: isIn(pools, address),
  };
}

function claimKey(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
