// What the hot path's tables say of each peer: headers, sizes, prefixes, and entries that shadow
// others while the mesh's encapsulation or port changes. Pure.
import { hasFrames } from "../../control/index.js";
import {
  type GreOptions,
  type ProtocolName,
  SHADOWS_MAX,
  type TableContents,
  type TablePeer,
  type UdpChecksums,
} from "../datapath/index.js";
import type { ChangeFacts, Form } from "./plan-forms.js";
import type { Candidate } from "./plan-peers.js";
import { leases, type Peered, type Shared, texts } from "./plan-routes.js";
import type { LocalFacts, PlannedChange } from "./plan-types.js";
import { firstAddress } from "./prefix.js";
import { isUdp, overheadOf, type TunnelProtocol } from "./protocols.js";

/** What the mesh's settings say of the tunnel. */
export interface Tunnel {
  protocol: TunnelProtocol;
  vni: number;
  dscp: "inherit" | number;
  gre: GreOptions;
}

export interface Numbers extends Tunnel {
  port: number;
  mtu: number;
  /** Family of the underlay. */
  family: 4 | 6;
  /** Members' packets have no outer header, so `mtu` is the underlay's. */
  isNative: boolean;
  pathMtu: number;
  checksums: UdpChecksums;
  /** What members may still send beside the mesh's own form. */
  kept: Form[];
}

/** What of a peer depends on the encapsulations that it speaks. */
function headersOf(
  candidate: Candidate,
  spoken: readonly TunnelProtocol[],
  numbers: Numbers,
): Pick<TablePeer, "mac" | "vni" | "gre"> {
  const { kind, mac, greKey } = candidate;
  // A static peer with a MAC address is a bridge's port, as Linux' gretap; members take IP.
  const frames = kind === "static" && mac !== null;
  const gre = { ...numbers.gre, key: greKey ?? numbers.gre.key, frames };
  const network = { vni: candidate.vni ?? numbers.vni };
  const isNetworked = mac !== null && spoken.some(hasFrames);
  const isKeyed = spoken.includes("gre");
  return {
    ...(mac !== null && (isNetworked || (isKeyed && frames)) ? { mac } : {}),
    ...(isNetworked ? network : {}),
    ...(isKeyed ? { gre } : {}),
  };
}

/** What is accepted from a peer, when that is not just what is sent to it. */
function receivesOf({ kind, protocol }: Candidate, numbers: Numbers): TunnelProtocol[] {
  if (kind === "static") return [protocol];
  return [...new Set([numbers.protocol, ...numbers.kept.map((form) => form.protocol)])];
}

function isJust(list: readonly ProtocolName[], one: ProtocolName): boolean {
  return list.length === 1 && list[0] === one;
}

function tablePeer({ candidate, claims }: Peered, numbers: Numbers): TablePeer {
  const { protocol } = candidate;
  const receives = receivesOf(candidate, numbers);
  const headers = headersOf(candidate, [...new Set([protocol, ...receives])], numbers);
  // What the path carries is what the mesh's own headers leave of it, and they.
  const { family } = numbers;
  const ours = numbers.isNative ? 0 : overheadOf(numbers.protocol, family, numbers.gre);
  const path = numbers.pathMtu + ours - overheadOf(protocol, family, headers.gre);
  return {
    protocol,
    ...(isJust(receives, protocol) ? {} : { receives }),
    address: candidate.address,
    port: candidate.port,
    ...headers,
    mtu: Math.min(numbers.mtu, path, candidate.mtu ?? numbers.mtu),
    prefixes: texts(claims),
    ...(!numbers.checksums.send && isUdp(protocol) ? { lone: true } : {}),
    ...(numbers.dscp === "inherit" ? {} : { dscp: numbers.dscp }),
  };
}

/** A second entry for a member, in the form that is to be asked about. */
function shadowOf({ candidate, ways }: Peered, numbers: Numbers): TablePeer {
  const next = { ...candidate, ...candidate.next };
  return { ...tablePeer({ candidate: next, claims: [], ways }, numbers), shadow: true };
}

/** Members to be asked in the next form at once, those that answered least last. */
export function shadowsOf(peers: readonly Peered[], { tries }: ChangeFacts): Peered[] {
  const triesOf = ({ candidate }: Peered) => tries.get(candidate.nodeId) ?? 0;
  const asked = peers.filter(({ candidate }) => candidate.next !== null);
  return asked.sort((a, b) => triesOf(a) - triesOf(b)).slice(0, SHADOWS_MAX);
}

/** Shadows come last: an index below the number of peers is that peer's. */
export function tablesOf(
  { own, peers }: Shared,
  shadows: readonly Peered[],
  local: LocalFacts,
  numbers: Numbers,
): TableContents {
  return {
    self: {
      mac: local.vtepMac,
      vni: numbers.vni,
      mtu: numbers.mtu,
      addresses: leases(own).map(({ prefix }) => firstAddress(prefix)),
      prefixes: texts(own),
      udpPort: numbers.port,
    },
    peers: [
      ...peers.map((peer) => tablePeer(peer, numbers)),
      ...shadows.map((peer) => shadowOf(peer, numbers)),
    ],
  };
}

/** Members to which packets do not go in the mesh's own form. */
export function changesOf(
  peers: readonly Peered[],
  shadows: readonly Peered[],
  mesh: TunnelProtocol,
): PlannedChange[] {
  return peers.flatMap((peer): PlannedChange[] => {
    const { name, nodeId, kind, protocol, port, next } = peer.candidate;
    if (kind === "static" || (next === null && protocol === mesh)) return [];
    const at = shadows.indexOf(peer);
    return [
      {
        ...{ name, nodeId, from: { protocol, port }, to: next },
        shadow: at < 0 ? null : peers.length + at,
        probeAddresses: leases(peer.claims).map(({ prefix }) => firstAddress(prefix)),
      },
    ];
  });
}

/** A peer that no packet reaches by the tunnel needs no proof that one arrives. */
export function withoutProof(peer: Peered): Peered {
  const { candidate, ways } = peer;
  if (candidate.next === null || ways.some(({ way }) => way === "tunnel")) return peer;
  return { ...peer, candidate: { ...candidate, ...candidate.next, next: null } };
}

/** Forms that are sent to members. */
export function sentForms(
  peers: readonly { nodeId: string; protocol: TunnelProtocol; port: number }[],
) {
  const members = peers.filter(({ nodeId }) => nodeId !== "");
  return members.map(({ protocol, port }): Form => ({ protocol, port }));
}
