// What the agent says of itself: one shape for the socket, for NATS and for the command line.
import { formText, type MemberSession, type Membership } from "../../control/index.js";
import type { Datapath, TablePeer } from "../datapath/index.js";
import { MESH_ROUTE_METRIC, POOL_ROUTE_METRIC } from "../host/index.js";
import type { Pods } from "../pods/index.js";
import type { BareCounters } from "./bare-counters.js";
import type { CallKeeper } from "./call-keeper.js";
import { type Engine, protocolOf } from "./engine.js";
import type { Flips } from "./flips.js";
import type { KeptView } from "./kept-view.js";
import type { LowLatency } from "./low-latency.js";
import { fittingMtu } from "./mtu.js";
import type { PlannedPeer } from "./plan/types.js";
import { isTunnelled } from "./plan/ways.js";
import type { PathProber } from "./pmtu/prober.js";
import { pathProblem } from "./pmtu/report.js";
import type { Prober } from "./probes.js";
import { greOptionsOf } from "./protocols.js";
import type { QueueDrops } from "./queue-drops.js";
import type { AgentStatus, ChangeStatus, DropRow, FibRow, PeerStatus, RouteRow } from "./types.js";

/** Whose counts of drops there are: the workers', nftables' and the kernel's queues'. */
export interface DropParts {
  engine: Engine;
  datapath: Datapath;
  bare: BareCounters;
  queueDrops: QueueDrops;
}

export interface StatusParts extends DropParts {
  session: MemberSession;
  membership: Membership;
  pods: Pods;
  prober: Prober;
  lowLatency: LowLatency;
  pathProber: PathProber;
  flips: Flips;
  calls: CallKeeper;
  kept: KeptView;
  deviceName: string;
  version: string;
  startedAt: string;
  ready: boolean;
  /** Warnings of the agent itself: start conflicts, firewall, underlay. */
  warnings: readonly string[];
}

function peerStatus(
  peer: PlannedPeer,
  entry: TablePeer | undefined,
  parts: StatusParts,
): PeerStatus {
  const { name, nodeId, kind, address, podCIDRs, identity, ways } = peer;
  const { protocol, port } = peer.form;
  const health = parts.prober.health(peer);
  const finding = parts.pathProber.finding(peer);
  return {
    ...{ name, nodeId, kind, underlay: address, protocol, port, form: { ...peer.form } },
    ...{ podCIDRs: [...podCIDRs], identity, ...health },
    ways: { ...ways },
    direct: parts.bare.of(peer),
    mtu: isTunnelled(peer) && entry !== undefined ? entry.mtu : parts.engine.plan().mtu,
    pathState: finding?.phase ?? null,
    problem: linesOf(
      parts.prober.problemWith(peer),
      entry === undefined ? null : pathProblem(entry, finding),
      stayingProblem(peer, parts.flips.report()),
      parts.calls.problemWith(peer.nodeId),
    ),
  };
}

/** One line of several, or null when there is none. */
function linesOf(...lines: (string | null)[]): string | null {
  const said = lines.filter((line) => line !== null);
  return said.length === 0 ? null : said.join("; ");
}

/** Why packets to a member still go in another form than the mesh's, where it was asked in vain. */
function stayingProblem(peer: PlannedPeer, change: ChangeStatus | null): string | null {
  if (change === null || !change.staying.includes(peer.name)) return null;
  const still = formText(peer.form);
  return `no answer by ${formText(change)}, so packets still go by ${still}: look at firewalls`;
}

/** A store that was lost has thousands: the answer must stay one that NATS carries. */
const REFUSED_SHOWN = 500;

/** Nobody was there to refuse anything. */
const SILENCE = new Set(["MESHD_NO_NATS", "MESHD_TIMEOUT"]);

type Direction = "egress" | "ingress";

function total(parts: StatusParts, direction: Direction): { packets: number; bytes: number } {
  const counted = parts.datapath.counters().map((worker) => worker[direction]);
  return {
    packets: counted.reduce((sum, one) => sum + one.forwarded, 0),
    bytes: counted.reduce((sum, one) => sum + one.forwardedBytes, 0),
  };
}

function fitsUnderlay({ engine, session }: StatusParts): number {
  const plan = engine.plan();
  const { family: underlayFamily, mtu: underlayMtu } = engine.underlay();
  const config = session.snapshot()?.config;
  const protocol = plan.routingMode === "native" ? null : protocolOf(plan);
  const gre = config === undefined ? {} : { gre: greOptionsOf(config) };
  return fittingMtu({ protocol, underlayFamily, underlayMtu, ...gre });
}

function rawStatus({ engine, datapath }: StatusParts): AgentStatus["raw"] {
  const raw = engine.raw();
  return raw === null ? null : { ...raw, strangers: datapath.strangers.status() };
}

function drops(parts: StatusParts): number {
  return dropRows(parts).reduce((sum, { packets }) => sum + packets, 0);
}

function natsStatus({ session, engine, kept }: StatusParts): AgentStatus["nats"] {
  const age = kept.age(session);
  const isRemoved = engine.plan().member?.state === "removed";
  const { ends } = session.ends;
  return {
    connected: session.connected,
    url: session.server,
    encrypted: session.encrypted,
    // Those of a removed node are good for nothing, whatever they say.
    ends: isRemoved ? { ...ends, credentials: null } : ends,
    viewAge_ms: age === null ? null : Math.round(age.age_ms),
    viewFrom: age?.from ?? null,
    viewAt: age === null ? null : new Date(Date.now() - age.age_ms).toISOString(),
    revision: session.snapshot()?.revision ?? 0,
    error: session.connected ? null : whyNotConnected(session, isRemoved),
  };
}

