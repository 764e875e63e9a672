// meshd status: what the agent on this host says of itself; works without NATS.
import { formText } from "../../control/index.js";
import type { AgentStatus, PeerStatus } from "./agent-answers.js";
import { askAgent } from "./agent-client.js";
import { type Command, CommandError, type Context, type Invocation } from "./command.js";
import {
  type ControlHere,
  controlHere,
  controlText,
  downError,
  type ShownController,
  shownController,
} from "./control-here.js";
import { endsText } from "./ends.js";
import { agoText, bytesText, count, durationText, fields, print, table } from "./output.js";
import { isLoopback } from "./service/controller-state.js";

export const command: Command = {
  usage: "",
  about:
    "Shows this node: mesh, NATS, tunnel, lease, peers with the round-trip time of a probe " +
    "through the tunnel, workers, packets and drops. The agent answers, so it works while NATS " +
    "is away. On a host of the control plane it also shows the controller, and what of it or its " +
    "cluster is down.",
  example: "meshd status --json",
  options: { peers: { about: "list every peer" } },
  words: [0, 0],
  run,
};

/** More peers with a problem than this have one cause that the first show. */
const PROBLEMS_SHOWN = 5;

type Shown = (AgentStatus | { ready: false }) & {
  controller: ShownController | null;
  control: ControlHere | null;
};

async function run(invocation: Invocation, context: Context): Promise<undefined> {
  const controller = shownController(invocation);
  const [control, agent] = await Promise.all([
    controlHere(invocation, controller),
    agentStatus(invocation),
  ]);
  if (agent instanceof CommandError && controller === null) {
    throw control === null ? agent : downError(control);
  }
  const there = agent instanceof CommandError ? undefined : agent;
  const shown: Shown = { ...(there ?? { ready: false as const }), controller, control };
  const text = () => {
    const lines = there === undefined ? "agent       none\n" : agentText(there);
    const peers = there !== undefined && invocation.has("peers") ? peersText(there.peers) : "";
    return `${lines}${controlText(controller, control)}${peers}`;
  };
  print(invocation, context, shown, text);
}

/** The agent's answer, or that none runs here. */
async function agentStatus({ settings }: Invocation): Promise<AgentStatus | CommandError> {
  try {
    return (await askAgent(settings, "/status")) as AgentStatus;
  } catch (error) {
    if (error instanceof CommandError && error.code === "MESHD_AGENT_DOWN") return error;
    throw error;
  }
}

function agentText(status: AgentStatus): string {
  const { node, mesh, underlay, lease, packets, bytes } = status;
  const traffic = (direction: "egress" | "ingress") =>
    `${count(packets[direction], "packet")} (${bytesText(bytes[direction])})`;
  return fields([
    ["node", [`${node.name} (${node.state})`, ...andText(node.addresses)].join(", ")],
    ["mesh", `${mesh.name} ${mesh.id}`],
    ["nats", natsText(status)],
    ["ends", endsText(status.nats.ends)],
    ["routing", routingText(status)],
    ["change", status.change === null ? undefined : changeText(status.change)],
    ["device", `${status.device} mtu ${status.mtu}`],
    ["underlay", `${underlay.address} on ${underlay.interface} mtu ${underlay.mtu}`],
    ["lease", leaseText(lease)],
    ["pods", podsText(status)],
    ["peers", peersSummary(status)],
    ["workers", workersText(status)],
    ["steering", steeringText(status)],
    ["low latency", lowLatencyText(status)],
    ["offloads", offloadsText(status)],
    ["pptp", status.pptp ? pptpText(status.pptp) : undefined],
    ["pptp filter", status.pptpFilter ? filterText(status.pptpFilter) : undefined],
    ["raw", status.raw === null ? undefined : rawText(status.raw)],
    ["sent", traffic("egress")],
    ["received", traffic("ingress")],
    ["drops", status.drops === 0 ? "0" : `${status.drops}; 'meshd drops' says why`],
    ["agent", `${status.version}, process ${status.pid}, started ${agoText(status.startedAt)}`],
    ...problemRows(status.peers),
    ...status.refused.map(({ key, reason }) => ["refused", `${key}: ${reason}`] as const),
    ...status.warnings.map((warning) => ["warning", warning] as const),
  ]);
}

/** One text of several, or none of none. */
function andText(several: readonly string[]): string[] {
  return several.length === 0 ? [] : [several.join(" and ")];
}

