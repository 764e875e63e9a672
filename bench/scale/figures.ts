// Figures of simulations: what is measured of one mesh, and tables of several.
import type { Machine } from "../support/machine.js";

export interface Spread {
  count: number;
  p50_ms: number;
  p99_ms: number;
  max_ms: number;
}

/** Of all agents of a mesh; each figure per node where its name says nothing else. */
export interface MeshFigures {
  nodes: number;
  /** Seconds until all are members, and until every plan has all others. */
  members_s: number;
  whole_s: number;
  /** Until every plan shows it, over all agents and changes of the kind. */
  address: Spread;
  setting: Spread;
  leave: Spread;
  /** Bytes of a session's heap and buffers, that of an empty process taken off. */
  memory: number;
  /** Plans, milliseconds in them, and the longest one, while joining. */
  plans: number;
  planning_ms: number;
  planning_max_ms: number;
  /** Signature checks that were computed; agents of one process may share what they found. */
  computed: number;
  /** While joining. */
  joining: Traffic;
  /** For each second at rest. */
  resting: Traffic;
  /** Records written while joining, for each node. */
  writes: number;
  /** Seconds of processor: agents together, controller, nats-server; to the end of joining. */
  agents_cpu_s: number;
  controller_cpu_s: number;
  server_cpu_s: number;
  controller_memory: number;
  server_memory: number;
}

export interface Traffic {
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
}

export interface TableFigures {
  prefixes: number;
  peers: number;
  /** The first one, while nothing is compiled yet, and those after. */
  first_ms: number;
  p50_ms: number;
  max_ms: number;
  count: number;
}

export interface ScaleRecord {
  machine: Machine;
  shared: boolean;
  processes: number;
  meshes: MeshFigures[];
  tables: TableFigures | null;
}

export function spreadOf(all: readonly number[]): Spread {
  const sorted = [...all].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { count: all.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: sorted.at(-1) ?? 0 };
}

const round = (value: number, digits = 3) => String(Number(value.toPrecision(digits)));
const spread = ({ p50_ms, p99_ms, max_ms }: Spread) =>
  [p50_ms, p99_ms, max_ms].map((ms) => round(ms)).join(" / ");
const traffic = ({ messagesIn, messagesOut, bytesIn, bytesOut }: Traffic) => {
  const bytes = `${round(bytesIn / 1000)} / ${round(bytesOut / 1000)}`;
  return `${round(messagesIn)} / ${round(messagesOut)}, ${bytes}`;
};

const ROWS: [string, (mesh: MeshFigures) => string][] = [
  ["all are members, s", ({ members_s }) => round(members_s)],
  ["every plan has all others, s", ({ whole_s }) => round(whole_s)],
  ["a changed address is in all plans, ms: p50 / p99 / most", ({ address }) => spread(address)],
  ["a changed setting (MTU), ms", ({ setting }) => spread(setting)],
  ["a node that leaves, ms", ({ leave }) => spread(leave)],
  ["memory of a node's control state, MB", ({ memory }) => round(memory / 1e6)],
  ["plans of a node while joining", ({ plans }) => round(plans)],
  [
    "ms in them; longest one",
    (mesh) => `${round(mesh.planning_ms)}; ${round(mesh.planning_max_ms)}`,
  ],
  ["signature checks computed for each node, while joining", ({ computed }) => round(computed)],
  ["records written for each node", ({ writes }) => round(writes)],
  ["joining: messages in / out, KB in / out, of a node", ({ joining }) => traffic(joining)],
  ["at rest, each second: the same", ({ resting }) => traffic(resting)],
  [
    "processor while joining, s: agents, controller, nats-server",
    (mesh) =>
      [mesh.agents_cpu_s, mesh.controller_cpu_s, mesh.server_cpu_s].map((s) => round(s)).join(", "),
  ],
  [
    "memory of controller, nats-server, MB",
    (mesh) => `${round(mesh.controller_memory / 1e6)}, ${round(mesh.server_memory / 1e6)}`,
  ],
];

/** A table in Markdown: a column for each mesh. */
export function formatMeshes(meshes: readonly MeshFigures[]): string {
  const head = ["nodes", ...meshes.map(({ nodes }) => String(nodes))];
  const rows = ROWS.map(([title, of]) => [title, ...meshes.map(of)]);
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

export function formatTables({ prefixes, peers, first_ms, p50_ms, max_ms, count }: TableFigures) {
  const what = `tables of ${prefixes} prefixes of each family, ${peers} peers`;
  const times = `median ${round(p50_ms)} ms, most ${round(max_ms)} ms of ${count}`;
  return `${what}: ${times}; the first one ${round(first_ms)} ms`;
}
