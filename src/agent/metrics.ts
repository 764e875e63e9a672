// The agent's numbers as Prometheus metric families; names are stable.
import type { Datapath, DirectionCounters, WorkerHeap } from "../datapath/index.js";
import { formatMetrics, type MetricFamily } from "../telemetry/index.js";
import { type DropParts, dropRows } from "./status.js";
import type { AgentStatus, WayState } from "./types.js";

type Direction = "egress" | "ingress";
type Total = Exclude<keyof DirectionCounters, "drops">;

const TOTALS: readonly { name: string; help: string; of: Total }[] = [
  { name: "received_packets", help: "Inner packets read", of: "received" },
  { name: "generated_packets", help: "Inner packets made by the node itself", of: "generated" },
  { name: "forwarded_packets", help: "Inner packets written", of: "forwarded" },
  { name: "consumed_packets", help: "Inner packets taken by the node itself", of: "consumed" },
  { name: "super_packets", help: "Super-packets and trains, each counted once", of: "super" },
  { name: "received_bytes", help: "Bytes of inner packets read", of: "receivedBytes" },
  { name: "forwarded_bytes", help: "Bytes of inner packets written", of: "forwardedBytes" },
  { name: "sends", help: "Descriptors written, each a packet or a train", of: "sends" },
];

function counterFamilies(datapath: Datapath): MetricFamily[] {
  const counters = datapath.counters();
  const directions: Direction[] = ["egress", "ingress"];
  return TOTALS.map(({ name, help, of }) => ({
    name: `meshd_${name}_total`,
    help: `${help}, by worker and direction.`,
    type: "counter",
    samples: counters.flatMap((one) =>
      directions.map((direction) => ({
        labels: { worker: one.worker, direction },
        value: one[direction][of],
      })),
    ),
  }));
}

function dropFamilies(parts: DropParts): MetricFamily[] {
  const rows = dropRows(parts);
  const family = (unit: "packets" | "bytes"): MetricFamily => ({
    name: `meshd_dropped_${unit}_total`,
    help: `Inner ${unit} dropped, by reason and direction.`,
    type: "counter",
    samples: rows.map((row) => ({
      labels: { reason: row.reason, direction: row.direction },
      value: row[unit],
    })),
  });
  return [family("packets"), family("bytes")];
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "gauge", samples: [{ value }] };
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name: `${name}_total`, help, type: "counter", samples: [{ value }] };
}

const WAYS: Readonly<Record<WayState, number>> = { ok: 1, lost: 0, unknown: -1 };

function peerFamilies({ peers }: AgentStatus): MetricFamily[] {
  const reached = peers.filter((peer) => peer.rtt_us !== null);
  return [
    {
      name: "meshd_peer_reachable",
      help: "1 while the peer answers data-path probes, 0 while it does not, -1 unknown.",
      type: "gauge",
      samples: peers.map(({ name: peer, reachable }) => ({
        labels: { peer },
        value: reachable === "unknown" ? -1 : Number(reachable === "reachable"),
      })),
    },
    {
      name: "meshd_peer_path",
      help: "1 while packets arrive that way, 0 while they are lost, -1 unknown.",
      type: "gauge",
      samples: peers.flatMap(({ name: peer, path }) => [
        { labels: { peer, direction: "to" }, value: WAYS[path.toPeer] },
        { labels: { peer, direction: "from" }, value: WAYS[path.fromPeer] },
      ]),
    },
    {
      name: "meshd_peer_protocol",
      help: "1 for the encapsulation in which packets go to the peer.",
      type: "gauge",
      samples: peers.map(({ name: peer, protocol }) => ({ labels: { peer, protocol }, value: 1 })),
    },
    {
      name: "meshd_peer_rtt_seconds",
      help: "Round-trip time of the last data-path probe.",
      type: "gauge",
      samples: reached.map(({ name: peer, rtt_us }) => ({
        labels: { peer },
        value: (rtt_us ?? 0) / 1e6,
      })),
    },
    {
      name: "meshd_peer_mtu_bytes",
      help: "Largest inner packet to the peer; less than the tunnel MTU: a narrow path.",
      type: "gauge",
      samples: peers.map(({ name: peer, mtu }) => ({ labels: { peer }, value: mtu })),
    },
  ];
}

/** What directly routed peers' packets were counted by nftables. */
function directFamilies({ peers }: AgentStatus): MetricFamily[] {
  const counted = peers.flatMap(({ name, direct }) => (direct === null ? [] : [{ name, direct }]));
  const directions: Direction[] = ["egress", "ingress"];
  return (["packets", "bytes"] as const).map((unit) => ({
    name: `meshd_direct_${unit}_total`,
    help: `Directly routed ${unit} as nftables counted them, by peer and direction.`,
    type: "counter",
    samples: counted.flatMap(({ name: peer, direct }) =>
      directions.map((direction) => ({
        labels: { peer, direction },
        value: direct[direction][unit],
      })),
    ),
  }));
}

