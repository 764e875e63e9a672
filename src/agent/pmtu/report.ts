// What is said of the way to a peer: every term of its MTU, and one line where it carries less than
// it should.
import type { TablePeer } from "../../datapath/index.js";
import type { Underlay } from "../../host/index.js";
import { MTU_MIN_IPV6 } from "../mtu.js";
import type { Plan, PlannedPeer } from "../plan/types.js";
import { isTunnelled } from "../plan/ways.js";
import { defaultPortOf, overheadOf } from "../protocols.js";
import type { PathFinding } from "./prober.js";

/** A line of the sum; what takes something away is negative. */
export interface MtuTerm {
  what: string;
  bytes: number;
}

/** Reply of GET /mtu/<peer>: why packets to that peer are as large as they are. */
export interface MtuExplanation {
  peer: string;
  nodeId: string;
  kind: "member" | "static";
  protocol: string;
  /** How its PodCIDRs are reached; what is no tunnel has no headers and the kernel's path MTU. */
  ways: PlannedPeer["ways"];
  underlay: { interface: string; mtu: number; address: string; peer: string; family: 4 | 6 };
  /** From the underlay interface's MTU to what it leaves for inner packets. */
  terms: MtuTerm[];
  /** Sum of the terms. */
  fits: number;
  setting: "auto" | number;
  device: { name: string; mtu: number };
  /** What the peer's own record says that its side takes; null: it has none. */
  peerSays: number | null;
  path: PathExplanation | null;
  /** Bytes of inner packet that go to this peer at most. */
  mtu: number;
  /** TCP handshakes are lowered to this; null: by nobody. */
  mss: { ipv4: number; ipv6: number } | null;
  /** IPv6 packets of up to 1,280 bytes that do not fit travel in outer fragments. */
  fragments: boolean;
  problem: string | null;
}

export interface PathExplanation {
  /** Largest size found so far; null before the first answer. */
  mtu: number | null;
  state: PathFinding["phase"];
  proven_ms: number | null;
  changed_ms: number | null;
  searched: { least: number; base: number; most: number };
  /** Found by echo, whose answer is as large: neither way alone is known. */
  isRoundTrip: boolean;
  /** What the peer sends to us at most, as it says; null: it does not say. */
  back: number | null;
}

export interface ExplainInput {
  plan: Plan;
  peer: PlannedPeer;
  entry: TablePeer;
  underlay: Underlay;
  deviceName: string;
  setting: "auto" | number;
  peerSays: number | null;
  finding: PathFinding | undefined;
}

const IP_HEADER = { 4: 20, 6: 40 } as const;
const UDP_HEADER = 8;
const ETHERNET_HEADER = 14;
const GRE_WORD = 4;
const TCP_HEADER = 20;

/** What stands before an inner packet on the wire; together they are `overheadOf`. */
function headerTerms({ protocol, mac, gre }: TablePeer, family: 4 | 6): MtuTerm[] {
  const outer = [
    { what: `outer IPv${family} header`, bytes: IP_HEADER[family] },
    { what: "outer UDP header", bytes: defaultPortOf(protocol) === 0 ? 0 : UDP_HEADER },
  ];
  const ethernet = {
    what: "inner Ethernet header",
    bytes: mac === undefined ? 0 : ETHERNET_HEADER,
  };
  const optional = [
    { what: "gre key", bytes: (gre?.key ?? null) === null ? 0 : GRE_WORD },
    { what: "gre checksum", bytes: gre?.checksum === true ? GRE_WORD : 0 },
    { what: "gre sequence number", bytes: gre?.sequence === true ? GRE_WORD : 0 },
  ];
  const known = [...outer, ...optional, ethernet].reduce((sum, { bytes }) => sum + bytes, 0);
  const own = { what: `${protocol} header`, bytes: overheadOf(protocol, family, gre) - known };
  return [...outer, own, ...optional, ethernet]
    .filter(({ bytes }) => bytes > 0)
    .map(({ what, bytes }) => ({ what, bytes: -bytes }));
}

function pathOf(finding: PathFinding): PathExplanation {
  const { mtu, phase, proven_ms, changed_ms, limits, isRoundTrip, back } = finding;
  return {
    mtu: proven_ms === null && changed_ms === null ? null : mtu,
    state: phase,
    ...{ proven_ms, changed_ms, searched: { ...limits }, isRoundTrip, back },
  };
}

/** Adds up the way to one peer. */
export function explainMtu(input: ExplainInput): MtuExplanation {
  const { plan, peer, entry, underlay, finding } = input;
  const { name, nodeId, kind, address } = peer;
  const { device, family, mtu: underlayMtu } = underlay;
  const from = { what: `${device}, underlay interface of ${underlay.address}`, bytes: underlayMtu };
  const isBare = !isTunnelled(peer);
  const terms = isBare ? [from] : [from, ...headerTerms(entry, family)];
  const mtu = isBare ? Math.min(plan.mtu, underlayMtu) : entry.mtu;
  return {
    ...{ peer: name, nodeId, kind, protocol: entry.protocol, ways: { ...peer.ways } },
    underlay: {
      ...{ interface: device, mtu: underlayMtu, address: underlay.address },
      ...{ peer: address, family },
    },
    ...{ terms, fits: terms.reduce((sum, { bytes }) => sum + bytes, 0) },
    setting: input.setting,
    device: { name: input.deviceName, mtu: plan.mtu },
    peerSays: input.peerSays,
    path: finding === undefined ? null : pathOf(finding),
    mtu,
    mss: isBare
      ? null
      : {
          ipv4: Math.max(mtu - IP_HEADER[4] - TCP_HEADER, 0),
          ipv6: Math.max(mtu - IP_HEADER[6] - TCP_HEADER, 0),
        },
    fragments: !isBare && entry.fragments === true,
    problem: isBare ? null : pathProblem(entry, finding),
  };
}

const PIECES = `IPv6 up to ${MTU_MIN_IPV6} in outer fragments`;

/** One line when the path carries less than both ends' interfaces, else null. */
export function pathProblem(
  entry: Pick<TablePeer, "fragments">,
  finding: PathFinding | undefined,
): string | null {
  const pieces = entry.fragments === true ? PIECES : "";
  if (finding === undefined || finding.mtu >= finding.limits.most) {
    return pieces === "" ? null : `the underlay is narrow: ${pieces}`;
  }
  const { mtu, limits, phase } = finding;
  const lost = `the path loses packets larger than ${mtu} bytes (of ${limits.most})`;
  const state = {
    base: "; what it carries is being found out",
    search: "; what it carries is being found out",
    complete: "",
    error: ", and it seems even those: look at the underlay",
  }[phase];
  return `${lost}${state}${pieces === "" ? "" : `; ${pieces}`}`;
}
