// Brings a lab up (or mends it) and takes it down, step by step, each step a no-op when done.
import { existsSync } from "node:fs";
import { LabError } from "./error.js";
import { ensureGateway } from "./gateway.js";
import { endProcesses, ensureNetwork, removeNetwork } from "./network.js";
import { checkShape, type LabNode, type LabPlan, type LabShape } from "./plan.js";
import { mapSome, meshd, meshdJson } from "./program.js";
import { askAgent, findLab } from "./status.js";
import { type LabRoots, loadShape, planAt, removeFiles, saveShape } from "./store.js";

const JOINS_AT_ONCE = 4;

/** Told about each step as it begins; the command line shows it on a terminal. */
export type LabProgress = (step: string) => void;

function shapeToRun(roots: LabRoots, wanted: LabShape): LabShape {
  checkShape(wanted);
  const saved = loadShape(roots, wanted.name);
  if (saved === undefined) return wanted;
  if (wanted.nodes < saved.nodes || wanted.subnets !== saved.subnets) {
    const has = `${saved.nodes} nodes on ${saved.subnets} subnet(s)`;
    const todo = `take it down first: meshd lab down --name ${saved.name}`;
    throw new LabError("MESHD_LAB_SHAPE", `lab '${saved.name}' has ${has}; ${todo}`);
  }
  return { ...wanted, pods: Math.max(wanted.pods, saved.pods), settings: saved.settings };
}

async function ensureControl(plan: LabPlan): Promise<void> {
  const { control, shape } = plan;
  const settings = Object.entries(shape.settings).flatMap(([key, value]) => [`--${key}`, value]);
  await meshd(control, ["up", "--name", shape.name, "--listen", control.address, ...settings]);
}

/** A member starts again with its key; a new host gets a token of its own. */
async function ensureMember(plan: LabPlan, node: LabNode): Promise<void> {
  if ((await askAgent(node)) !== undefined) return;
  const argv = ["--name", node.name, "--underlayAddress", node.address];
  argv.push("--workers", String(plan.shape.workers));
  if (existsSync(`${node.stateDir}/membership.json`)) {
    await meshd(node, ["join", ...argv]);
    return;
  }
  const token = (await meshd(plan.control, ["token", "create"])).trim();
  await meshd(node, ["join", token, ...argv]);
}

async function ensurePods(node: LabNode): Promise<void> {
  const there = await meshdJson<{ name: string }[]>(node, ["pod", "list"]);
  const names = new Set(there.map((pod) => pod.name));
  for (const pod of node.pods) {
    if (!names.has(pod.name)) await meshd(node, ["pod", "add", pod.name, "--netns", pod.namespace]);
  }
}

/**
 * Brings up a lab of the given shape, or mends what is missing of a running one.
 * @throws LabError MESHD_LAB_SHAPE, MESHD_LAB_COMMAND
 */
export async function labUp(
  roots: LabRoots,
  wanted: LabShape,
  progress: LabProgress,
): Promise<void> {
  const shape = shapeToRun(roots, wanted);
  const plan = planAt(roots, shape);
  saveShape(roots, shape);
  progress(`network: ${shape.nodes} hosts on ${shape.subnets} underlay subnet(s)`);
  await ensureNetwork(plan);
  progress("control plane: nats-server and controller");
  await ensureControl(plan);
  await ensureGateway(plan);
  progress(`nodes: ${shape.nodes} times meshd join`);
  await mapSome(plan.nodes, JOINS_AT_ONCE, (node) => ensureMember(plan, node));
  progress(`pods: ${shape.pods} on each node`);
  await mapSome(plan.nodes, JOINS_AT_ONCE, ensurePods);
}

/**
 * Removes a lab: its processes, namespaces (with all links in them) and files.
 * @throws LabError MESHD_LAB_NOT_FOUND
 */
export async function labDown(roots: LabRoots, name: string, progress: LabProgress): Promise<void> {
  const plan = findLab(roots, name);
  progress("stopping agents and control plane");
  await endProcesses(plan);
  progress("removing namespaces and files");
  await removeNetwork(plan);
  removeFiles(roots, name);
}