/** One sample for each worker that has said its heap. */
function heapFamily(
  status: AgentStatus,
  of: keyof WorkerHeap,
  told: { name: string; help: string; type: MetricFamily["type"] },
): MetricFamily {
  const samples = status.workers.flatMap(({ index: worker, heap }) =>
    heap === null ? [] : [{ labels: { worker }, value: heap[of] }],
  );
  return { ...told, samples };
}

function heapFamilies(status: AgentStatus): MetricFamily[] {
  return [
    heapFamily(status, "used", {
      name: "meshd_worker_heap_bytes",
      help: "JavaScript heap in use, garbage included.",
      type: "gauge",
    }),
    heapFamily(status, "allocated", {
      name: "meshd_worker_allocated_bytes_total",
      help: "Ever allocated in that heap; packets that are forwarded add nothing.",
      type: "counter",
    }),
    heapFamily(status, "collections", {
      name: "meshd_worker_collections_total",
      help: "Garbage collections.",
      type: "counter",
    }),
  ];
}

/** Insecure (docs/pptp.md): how many calls there are says nothing of secrecy. */
function callFamilies({ pptp }: AgentStatus): MetricFamily[] {
  const sessions = pptp?.sessions ?? [];
  const kinds = ["dial-in", "dial-out", "pair"];
  const states = ["waiting", "link", "up"];
  const countOf = (kind: string, state: string) =>
    sessions.filter((one) => one.kind === kind && one.state === state).length;
  const samples = kinds.flatMap((kind) =>
    states.map((state) => ({ labels: { kind, state }, value: countOf(kind, state) })),
  );
  if (pptp === null) return [];
  return [{ name: "meshd_pptp_calls", help: "PPTP calls (insecure).", type: "gauge", samples }];
}

/** Seconds until credentials and certificates end; what does not end has none. */
function expiry(ends: AgentStatus["nats"]["ends"]): MetricFamily[] {
  const samples = Object.entries(ends).flatMap(([what, end]) =>
    end === null ? [] : [{ labels: { what }, value: (Date.parse(end) - Date.now()) / 1000 }],
  );
  const help = "Seconds until credentials or certificates end; negative when they have.";
  return [{ name: "meshd_credentials_expire_seconds", help, type: "gauge", samples }];
}

function statusFamilies(status: AgentStatus): MetricFamily[] {
  const age = status.nats.viewAge_ms;
  return [
    gauge("meshd_up", "1 while the agent forwards.", Number(status.ready)),
    gauge("meshd_nats_connected", "1 while NATS answers.", Number(status.nats.connected)),
    ...(age === null
      ? []
      : [gauge("meshd_view_age_seconds", "Age of the view of the cluster.", age / 1000)]),
    gauge(
      "meshd_view_from_disk",
      "1 while a start without NATS runs on the last good view.",
      Number(status.nats.viewFrom === "disk"),
    ),
    ...expiry(status.nats.ends),
    gauge("meshd_view_revision", "Highest stream sequence seen.", status.nats.revision),
    gauge("meshd_tunnel_mtu_bytes", "Tunnel MTU.", status.mtu),
    gauge("meshd_peers", "Peers in the tables.", status.peersTotal),
    gauge("meshd_peers_reachable", "Peers that answer probes.", status.peersReachable),
    counter("meshd_probe_questions", "Questions whether a peer is there.", status.probes.questions),
    counter("meshd_probe_answers", "Answers to these.", status.probes.answers),
    gauge("meshd_pods", "Pods on this node.", status.pods),
    gauge("meshd_refused_records", "Records that are not applied.", status.refused.length),
    gauge(
      "meshd_low_latency_held",
      "1 while the host's CPUs are kept from deep sleep.",
      Number(status.lowLatency.held),
    ),
    gauge("meshd_warnings", "Warnings in status.", status.warnings.length),
    {
      name: "meshd_worker_restarts_total",
      help: "Threads that died and were started again.",
      type: "counter",
      samples: status.workers.map(({ index: worker, restarts }) => ({
        labels: { worker },
        value: restarts,
      })),
    },
    {
      name: "meshd_churn_total",
      help: "Changes written by reconciling; stands still while nothing changes.",
      type: "counter",
      samples: [
        { labels: { what: "tables" }, value: status.churn.published },
        { labels: { what: "host" }, value: status.churn.hostChanges },
      ],
    },
  ];
}

/** All families as Prometheus text. */
export function metricsText(status: AgentStatus, parts: DropParts): string {
  return formatMetrics([
    ...statusFamilies(status),
    ...heapFamilies(status),
    ...peerFamilies(status),
    ...callFamilies(status),
    ...counterFamilies(parts.datapath),
    ...directFamilies(status),
    ...dropFamilies(parts),
  ]);
}
