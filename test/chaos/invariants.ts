// What must hold after every fault, from real sources: the store, the agents' tables, the kernel's
// routes, the workers' counters, the process list. Each check gives what is wrong, in sentences.
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentStatus, FibRow } from "../../src/agent/index.js";
import type { WorkerCounters } from "../../src/datapath/index.js";
import type { CheckReport } from "../../src/lab/index.js";
import { isBalanced } from "../mesh/mesh-lab.js";
import type { ChaosLab } from "./lab.js";
import { readStore, type StoredLease, type StoredRecords } from "./store.js";

const POLL_MS = 100;
/** Counters are read while packets are in workers' hands. */
const BALANCE_LIMIT_MS = 5000;
/** A view may be a moment behind what the controller has just written. */
const AGREE_LIMIT_MS = 15_000;
const CHURN_LIMIT_MS = 30_000;
const CHURN_CALM_MS = 2000;
/** Kernel routes of the mesh: to others' PodCIDRs, and direct ones. */
const MESH_PROTOCOL = "157";

/** Asks again until nothing is wrong or the time is over. */
export async function untilRight(
  limit_ms: number,
  ask: () => Promise<string[]>,
): Promise<string[]> {
  const deadline = Date.now() + limit_ms;
  for (;;) {
    const wrong = await ask().catch((error: unknown) => [said(error)]);
    if (wrong.length === 0 || Date.now() > deadline) return wrong;
    await sleep(POLL_MS);
  }
}

const said = (error: unknown) => (error instanceof Error ? error.message : String(error));

type Holders = Map<string, string>;

/** Who holds what, by the store; and what is wrong in it. */
export function holdersOf({ leases, members }: StoredRecords): {
  holders: Holders;
  wrong: string[];
} {
  const held = leases.filter(({ state }) => state === "held");
  const wrong: string[] = [];
  const seen = new Map<string, StoredLease>();
  for (const lease of held) {
    const other = seen.get(lease.cidr);
    if (other !== undefined) wrong.push(`${lease.cidr} is held twice`);
    seen.set(lease.cidr, lease);
  }
  const active = members.filter(({ state }) => state !== "removed");
  for (const { name, nodeId, podCIDRs, epoch } of active) {
    for (const cidr of podCIDRs) {
      const lease = seen.get(cidr);
      if (lease?.nodeId === nodeId && lease.epoch === epoch) continue;
      wrong.push(`${name} lists ${cidr} of epoch ${epoch}; its lease is ${JSON.stringify(lease)}`);
    }
  }
  const listed = active.flatMap(({ podCIDRs }) => podCIDRs);
  if (new Set(listed).size !== listed.length) wrong.push(`a PodCIDR stands twice: ${listed}`);
  const names = new Map(active.map(({ nodeId, name }) => [nodeId, name]));
  const holders = new Map(held.map(({ cidr, nodeId }) => [cidr, names.get(nodeId ?? "") ?? ""]));
  return { holders, wrong };
}

async function tablesAgree(lab: ChaosLab, node: string, holders: Holders): Promise<string[]> {
  const wrong: string[] = [];
  const [status, fib] = await Promise.all([lab.status(node), lab.socket<FibRow[]>(node, "/fib")]);
  for (const cidr of status.lease.podCIDRs) {
    const holder = holders.get(cidr);
    if (holder === status.node.name) continue;
    wrong.push(`${node} believes in ${cidr}, which ${holder ?? "nobody"} holds`);
  }
  const routed = new Map(fib.map(({ prefix, peer }) => [prefix, peer]));
  for (const [prefix, peer] of routed) {
    const holder = holders.get(prefix);
    if (holder === peer) continue;
    wrong.push(`${node} sends ${prefix} to ${peer}, and ${holder ?? "nobody"} holds it`);
  }
  for (const [cidr, holder] of holders) {
    if (holder === "" || holder === status.node.name || routed.has(cidr)) continue;
    wrong.push(`${node} has no way to ${cidr} of ${holder}`);
  }
  return [...wrong, ...(await kernelRoutesAgree(lab, node, holders, status.node.name))];
}

async function kernelRoutesAgree(
  lab: ChaosLab,
  node: string,
  holders: Holders,
  own: string,
): Promise<string[]> {
  const { namespace } = lab.node(node);
  const show = (family: string) =>
    lab.must(namespace, ["ip", family, "-o", "route", "show", "proto", MESH_PROTOCOL]);
  const texts = await Promise.all(["-4", "-6"].map(show));
  const lines = texts.join("").split("\n").filter(Boolean);
  const routed = lines.filter((line) => !line.startsWith("unreachable"));
  const destinations = routed.map((line) => line.split(" ")[0] ?? "");
  const wrong = destinations
    .filter((destination) => !holders.has(destination))
    .map((destination) => `${node}'s kernel has a route to ${destination}, which nobody holds`);
  const missing = [...holders]
    .filter(([cidr, holder]) => ![own, ""].includes(holder) && !destinations.includes(cidr))
    .map(([cidr, holder]) => `${node}'s kernel has no route to ${cidr} of ${holder}`);
  return [...wrong, ...missing];
}

