// Brings a lab up (or mends it) and takes it down, step by step, each step a no-op when done.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { askAgent, askPods } from "./agent.js";
import { LabError } from "./error.js";
import { ensureGateway } from "./gateway.js";
import { mendWires } from "./impair.js";
import { endProcesses, ensureNetwork, removeNetwork } from "./network.js";
import {
  checkShape,
  DEFAULT_SHAPE,
  LAB_NODES_MAX,
  LAB_PODS_MAX,
  type LabControl,
  type LabNode,
  type LabPlan,
  type LabShape,
} from "./plan.js";
import { mapSome, meshd, meshdJson } from "./program.js";
import { findLab } from "./status.js";
import { type LabRoots, loadShape, planAt, removeFiles, saveShape } from "./store.js";

const JOINS_AT_ONCE = 4;
const CLUSTER_LIMIT_MS = 120_000;
const CLUSTER_LOOK_MS = 1_000;

/** Told about each step as it begins; the command line shows it on a terminal. */
export type LabProgress = (step: string) => void;

/** What the user named of a lab's shape; the rest is as it was, or `DEFAULT_SHAPE`'s. */
export type LabWish = Pick<LabShape, "name"> & Partial<LabShape>;

function shapeToRun(wish: LabWish, saved: LabShape | undefined): LabShape {
  if (saved === undefined) {
    const settings = { ...DEFAULT_SHAPE.settings, ...wish.settings };
    const shape = { ...DEFAULT_SHAPE, ...wish, settings };
    checkShape(shape);
    return shape;
  }
  if (wish.settings !== undefined) {
    const todo = "use 'meshd config set' (see 'meshd lab env')";
    const what = `lab '${saved.name}' is made, and its settings were given then`;
    throw new LabError("MESHD_LAB_SHAPE", `${what}; ${todo}`);
  }
  const shape = { ...saved, ...wish };
  checkShape(shape);
  const isLess = shape.nodes < saved.nodes || shape.pods < saved.pods;
  const isFewer = (shape.servers ?? 1) < (saved.servers ?? 1);
  const isMoved = shape.subnets !== saved.subnets || shape.underlay !== saved.underlay;
  if (!isLess && !isMoved && !isFewer) return shape;
  const has =
    `${saved.nodes} nodes with ${saved.pods} pods each on ${saved.subnets} subnet(s) ` +
    `from ${saved.underlay}`;
  const todo = `it can only grow; else take it down first: meshd lab down --name ${saved.name}`;
  throw new LabError("MESHD_LAB_SHAPE", `lab '${saved.name}' has ${has}; ${todo}`);
}

async function ensureControl(plan: LabPlan): Promise<void> {
  const { control, shape } = plan;
  const settings = Object.entries(shape.settings).flatMap(([key, value]) => [`--${key}`, value]);
  const argv = ["up", "--name", shape.name, "--listen", control.address];
  await meshd(control, [...argv, ...settings]);
  if (plan.controls.length > 1) await ensureCluster(plan);
}

/** The first server is a mesh already; it becomes one of the cluster when the others are there. */
async function ensureCluster(plan: LabPlan): Promise<void> {
  const [first, ...others] = plan.controls as [LabControl, ...LabControl[]];
  const hosts = plan.controls.map((control) => control.address).join(",");
  for (const host of others) {
    if (existsSync(`${host.stateDir}/mesh/mesh.json`)) {
      await meshd(host, ["up"]);
      continue;
    }
    await meshd(first, ["up", "--cluster", hosts]);
    const bundle = `${first.stateDir}/cluster/${host.address}.bundle`;
    await meshd(host, ["up", "--cluster-join", bundle, "--listen", host.address]);
  }
  const end = Date.now() + CLUSTER_LIMIT_MS;
  while (!(await isFormed(plan))) {
    if (Date.now() > end) {
      const what = `the servers of lab '${plan.shape.name}' became no cluster`;
      throw new LabError("MESHD_LAB_CLUSTER", `${what}; look at controller.log of each`);
    }
    await new Promise((resolve) => setTimeout(resolve, CLUSTER_LOOK_MS));
  }
}

