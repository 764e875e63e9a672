// The lab's wires: a bridge per underlay subnet in a namespace of its own, a veth to each host.
//
//   <lab>-net   br0 .254  br1 .254 ...   (routes between the subnets)
//                |   |     |
//   <lab>-ctl  eth0  |    eth0  <lab>-n2
//               <lab>-n1 eth0 ...
import {
  addVeth,
  createNamespace,
  deleteNamespace,
  ipBatch,
  listLinks,
  listNamespaces,
  run,
  writeSysctl,
} from "../host/index.js";
import { stopGateway } from "./gateway.js";
import { type LabPlan, routerAddresses } from "./plan.js";
import { mapSome } from "./program.js";

const HOSTS_AT_ONCE = 4;
const END_LIMIT_MS = 8_000;
const POLL_MS = 30;

interface Host {
  namespace: string;
  /** Device on the bridge side. */
  port: string;
  subnet: number;
  address: string;
  router: string;
}

function hostsOf(plan: LabPlan): Host[] {
  return [
    ...plan.controls.map(({ namespace, address, router, name }) => ({
      ...{ namespace, address, router, subnet: 0 },
      port: name,
    })),
    ...plan.nodes.map(({ namespace, address, router, subnet, name }) => ({
      ...{ namespace, address, router, subnet },
      port: name,
    })),
  ];
}

/** Every namespace the lab may own: pods, nodes, control, network. */
function namespacesOf(plan: LabPlan): string[] {
  const pods = plan.nodes.flatMap((node) => node.pods.map((pod) => pod.namespace));
  const hosts = plan.nodes.map((node) => node.namespace);
  const controls = plan.controls.map((control) => control.namespace);
  return [...pods, ...hosts, ...controls, plan.networkNamespace];
}

async function ensureNamespace(name: string, there: Set<string>): Promise<void> {
  if (there.has(name)) return;
  await createNamespace(name);
  await ipBatch(["link set dev lo up"], { netns: name });
}

/**
 * Without one of its own a bridge takes the least of its ports', and changes it under traffic when
 * a wire is put in: hosts go on sending to the router's old one for a moment.
 */
const bridgeAddress = (subnet: number) =>
  `02:00:5e:00:${(subnet >> 8).toString(16)}:${(subnet & 255).toString(16)}`;

async function ensureBridges(plan: LabPlan): Promise<void> {
  const netns = plan.networkNamespace;
  const there = new Set((await listLinks({ netns })).map((link) => link.name));
  const lines = routerAddresses(plan.shape).flatMap((address, index) => {
    const bridge = `br${index}`;
    if (there.has(bridge)) return [];
    return [
      `link add name ${bridge} address ${bridgeAddress(index)} type bridge`,
      `address add ${address} dev ${bridge}`,
      `link set dev ${bridge} up`,
    ];
  });
  if (lines.length > 0) await ipBatch(lines, { netns });
  await writeSysctl("ipv4/ip_forward", "1", { netns });
}

async function ensureHost(plan: LabPlan, host: Host, there: Set<string>): Promise<void> {
  await ensureNamespace(host.namespace, there);
  const netns = host.namespace;
  if ((await listLinks({ netns })).some((link) => link.name === "eth0")) return;
  const wire = { name: host.port, peerName: "eth0", peerNetns: host.namespace };
  await addVeth(wire, { netns: plan.networkNamespace });
  const port = `link set dev ${host.port} master br${host.subnet} up`;
  await ipBatch([port], { netns: plan.networkNamespace });
  const lines = [`address add ${host.address}/24 dev eth0`, "link set dev eth0 up"];
  if (plan.shape.subnets > 1) lines.push(`route add default via ${host.router}`);
  await ipBatch(lines, { netns });
}

/** Makes what is missing of the lab's namespaces, bridges and veths; leaves the rest alone. */
export async function ensureNetwork(plan: LabPlan): Promise<void> {
  const there = new Set(await listNamespaces());
  await ensureNamespace(plan.networkNamespace, there);
  await ensureBridges(plan);
  await mapSome(hostsOf(plan), HOSTS_AT_ONCE, (host) => ensureHost(plan, host, there));
}

async function processesIn(namespaces: string[]): Promise<number[]> {
  const texts = await mapSome(namespaces, 8, (name) => run(["ip", "netns", "pids", name]));
  const pids = texts.flatMap((text) => text.split("\n").filter((line) => line !== ""));
  return [...new Set(pids.map(Number))];
}

function signal(pids: number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It ended by itself in between, which is what was wanted.
    }
  }
}

/** Ends all processes in some namespaces: asks first, then insists. */
async function endIn(namespaces: string[]): Promise<void> {
  const deadline = Date.now() + END_LIMIT_MS;
  signal(await processesIn(namespaces), "SIGTERM");
  let left = await processesIn(namespaces);
  while (left.length > 0) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (Date.now() > deadline) signal(left, "SIGKILL");
    left = await processesIn(namespaces);
  }
}

/** Ends every process in the lab's namespaces: nodes and pods first, their control plane last. */
export async function endProcesses(plan: LabPlan): Promise<void> {
  stopGateway(plan);
  const there = new Set(await listNamespaces());
  const last = plan.controls.map((control) => control.namespace);
  const namespaces = namespacesOf(plan).filter((name) => there.has(name) && !last.includes(name));
  await endIn(namespaces);
  await endIn(last.filter((name) => there.has(name)));
}

/** Deletes the lab's namespaces and with them every link in them. */
export async function removeNetwork(plan: LabPlan): Promise<void> {
  const there = new Set(await listNamespaces());
  const namespaces = namespacesOf(plan).filter((name) => there.has(name));
  await mapSome(namespaces, 8, (name) => deleteNamespace(name));
}