function whyNotConnected({ twins, trouble }: MemberSession, isRemoved: boolean): string {
  if (twins.duplicate) return `this node runs elsewhere (${twins.duplicate.code})`;
  if (isRemoved) return "this node was removed, so its credentials are refused";
  const isAnswered = trouble !== null && !SILENCE.has(trouble.code);
  const why = isAnswered ? trouble.message : "no server answers";
  return `${why}; the last good state stays in force`;
}

export function buildStatus(parts: StatusParts): AgentStatus {
  const { engine, session, membership, datapath } = parts;
  const plan = engine.plan();
  const underlay = engine.underlay();
  const change = parts.flips.report();
  const peers = plan.peers.map((peer, index) => peerStatus(peer, plan.tables?.peers[index], parts));
  const egress = total(parts, "egress");
  const ingress = total(parts, "ingress");
  return {
    ready: parts.ready,
    pid: process.pid,
    version: parts.version,
    startedAt: parts.startedAt,
    node: {
      id: session.nodeId,
      name: plan.member?.name ?? membership.name,
      addresses: plan.tables?.self.addresses ?? [],
      state: session.twins.duplicate ? "duplicate" : (plan.member?.state ?? "unknown"),
    },
    mesh: { id: membership.meshId, name: membership.mesh },
    nats: natsStatus(parts),
    routingMode: plan.routingMode,
    encapMode: plan.encapMode,
    tunnelProtocol: plan.tunnelProtocol,
    tunnelPort: plan.port,
    device: parts.deviceName,
    mtu: plan.mtu,
    mtuFits: fitsUnderlay(parts),
    underlay: {
      address: underlay.address,
      port: datapath.underlay().port,
      interface: underlay.device,
      mtu: underlay.mtu,
    },
    lease: { podCIDRs: plan.member?.podCIDRs ?? [], epoch: plan.member?.epoch ?? 0 },
    identity: plan.identity,
    peers,
    peersReachable: peers.filter((peer) => peer.reachable === "reachable").length,
    peersTotal: peers.length,
    probes: parts.prober.counts(),
    pods: parts.pods.list().length,
    workers: datapath.workers().map(({ index, state, restarts, generation, heap }) => ({
      ...{ index, state, restarts, generation },
      heap,
    })),
    steering: { ...datapath.steering() },
    lowLatency: parts.lowLatency.status(),
    packets: { egress: egress.packets, ingress: ingress.packets },
    bytes: { egress: egress.bytes, ingress: ingress.bytes },
    drops: drops(parts),
    offloads: { ...datapath.offloads() },
    raw: rawStatus(parts),
    refused: (session.snapshot()?.refused ?? []).slice(0, REFUSED_SHOWN),
    change,
    pptp: parts.calls.status(plan, session.snapshot()),
    pptpFilter: engine.filter.status(),
    warnings: [
      ...[...parts.warnings, ...engine.warnings(), ...parts.prober.warnings()],
      ...parts.session.ends.warnings,
      ...parts.calls.problems(session.snapshot()),
    ],
    churn: { ...engine.churn },
  };
}

/** Prefixes of the live tables with what encap does for them. */
export function fibRows(engine: Engine): FibRow[] {
  const { tables, peers, calls } = engine.plan();
  return (tables?.peers ?? []).flatMap((peer, index) =>
    peer.prefixes.map((prefix, at) => ({
      prefix,
      peer: (peers[index] ?? calls[index - peers.length])?.name ?? "",
      way: peers[index]?.prefixWays[at] ?? "tunnel",
      nextHop: peer.address,
      protocol: peer.protocol,
      port: peer.port,
      vni: peer.vni ?? null,
      mac: peer.mac ?? null,
      mtu: peer.mtu,
    })),
  );
}

/** Routes the agent keeps in the kernel. */
export function routeRows(engine: Engine, deviceName: string): RouteRow[] {
  const deviceOf = { peer: deviceName, direct: null, unreachable: null };
  return engine.plan().routes.map(({ destination, kind, source, via, gateway, device }) => ({
    destination,
    kind,
    device: device ?? deviceOf[kind],
    gateway: gateway ?? null,
    source,
    metric: kind === "unreachable" ? POOL_ROUTE_METRIC : MESH_ROUTE_METRIC,
    via,
  }));
}

/** Drop reasons that happened, summed over workers, most frequent first. */
export function dropRows({ datapath, bare, queueDrops, engine }: DropParts): DropRow[] {
  const beside = [...bare.drops(), ...engine.filter.drops(), ...queueDrops.rows(datapath)];
  const rows = new Map<string, DropRow>(beside.map((row) => [row.reason, row]));
  for (const worker of datapath.counters()) {
    for (const direction of ["egress", "ingress"] as const) {
      for (const [reason, count] of Object.entries(worker[direction].drops)) {
        const key = `${direction} ${reason}`;
        const row = rows.get(key) ?? { reason, direction, packets: 0, bytes: 0 };
        row.packets += count.packets;
        row.bytes += count.bytes;
        rows.set(key, row);
      }
    }
  }
  return [...rows.values()].sort((a, b) => b.packets - a.packets || (a.reason < b.reason ? -1 : 1));
}