function leaseText({ podCIDRs, epoch }: AgentStatus["lease"]): string {
  return podCIDRs.length === 0 ? "none" : `${podCIDRs.join(" and ")}, epoch ${epoch}`;
}

function podsText({ pods, identity }: AgentStatus): string {
  return typeof identity === "number" ? `${pods}, security identity ${identity}` : `${pods}`;
}

function pptpText(pptp: NonNullable<AgentStatus["pptp"]>): string {
  const { up, sessions, serves, worker, warning } = pptp;
  const server = serves ? "users may dial in, " : "";
  return `${server}${up} of ${count(sessions.length, "call")} up; ${worker}. ${warning}`;
}

function filterText(filter: NonNullable<AgentStatus["pptpFilter"]>): string {
  const { interface: name, withMesh, callers, refused, problem } = filter;
  const besides = withMesh ? " and the mesh" : "";
  const kinds = Object.entries(refused ?? {}).filter(([, { packets }]) => packets > 0);
  const counts = kinds.map(([kind, { packets }]) => `${kind} ${packets}`).join(", ");
  const state = problem === null ? "" : `; NOT in force: ${problem}`;
  const what = `${name} takes nothing in but PPTP${besides} (PPTP is insecure)`;
  return `${what}, ${count(callers.length, "caller")}, refused: ${counts || "none"}${state}`;
}

/** Encapsulations that are not in UDP have no port. */
function portText(port: number): string {
  return port === 0 ? "" : ` on port ${port}`;
}

function routingText({ routingMode, encapMode, tunnelProtocol, tunnelPort }: AgentStatus): string {
  const tunnel = `${tunnelProtocol}${portText(tunnelPort)}`;
  if (routingMode === "native") return `native; static peers by ${tunnel}`;
  return `${routingMode}, ${tunnel}${encapMode === "crossSubnet" ? ", across subnets only" : ""}`;
}

/** "direct", or "direct/tunnel" where IPv4 and IPv6 go different ways. */
function wayText({ ways }: PeerStatus): string {
  const there = [ways?.ipv4, ways?.ipv6].filter((way) => way !== null && way !== undefined);
  return [...new Set(there)].join("/");
}

/** Which way it is that loses packets, where only one is known to. */
function stateText({ reachable, path }: PeerStatus): string {
  // Agents of earlier versions do not say it.
  if (path?.toPeer === "lost") return `${reachable}: does not hear us`;
  return path?.fromPeer === "lost" ? `${reachable}: not heard` : reachable;
}

/** Bytes to and from a directly routed peer; the workers do not count them. */
function directText({ direct }: PeerStatus): string | null {
  if (!direct) return null;
  return `${bytesText(direct.egress.bytes)}, ${bytesText(direct.ingress.bytes)}`;
}

/** How far a change of encapsulation or port has come. */
function changeText(change: NonNullable<AgentStatus["change"]>): string {
  const { done, total, waiting, staying, kept } = change;
  const names = (label: string, some: readonly string[]) =>
    some.length === 0 ? "" : `; ${label}: ${some.slice(0, 5).join(", ")}`;
  return [
    `${formText(change)}: ${done} of ${count(total, "peer")}`,
    names("not open yet", waiting),
    names("no answer", staying),
    names("still received", kept.map(formText)),
  ].join("");
}

function natsText({ nats }: AgentStatus): string {
  const bare = nats.encrypted || isLoopback(nats.url ?? "") ? "" : " (not encrypted)";
  const state = nats.connected ? `connected to ${nats.url}${bare}` : "not connected";
  const error = nats.error === null || nats.connected ? "" : `; ${nats.error}`;
  return `${state}, ${viewText(nats)}, revision ${nats.revision}${error}`;
}

function viewText({ viewAge_ms, viewFrom, viewAt }: AgentStatus["nats"]): string {
  if (viewAge_ms === null) return "no view yet";
  const age = `${durationText(viewAge_ms)} old`;
  // Agents of earlier versions do not say where it is from.
  if (viewFrom !== "disk") return `view ${age}`;
  return `view of ${viewAt?.slice(0, 19)}Z (${age}), from disk`;
}

function peersSummary({ peers, peersReachable, peersTotal }: AgentStatus): string {
  const times = peers.flatMap((peer) => (peer.rtt_us === null ? [] : [peer.rtt_us]));
  const worst = times.length === 0 ? "" : `, slowest ${durationText(Math.max(...times) / 1000)}`;
  const away = peers.filter((peer) => peer.reachable === "unreachable").map((peer) => peer.name);
  const names = away.length === 0 ? "" : `; unreachable: ${away.slice(0, 5).join(", ")}`;
  return `${peersReachable} of ${peersTotal} reachable${worst}${names}`;
}

