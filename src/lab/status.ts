// What a running lab looks like, asked of its agents: the contract of `lab status --json`.
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type AgentPod, askAgent, askPods } from "./agent.js";
import { LabError } from "./error.js";
import { gatewayPort } from "./gateway.js";
import type { LabControl, LabNode, LabPlan } from "./plan.js";
import { mapSome } from "./program.js";
import { type LabRoots, labNames, loadShape, planAt } from "./store.js";

export interface LabStatusPod {
  name: string;
  namespace: string;
  addresses: string[];
}

export interface LabStatusNode {
  name: string;
  namespace: string;
  /** 0 while the agent does not answer. */
  agentPid: number;
  underlay: string[];
  podCIDRs: string[];
  overlayDevice: string;
  pods: LabStatusPod[];
}

/** A host of the control plane. */
export interface LabStatusControl {
  name: string;
  namespace: string;
  address: string;
  /** 0 while it is down. */
  controllerPid: number;
  natsPid: number;
}

export interface LabStatus {
  name: string;
  controls: LabStatusControl[];
  nodes: LabStatusNode[];
}

/** The plan of a lab that is up. @throws LabError MESHD_LAB_NOT_FOUND */
export function findLab(roots: LabRoots, name: string): LabPlan {
  const shape = loadShape(roots, name);
  if (shape !== undefined) return planAt(roots, shape);
  const others = labNames(roots);
  const known = others.length === 0 ? "there is none" : `there is ${others.join(", ")}`;
  const message = `no lab named '${name}': ${known}; 'meshd lab up --name ${name}' makes one`;
  throw new LabError("MESHD_LAB_NOT_FOUND", message);
}

async function statusOf(node: LabNode): Promise<LabStatusNode> {
  const agent = await askAgent(node);
  // A node that is down still has its pods: without addresses, so that a check counts them missing.
  const planned = node.pods.map(({ name, namespace }) => {
    return { name, netns: namespace, addresses: [] };
  });
  const pods: AgentPod[] = agent === undefined ? planned : await askPods(node);
  return {
    name: node.name,
    namespace: node.namespace,
    agentPid: agent?.pid ?? 0,
    underlay: [node.address],
    podCIDRs: agent?.lease.podCIDRs ?? [],
    overlayDevice: agent?.device ?? "",
    pods: pods.map(({ name, netns, addresses }) => ({
      name,
      namespace: basename(netns),
      addresses: addresses.map((address) => address.replace(/\/\d+$/, "")),
    })),
  };
}

/** By what its controller wrote when it was ready. */
function controlStatus({ name, namespace, address, runDir }: LabControl): LabStatusControl {
  const known = { controllerPid: 0, natsPid: 0 };
  try {
    const { pid, natsPid } = JSON.parse(readFileSync(join(runDir, "controller.json"), "utf8"));
    if (existsSync(`/proc/${pid}`)) known.controllerPid = pid;
    if (existsSync(`/proc/${natsPid}`)) known.natsPid = natsPid;
  } catch {
    // It is down, and its file with it.
  }
  return { name, namespace, address, ...known };
}

/** Status of every node of a lab. @throws LabError MESHD_LAB_NOT_FOUND */
export async function labStatus(roots: LabRoots, name: string): Promise<LabStatus> {
  const plan = findLab(roots, name);
  const controls = plan.controls.map(controlStatus);
  return { name, controls, nodes: await mapSome(plan.nodes, 4, statusOf) };
}

/** Smallest tunnel MTU among the lab's nodes: the inner bytes of a full-size packet. */
export async function labMtu(roots: LabRoots, name: string): Promise<number> {
  const plan = findLab(roots, name);
  const answers = await mapSome(plan.nodes, 4, askAgent);
  const known = answers.flatMap((answer) => (answer === undefined ? [] : [answer.mtu]));
  if (known.length > 0) return Math.min(...known);
  throw new LabError("MESHD_LAB_DOWN", `no agent of lab '${name}' answers; try 'meshd lab up'`);
}

/**
 * Environment that lets meshd and the stock nats client talk to the lab's control plane from
 * outside. No folders: they would hide the lab itself from `meshd lab` in the same shell.
 */
export function labEnvironment(roots: LabRoots, name: string): Record<string, string> {
  const plan = findLab(roots, name);
  const port = gatewayPort(plan);
  if (port === undefined) {
    throw new LabError("MESHD_LAB_DOWN", `lab '${name}' is not up; try 'meshd lab up'`);
  }
  const url = `tls://127.0.0.1:${port}`;
  const credentials = `${plan.control.stateDir}/mesh/admin.creds`;
  const ca = `${plan.control.stateDir}/mesh/ca.pem`;
  return {
    MESHD_MESH: name,
    MESHD_NATS: url,
    MESHD_NATS_CA: ca,
    MESHD_CREDS: credentials,
    NATS_URL: url,
    NATS_CREDS: credentials,
    NATS_CA: ca,
  };
}