/** Each server is of the cluster, and the controller beside it answers. */
async function isFormed(plan: LabPlan): Promise<boolean> {
  const views = await mapSome(plan.controls, plan.controls.length, (host) =>
    meshdJson<{ controllerId: string; cluster?: { state: string; missing: string[] } }>(host, [
      "up",
    ]).catch(() => null),
  );
  return views.every(
    (view) =>
      view?.cluster?.state === "formed" &&
      view.cluster.missing.length === 0 &&
      view.controllerId !== "",
  );
}

/** All hosts of a lab have the machine's name: a join by hand finds the lab's in this file. */
function nameHost({ name, stateDir }: LabNode): void {
  const file = `${stateDir}/meshd.yaml`;
  if (existsSync(file)) return;
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  writeFileSync(file, `nodeName: ${name}\n`, { mode: 0o600 });
}

/** A member starts again with its key; a new host gets a token of its own. */
async function ensureMember(plan: LabPlan, node: LabNode): Promise<void> {
  nameHost(node);
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
  const there = await askPods(node);
  const names = new Set(there.map((pod) => pod.name));
  for (const pod of node.pods) {
    if (!names.has(pod.name)) await meshd(node, ["pod", "add", pod.name, "--netns", pod.namespace]);
  }
}

/** A mesh that cannot begin (a setting is refused, say) leaves no lab behind. */
async function beginMesh(plan: LabPlan, roots: LabRoots, isNew: boolean): Promise<void> {
  try {
    await ensureControl(plan);
  } catch (error) {
    if (isNew) await labDown(roots, plan.shape.name, () => undefined);
    throw error;
  }
}

/**
 * Brings up a lab, or mends what is missing of a running one.
 * @throws LabError MESHD_LAB_SHAPE, MESHD_LAB_COMMAND
 */
export async function labUp(roots: LabRoots, wish: LabWish, progress: LabProgress): Promise<void> {
  const saved = loadShape(roots, wish.name);
  const shape = shapeToRun(wish, saved);
  const plan = planAt(roots, shape);
  saveShape(roots, shape);
  progress(`network: ${shape.nodes} hosts on ${shape.subnets} underlay subnet(s)`);
  await ensureNetwork(plan);
  await mendWires(plan);
  const servers = plan.controls.length === 1 ? "" : `${plan.controls.length} times `;
  progress(`control plane: ${servers}nats-server and controller`);
  await beginMesh(plan, roots, saved === undefined);
  await ensureGateway(plan);
  progress(`nodes: ${shape.nodes} times meshd join`);
  await mapSome(plan.nodes, JOINS_AT_ONCE, (node) => ensureMember(plan, node));
  progress(`pods: ${shape.pods} on each node`);
  await mapSome(plan.nodes, JOINS_AT_ONCE, ensurePods);
}

/** By its file, or by all names that a lab can have where that is damaged. */
function planToEnd(roots: LabRoots, name: string): LabPlan {
  try {
    return findLab(roots, name);
  } catch (error) {
    if (!(error instanceof LabError) || error.code !== "MESHD_LAB_FILE") throw error;
    const most = { nodes: LAB_NODES_MAX, pods: LAB_PODS_MAX };
    return planAt(roots, { ...DEFAULT_SHAPE, ...most, name });
  }
}

/**
 * Removes a lab: its processes, namespaces (with all links in them) and files.
 * @throws LabError MESHD_LAB_NOT_FOUND
 */
export async function labDown(roots: LabRoots, name: string, progress: LabProgress): Promise<void> {
  const plan = planToEnd(roots, name);
  progress("stopping agents and control plane");
  await endProcesses(plan);
  progress("removing namespaces and files");
  await removeNetwork(plan);
  removeFiles(roots, name);
}
