// What the hot path's tables say of each peer: headers, sizes, prefixes, and entries that shadow
// others while the mesh's encapsulation, its port or a word of its headers changes. Pure.

import type { CallFact } from "../../calls/index.js";
import {
  type ProtocolName,
  SHADOWS_MAX,
  type TableContents,
  type TablePeer,
  type UdpChecksums,
} from "../../datapath/index.js";
import { firstAddress, type Prefix } from "../prefix.js";
import { greOptionsOf, isUdp, overheadOf } from "../protocols.js";
import { callAddresses, callPeers, pptpOf } from "./calls.js";
import type { ChangeFacts, Form } from "./forms.js";
import { identityOf } from "./identity.js";
import type { Candidate } from "./peers.js";
import { leases, type Peered, type Shared, texts } from "./routes.js";
import type { LocalFacts, PlannedCall, PlannedChange } from "./types.js";

export interface Numbers {
  /** The mesh's own form, which members may send to us, and what they may still send beside it. */
  own: Form;
  kept: Form[];
  vni: number | "identity";
  /** Those that PodCIDRs are from, IPv4's first. */
  pools: readonly Prefix[];
  dscp: "inherit" | number;
  mtu: number;
  /** Family of the underlay. */
  family: 4 | 6;
  /** Members' packets have no outer header, so `mtu` is the underlay's. */
  isNative: boolean;
  pathMtu: number;
  checksums: UdpChecksums;
  /** By nodeId: calls with members that are up. */
  pairs: ReadonlyMap<string, CallFact>;
}

/** The first alone where it is `one`: then nothing else is accepted than what is sent. */
function beside<T>(list: readonly T[], one: T): readonly T[] {
  const all = [...new Set(list)];
  return all.length === 1 && all[0] === one ? [] : all;
}

/** Numbers that pods have as their identities (ADR 0031): ours, and the peer's. */
interface Identities {
  ours: number;
  theirs: number;
}

function networkOf(
  { mac, form }: Candidate,
  accepted: readonly Form[],
  { ours, theirs }: Identities,
): Pick<TablePeer, "mac" | "vni" | "vnis" | "identities"> {
  const isIdentity = ({ vni }: Form) => vni === "identity";
  const numbers = (forms: readonly Form[], identity: number) =>
    forms.flatMap(({ vni }) => (vni === "identity" ? identity : (vni ?? [])));
  const [vni] = numbers([form, ...accepted], ours);
  if (mac === null || vni === undefined) return {};
  const vnis = beside(numbers(accepted, theirs), vni);
  const identities = { sends: isIdentity(form), receives: accepted.some(isIdentity) };
  return {
    ...{ mac, vni },
    ...(vnis.length === 0 ? {} : { vnis }),
    ...(identities.sends || identities.receives ? { identities } : {}),
  };
}

function greOf(
  { kind, mac, form }: Candidate,
  accepted: readonly Form[],
): Pick<TablePeer, "mac" | "gre" | "greKeys"> {
  const isGre = ({ protocol }: Form) => protocol === "gre";
  const sent = [form, ...accepted].find(isGre);
  if (sent === undefined) return {};
  // A static peer with a MAC address is a bridge's port, as Linux' gretap; members take IP.
  const frames = kind === "static" && mac !== null;
  const gre = { ...greOptionsOf(sent), frames };
  const keys = accepted.filter(isGre).map(({ greKey = null }) => greKey);
  const greKeys = beside(keys, gre.key);
  return {
    ...(frames ? { mac } : {}),
    ...{ gre, ...(greKeys.length === 0 ? {} : { greKeys }) },
  };
}

/** What is accepted from a peer. */
function acceptedFrom({ kind, form }: Candidate, { own, kept }: Numbers): Form[] {
  return kind === "static" ? [form] : [own, ...kept];
}