/** No CIDR with two holders, no route without a lease, none of a lease missing. */
export function checkLeases(lab: ChaosLab): Promise<string[]> {
  return untilRight(AGREE_LIMIT_MS, async () => {
    const findings = await lab.ask<{ cidr: string; kind: string }[]>(lab.control, [
      ...["lease", "audit"],
    ]);
    const { holders, wrong } = holdersOf(await readStore(lab));
    const tables = await Promise.all(lab.nodeNames.map((name) => tablesAgree(lab, name, holders)));
    const audited = findings.map(({ cidr, kind }) => `lease audit: ${cidr} ${kind}`);
    return [...audited, ...wrong, ...tables.flat()];
  });
}

/** received + generated = forwarded + consumed + dropped, exactly, in every worker. */
export async function checkCounters(lab: ChaosLab): Promise<string[]> {
  const all = lab.nodeNames.map((name) =>
    untilRight(BALANCE_LIMIT_MS, async () => {
      const workers = await lab.socket<WorkerCounters[]>(name, "/counters");
      if (workers.length === 0) return [`${name} has no workers`];
      const wrong = workers.filter((one) => !isBalanced(one));
      return wrong.map((one) => `${name} is out of balance: ${JSON.stringify(one)}`);
    }),
  );
  return (await Promise.all(all)).flat();
}

const hostOf = ({ name }: ChaosLab, pod: string) =>
  pod.slice(name.length + 1).replace(/-p\d+$/, "");

/** By "node peer": the largest packet that the node knows to reach the peer. */
async function pathSizes(lab: ChaosLab): Promise<Map<string, number>> {
  const states = await Promise.all(lab.nodeNames.map((name) => lab.status(name)));
  const sizes = states.flatMap(({ node, peers }) =>
    peers.map(({ name, mtu }): [string, number] => [`${node.name} ${name}`, mtu]),
  );
  return new Map(sizes);
}

/**
 * A pod's kernel keeps the size that a narrower path had for ten minutes (RFC 8201 section 4): that
 * is right, and would only hide whether the mesh carries full size again.
 */
export async function forgetPathMtus(lab: ChaosLab): Promise<void> {
  const pods = lab.nodes.flatMap((node) => node.pods.map(({ namespace }) => namespace));
  for (const pod of pods) {
    for (const family of ["-4", "-6"]) {
      await lab.run(pod, ["ip", family, "route", "flush", "cache"]);
    }
  }
}

/** Every pod reaches every other, both families, small and full-size packets. */
export async function checkPairs(lab: ChaosLab): Promise<string[]> {
  await forgetPathMtus(lab);
  const { stateDir, runDir } = lab.roots;
  const words = ["lab", "check", "--name", lab.name, "--json"];
  const done = await lab.tryMeshd({ namespace: "", stateDir, runDir }, words);
  if (done.code === 0) return [];
  if (done.stdout === "") return [`lab check: ${done.stderr.trim()}`];
  const { failures } = JSON.parse(done.stdout) as CheckReport;
  const sizes = await pathSizes(lab);
  // What a path once could not carry is tried again only after minutes, as RFC 8899 wants it.
  const unsaid = failures.filter(({ from, to, packet_bytes }) => {
    const [one, other] = [hostOf(lab, from), hostOf(lab, to)];
    const known = [sizes.get(`${one} ${other}`), sizes.get(`${other} ${one}`)];
    return packet_bytes <= Math.min(...known.map((size) => size ?? packet_bytes));
  });
  return unsaid.map(
    ({ from, to, family, packet_bytes, why }) =>
      `${from} does not reach ${to} by IPv${family} with ${packet_bytes} bytes: ${why}`,
  );
}

function isQuiet(before: AgentStatus, after: AgentStatus): boolean {
  const { published, hostChanges } = before.churn;
  return published === after.churn.published && hostChanges === after.churn.hostChanges;
}

/** Applying an unchanged state changes nothing: after a while nobody writes any more. */
export function checkChurn(lab: ChaosLab): Promise<string[]> {
  const all = lab.nodeNames.map((name) =>
    untilRight(CHURN_LIMIT_MS, async () => {
      const before = await lab.status(name);
      await sleep(CHURN_CALM_MS);
      const after = await lab.status(name);
      if (isQuiet(before, after)) return [];
      const [was, is] = [before, after].map(({ churn }) => JSON.stringify(churn));
      return [`${name} does not come to rest: ${was}, then ${is}`];
    }),
  );
  return Promise.all(all).then((wrong) => wrong.flat());
}

/** Agents and administrators reach the control plane again. */
export function checkControl(lab: ChaosLab, limit_ms: number): Promise<string[]> {
  return untilRight(limit_ms, async () => {
    const nodes = await lab.ask<{ name: string; online: boolean }[]>(lab.control, [
      ...["node", "list"],
    ]);
    const states = await Promise.all(lab.nodeNames.map((name) => lab.status(name)));
    const offline = nodes.filter(({ online }) => !online);
    const apart = states.filter(({ nats }) => !nats.connected);
    return [
      ...offline.map(({ name }) => `${name} is not online for the controller`),
      ...apart.map(({ node }) => `${node.name} has no connection to NATS`),
    ];
  });
}
