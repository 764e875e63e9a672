// What a lab consists of: every name and address follows from the lab's name and its counts.
import { isIPv4 } from "node:net";
import { join } from "node:path";
import { limits } from "../config/index.js";
import { LabError } from "./error.js";

export const LAB_NODES_MAX = 60;
export const LAB_PODS_MAX = 200;
export const LAB_SUBNETS_MAX = 20;
const NAME_PATTERN = /^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$/;
export const LAB_SERVERS = [1, 3, 5] as const;
/** Host numbers on each underlay subnet: nodes from 1; control hosts downwards below the router. */
const ROUTER_HOST = 254;
const CONTROL_HOST = 253;

/** What the user asks for; kept in the lab's file so that a later `lab up` can mend it. */
export interface LabShape {
  name: string;
  nodes: number;
  pods: number;
  subnets: number;
  /** First underlay subnet, a /24: "192.168.77.0/24". Further ones follow it. */
  underlay: string;
  workers: number;
  /** Hosts with a nats-server and a controller; labs of earlier versions do not say it. */
  servers?: number;
  /** Mesh settings given at creation, by their names (design: settings). */
  settings: Record<string, string>;
}

/** Unasked, a lab shows both families, and `meshd bench` its wires beside the mesh. */
export const DEFAULT_SHAPE = {
  nodes: 3,
  pods: 2,
  subnets: 1,
  underlay: "192.168.77.0/24",
  workers: limits.WORKERS_DEFAULT,
  servers: 1,
  settings: { clusterPoolIPv6PodCIDR: "fd00:10:244::/48", bench: "all" },
};

export interface LabPod {
  name: string;
  namespace: string;
}

export interface LabNode {
  name: string;
  namespace: string;
  subnet: number;
  address: string;
  /** Default gateway when the lab has several subnets. */
  router: string;
  stateDir: string;
  runDir: string;
  pods: LabPod[];
}

/** A host of the control plane. */
export interface LabControl {
  name: string;
  namespace: string;
  address: string;
  router: string;
  stateDir: string;
  runDir: string;
}

export interface LabPlan {
  shape: LabShape;
  networkNamespace: string;
  /** The first of `controls`. */
  control: LabControl;
  controls: LabControl[];
  nodes: LabNode[];
}

function requireCount(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new LabError("MESHD_LAB_SHAPE", `${what} ${value}: allowed are ${least} to ${most}`);
}

/** Checks a shape. @throws LabError MESHD_LAB_SHAPE with what is allowed. */
export function checkShape(shape: LabShape): void {
  if (typeof shape.name !== "string" || !NAME_PATTERN.test(shape.name)) {
    const rule = "1-20 of a-z, 0-9 and '-', beginning with a letter";
    throw new LabError("MESHD_LAB_SHAPE", `lab name '${shape.name}': allowed are ${rule}`);
  }
  requireCount("--nodes", shape.nodes, 1, LAB_NODES_MAX);
  requireCount("--pods", shape.pods, 0, LAB_PODS_MAX);
  requireCount("--subnets", shape.subnets, 1, LAB_SUBNETS_MAX);
  requireCount("--workers", shape.workers, 1, 32);
  if (!(LAB_SERVERS as readonly number[]).includes(shape.servers ?? 1)) {
    const why = `allowed are ${LAB_SERVERS.join(", ")}`;
    throw new LabError("MESHD_LAB_SHAPE", `--servers ${shape.servers}: ${why}`);
  }
  subnetPrefix(shape, shape.subnets - 1);
}

/** The first three bytes of underlay subnet `index`, as text. */
function subnetPrefix(shape: LabShape, index: number): string {
  const [address = "", length] = shape.underlay.split("/");
  const bytes = address.split(".").map(Number);
  const third = (bytes[2] ?? 0) + index;
  if (!isIPv4(address) || length !== "24" || bytes[3] !== 0 || third > 255) {
    const why = "allowed is an IPv4 /24 such as 192.168.77.0/24, with room for all subnets";
    throw new LabError("MESHD_LAB_SHAPE", `--underlay ${shape.underlay}: ${why}`);
  }
  return `${bytes[0]}.${bytes[1]}.${third}`;
}

function planNode(shape: LabShape, number: number, stateRoot: string, runRoot: string): LabNode {
  const subnet = (number - 1) % shape.subnets;
  const prefix = subnetPrefix(shape, subnet);
  const namespace = `${shape.name}-n${number}`;
  const pods = Array.from({ length: shape.pods }, (_, i) => ({
    name: `p${i + 1}`,
    namespace: `${namespace}-p${i + 1}`,
  }));
  return {
    name: `n${number}`,
    namespace,
    subnet,
    address: `${prefix}.${number}`,
    router: `${prefix}.${ROUTER_HOST}`,
    stateDir: join(stateRoot, `n${number}`),
    runDir: join(runRoot, `n${number}`),
    pods,
  };
}

/** "ctl", "ctl2", "ctl3": the first is called as in a lab that has no other. */
function planControl(
  shape: LabShape,
  index: number,
  stateRoot: string,
  runRoot: string,
): LabControl {
  const prefix = subnetPrefix(shape, 0);
  const number = index === 0 ? "" : String(index + 1);
  return {
    name: `ctl${number}`,
    namespace: `${shape.name}-ctl${number}`,
    address: `${prefix}.${CONTROL_HOST - index}`,
    router: `${prefix}.${ROUTER_HOST}`,
    stateDir: join(stateRoot, `control${number}`),
    runDir: join(runRoot, `control${number}`),
  };
}

/** All names and addresses of a lab. @throws LabError MESHD_LAB_SHAPE */
export function planLab(shape: LabShape, stateRoot: string, runRoot: string): LabPlan {
  checkShape(shape);
  const control = planControl(shape, 0, stateRoot, runRoot);
  const further = Array.from({ length: (shape.servers ?? 1) - 1 }, (_, index) =>
    planControl(shape, index + 1, stateRoot, runRoot),
  );
  return {
    shape,
    networkNamespace: `${shape.name}-net`,
    control,
    controls: [control, ...further],
    nodes: Array.from({ length: shape.nodes }, (_, i) =>
      planNode(shape, i + 1, stateRoot, runRoot),
    ),
  };
}

/** The router's address on each underlay subnet, with length: what the bridges carry. */
export function routerAddresses(shape: LabShape): string[] {
  return Array.from(
    { length: shape.subnets },
    (_, i) => `${subnetPrefix(shape, i)}.${ROUTER_HOST}/24`,
  );
}