export function tablePeer(
  { candidate, claims }: Peered,
  numbers: Numbers,
  ours: number,
): TablePeer {
  const { protocol, port } = candidate.form;
  const accepted = acceptedFrom(candidate, numbers);
  const receives: readonly ProtocolName[] = beside(
    accepted.map((form) => form.protocol),
    protocol,
  );
  const identities = { ours, theirs: identityOf(claims, numbers.pools) };
  const network = networkOf(candidate, accepted, identities);
  const headers = { ...network, ...greOf(candidate, accepted) };
  // Also of a peer to which packets go in another form by now: its own still come by the call.
  const hasCall = [protocol, ...receives].includes("pptp");
  const call = hasCall ? numbers.pairs.get(candidate.nodeId) : undefined;
  const callMtu = protocol === "pptp" ? call?.mtu : undefined;
  // What the path carries is what the mesh's own headers leave of it, and they.
  const { family, own } = numbers;
  const usual = numbers.isNative ? 0 : overheadOf(own.protocol, family, greOptionsOf(own));
  const path = numbers.pathMtu + usual - overheadOf(protocol, family, headers.gre);
  return {
    protocol,
    ...(receives.length === 0 ? {} : { receives }),
    address: candidate.address,
    port,
    ...headers,
    ...(hasCall ? { pptp: pptpOf(call) } : {}),
    mtu: Math.min(numbers.mtu, path, candidate.mtu ?? numbers.mtu, callMtu ?? numbers.mtu),
    prefixes: texts(claims),
    ...(!numbers.checksums.send && isUdp(protocol) ? { lone: true } : {}),
    ...(numbers.dscp === "inherit" ? {} : { dscp: numbers.dscp }),
  };
}

/** A second entry for a member, in the form that is to be asked about. */
function shadowOf({ candidate, ways }: Peered, numbers: Numbers, ours: number): TablePeer {
  const next = { ...candidate, form: candidate.next ?? candidate.form };
  return { ...tablePeer({ candidate: next, claims: [], ways }, numbers, ours), shadow: true };
}

/** Members to be asked in the next form at once, those that answered least last. */
export function shadowsOf(peers: readonly Peered[], { tries }: ChangeFacts): Peered[] {
  const triesOf = ({ candidate }: Peered) => tries.get(candidate.nodeId) ?? 0;
  const asked = peers.filter(({ candidate }) => candidate.next !== null);
  return asked.sort((a, b) => triesOf(a) - triesOf(b)).slice(0, SHADOWS_MAX);
}

/**
 * Calls stand behind the peers, shadows last: an index below the number of peers is that peer's.
 */
export function tablesOf(
  own: Shared["own"],
  entries: readonly TablePeer[],
  calls: readonly PlannedCall[],
  shadows: readonly Peered[],
  local: LocalFacts,
  numbers: Numbers,
): TableContents {
  const ours = identityOf(own, numbers.pools);
  return {
    self: {
      mac: local.vtepMac,
      vni: numbers.vni === "identity" ? ours : numbers.vni,
      mtu: numbers.mtu,
      addresses: leases(own).map(({ prefix }) => firstAddress(prefix)),
      prefixes: [...texts(own), ...callAddresses(calls)],
      udpPort: numbers.own.port,
    },
    peers: [
      ...entries,
      ...callPeers(calls, numbers.mtu, numbers.dscp === "inherit" ? undefined : numbers.dscp),
      ...shadows.map((peer) => shadowOf(peer, numbers, ours)),
    ],
  };
}

/** Members to which packets do not go in the mesh's own form, of those that are said to. */
export function changesOf(
  unsettled: readonly Peered[],
  before: number,
  shadows: readonly Peered[],
): PlannedChange[] {
  return unsettled.map((peer): PlannedChange => {
    const { name, nodeId, form, next } = peer.candidate;
    const at = shadows.indexOf(peer);
    return {
      ...{ name, nodeId, from: form, to: next },
      shadow: at < 0 ? null : before + at,
      probeAddresses: leases(peer.claims).map(({ prefix }) => firstAddress(prefix)),
    };
  });
}

/** A peer that no packet reaches by the tunnel needs no proof that one arrives. */
export function withoutProof(peer: Peered): Peered {
  const { candidate, ways } = peer;
  if (candidate.next === null || ways.some(({ way }) => way === "tunnel")) return peer;
  return { ...peer, candidate: { ...candidate, form: candidate.next, next: null } };
}

/** Forms that are sent to members. */
export function sentForms(peers: readonly { nodeId: string; form: Form }[]): Form[] {
  return peers.filter(({ nodeId }) => nodeId !== "").map(({ form }) => form);
}
