// A wire with faults between a lab's bridge and one of its hosts, put in and taken out while the
// lab runs. The host's own device stays as it is.
//
//   br0 -- wo-n1 ==( program: loss, order, delay ... )== wi-n1 -- w-n1 (bridge) -- n1 -- eth0
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findLink, ipBatch, writeSysctl } from "../host/index.js";
import { LabError } from "./error.js";
import type { LabPlan } from "./plan.js";
import { inNamespace, mapSome } from "./program.js";
import { findLab } from "./status.js";
import type { LabRoots } from "./store.js";
import { askWire, findWire, wireArgv, wireReady } from "./wire/client.js";
import { checkWire, UNIMPAIRED, type WireSettings } from "./wire/impairment.js";
import type { WireAnswer } from "./wire/program.js";

/** Frames that wait at a TAP while the program sleeps or is busy. */
const TAP_QUEUE = 4000;

/** A host of the lab as the network sees it. */
interface Port {
  /** Also the name of its device on the bridge. */
  name: string;
  bridge: string;
  folder: string;
}

export interface LabWire extends WireAnswer {
  node: string;
}

function portsOf(plan: LabPlan): Port[] {
  const controls = plan.controls.map(({ name, runDir }) => {
    return { name, bridge: "br0", folder: runDir };
  });
  const nodes = plan.nodes.map(({ name, subnet, runDir }) => {
    return { name, bridge: `br${subnet}`, folder: runDir };
  });
  return [...nodes, ...controls];
}

function findPort(plan: LabPlan, node: string): Port {
  const ports = portsOf(plan);
  const port = ports.find(({ name }) => name === node);
  if (port !== undefined) return port;
  const names = ports.map(({ name }) => name).join(", ");
  const message = `no host '${node}' in lab '${plan.shape.name}': there are ${names}`;
  throw new LabError("MESHD_LAB_IMPAIR", message);
}

const socketOf = ({ folder }: Port) => join(folder, "wire.sock");
const linksOf = ({ name }: Port) => {
  return { network: `wo-${name}`, node: `wi-${name}`, bridge: `w-${name}` };
};

async function putIn(plan: LabPlan, port: Port, settings: WireSettings): Promise<void> {
  const netns = plan.networkNamespace;
  const { network, node, bridge } = linksOf(port);
  const mtu = (await findLink(port.name, { netns }))?.mtu ?? 1500;
  mkdirSync(port.folder, { recursive: true, mode: 0o700 });
  const argv = wireArgv({ socketPath: socketOf(port), network, node }, settings);
  const [file = "", ...rest] = inNamespace(netns, argv);
  spawn(file, rest, { detached: true, stdio: "ignore" }).unref();
  await wireReady(socketOf(port));
  await ipBatch([`link add name ${bridge} mtu ${mtu} type bridge mcast_snooping 0`], { netns });
  // Else devices of the wire would say things of their own, as hosts do.
  for (const device of [network, node, bridge]) {
    await writeSysctl(`ipv6/conf/${device}/disable_ipv6`, "1", { netns });
  }
  const ends = [
    [network, port.bridge],
    [node, bridge],
  ];
  const up = ends.map(([device, master]) => {
    return `link set dev ${device} mtu ${mtu} txqueuelen ${TAP_QUEUE} master ${master} up`;
  });
  const move = `link set dev ${port.name} master ${bridge}`;
  await ipBatch([...up, `link set dev ${bridge} up`, move], { netns });
}

/** Joins the host to the bridge again; safe where there is no wire. */
async function takeOut(plan: LabPlan, port: Port): Promise<void> {
  const netns = plan.networkNamespace;
  const { bridge } = linksOf(port);
  await ipBatch([`link set dev ${port.name} master ${port.bridge}`], { netns });
  await askWire(socketOf(port), { end: true }).catch(() => undefined);
  rmSync(socketOf(port), { force: true });
  if ((await findLink(bridge, { netns })) !== undefined) {
    await ipBatch([`link delete dev ${bridge}`], { netns });
  }
}

/** Says what each wire of a lab does and has done. @throws LabError MESHD_LAB_NOT_FOUND */
export async function labWires(roots: LabRoots, name: string): Promise<LabWire[]> {
  const ports = portsOf(findLab(roots, name)).filter((port) => existsSync(socketOf(port)));
  const answers = await mapSome(ports, 4, (port) => findWire(socketOf(port)));
  return ports.flatMap(({ name: node }, index) => {
    const answer = answers[index];
    return answer === undefined ? [] : [{ node, ...answer }];
  });
}

/**
 * Changes what a host's wire does, with a wire put in where there is none yet. `change` gets what
 * holds now.
 * @throws LabError MESHD_LAB_IMPAIR, MESHD_LAB_NOT_FOUND, MESHD_LAB_WIRE
 */
export async function labImpair(
  roots: LabRoots,
  name: string,
  node: string,
  change: (now: WireSettings) => WireSettings,
): Promise<LabWire> {
  const plan = findLab(roots, name);
  const port = findPort(plan, node);
  const there = existsSync(socketOf(port)) ? await findWire(socketOf(port)) : undefined;
  const now = { seed: 1, toNode: UNIMPAIRED, fromNode: UNIMPAIRED };
  const settings = change(there?.settings ?? now);
  checkWire(settings);
  if (there !== undefined) return { node, ...(await askWire(socketOf(port), { set: settings })) };
  await takeOut(plan, port);
  try {
    await putIn(plan, port, settings);
  } catch (error) {
    await takeOut(plan, port);
    throw error;
  }
  return { node, ...(await askWire(socketOf(port), {})) };
}

/** Takes a host's wire out. @throws LabError MESHD_LAB_IMPAIR, MESHD_LAB_NOT_FOUND */
export async function labClear(roots: LabRoots, name: string, node: string): Promise<void> {
  const plan = findLab(roots, name);
  await takeOut(plan, findPort(plan, node));
}

/** Hosts whose wire has died are joined to their bridge again. */
export async function mendWires(plan: LabPlan): Promise<void> {
  const ports = portsOf(plan).filter((port) => existsSync(socketOf(port)));
  await mapSome(ports, 4, async (port) => {
    if ((await findWire(socketOf(port))) === undefined) await takeOut(plan, port);
  });
}