/** A line for each peer with something wrong on the way to it. */
function problemRows(peers: readonly PeerStatus[]): (readonly [string, string])[] {
  const rows = peers.flatMap(({ name, problem }) =>
    problem === null ? [] : [["peer", `${name}: ${problem}`] as const],
  );
  const more = rows.length - PROBLEMS_SHOWN;
  const last = more > 0 ? [["peer", `${more} more; see --peers`] as const] : [];
  return [...rows.slice(0, PROBLEMS_SHOWN), ...last];
}

function workersText({ workers, steering }: AgentStatus): string {
  const restarts = workers.reduce((sum, worker) => sum + worker.restarts, 0);
  const states = [...new Set(workers.map((worker) => worker.state))].join(", ");
  const steered = steering.active ? `, ${steering.cpus.length} of them by steering` : "";
  const ended = restarts === 0 ? "" : `, ${count(restarts, "restart")}`;
  return `${workers.length} (${states})${steered}${ended}`;
}

function steeringText({ steering }: AgentStatus): string {
  if (!steering.active) return steering.reason === "" ? "off" : `off: ${steering.reason}`;
  return `on, calm flows on CPUs ${steering.cpus.join(", ")}`;
}

function lowLatencyText({ lowLatency }: AgentStatus): string {
  const { wanted, held, reason } = lowLatency;
  if (!wanted) return "off";
  if (reason !== "") return `not available: ${reason}`;
  if (!held) return "released, no packets flow";
  return "held, no CPU of this host sleeps deeply: costs power";
}

/** What the kernel did not grant is on a slower path. */
function offloadsText({ offloads, tunnelPort }: AgentStatus): string {
  const { segmentation, receiveOffload, checksums } = offloads.socket;
  const ofUdp = { UDP_SEGMENT: segmentation, UDP_GRO: receiveOffload };
  const all = { ...offloads.device, ...(tunnelPort === 0 ? {} : ofUdp) };
  const refused = Object.entries(all).flatMap(([name, granted]) => (granted ? [] : [name]));
  const said = refused.length === 0 ? "all" : `without ${refused.join(", ")}`;
  if (checksums !== false || tunnelPort === 0) return said;
  return `${said}: udpChecksum is false, so datagrams go one by one, slower`;
}

/** What of the kernel would answer for our raw sockets, and what keeps it from that. */
function rawText(raw: NonNullable<AgentStatus["raw"]>): string {
  const { ipProtocols, kernel, table } = raw;
  const open = `sockets for IP protocol ${ipProtocols.join(", ")}${strangersText(raw)}`;
  if (kernel.length === 0) return open;
  const names = `${open}; the kernel's ${kernel.join(", ")}`;
  return table === null ? `${names} would answer, too` : `${names} silenced by nftables ${table}`;
}

/** Agents of earlier versions do not say it. */
function strangersText({
  strangers,
}: {
  strangers?: NonNullable<AgentStatus["raw"]>["strangers"];
}) {
  const { active = false, sample, reason = "" } = strangers ?? {};
  if (active) return `; a flood from strangers: dropped by socket filters, 1 in ${sample} counted`;
  return reason === "" ? "" : `; a flood from strangers: ${reason}`;
}

function peersText(peers: readonly PeerStatus[]): string {
  const rows = peers.map((peer) => [
    peer.name,
    peer.kind,
    peer.port === 0 ? peer.underlay : `${peer.underlay}:${peer.port}`,
    peer.podCIDRs.join(","),
    stateText(peer),
    peer.rtt_us === null ? null : durationText(peer.rtt_us / 1000),
    peer.lastSeen_ms === null ? null : `${durationText(peer.lastSeen_ms)} ago`,
    peer.mtu,
    // The port stands with the address.
    formText({ ...peer, ...peer.form, port: 0 }),
    wayText(peer),
    peer.identity,
    directText(peer),
  ]);
  const heads = [
    ...["PEER", "KIND", "UNDERLAY", "PODCIDRS", "STATE", "RTT", "HEARD", "MTU"],
    ...["PROTOCOL", "WAY", "IDENTITY", "DIRECT"],
  ];
  return `\n${table(heads, rows)}`;
}
