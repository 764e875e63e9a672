// `meshd up --cluster` and `--cluster-join`: which servers a cluster has, the bundles for its other
// hosts, and what is said of it.
import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";
import {
  type Cluster,
  clusterSizes,
  type Mesh,
  newClusterSecret,
  ownServer,
  readCluster,
  writeCluster,
} from "../../../control/index.js";
import { checkValue, kinds, limits } from "../../config/index.js";
import { meshDir } from "../admin.js";
import { CommandError, type Invocation, UsageError } from "../command.js";
import { missingOthers } from "../service/cluster-look.js";
import { openBundle, writeBundles } from "./bundle.js";

const ROUTE_PORT_DEFAULT = 6222;
const port = kinds.integer(1, limits.PORT_MAX);

/** Where this host's server is to be reached. */
interface ServerPlace {
  port: number;
  advertise: string;
}

/** JSON of `up`, part `cluster`; stable. */
export interface ClusterView {
  /** standalone: the server here works alone until all others are there. */
  state: "standalone" | "formed";
  hosts: string[];
  /** Hosts that do not answer as servers of the cluster. */
  missing: string[];
  /** Files for the other hosts, written now. */
  bundles: string[];
}

/** The hosts of --cluster; undefined without it. @throws UsageError */
export function clusterHosts(invocation: Invocation): string[] | undefined {
  const text = invocation.text("cluster");
  if (text === undefined) return undefined;
  const hosts = text.split(",").map((host) => host.trim().replace(/^\[(.*)\]$/, "$1"));
  const sizes: readonly number[] = clusterSizes;
  if (sizes.includes(hosts.length) && new Set(hosts).size === hosts.length && !hosts.includes(""))
    return hosts;
  throw new UsageError(
    `--cluster ${text}: allowed are ${clusterSizes.join(" or ")} different hosts: ` +
      "more than half of them must be there for joins and changes",
  );
}

/** Which of the hosts this one is. @throws UsageError */
export async function ownHost(hosts: readonly string[], advertise?: string): Promise<string> {
  if (advertise !== undefined && hosts.includes(advertise)) return advertise;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const here = new Set(all.map(({ address }) => address));
  for (const host of hosts) {
    const found = await lookup(host, { all: true }).catch(() => []);
    if (found.some(({ address }) => here.has(address))) return host;
  }
  throw new UsageError(
    `--cluster ${hosts.join(",")}: none of these is an address of this host; give the addresses ` +
      "by which the hosts reach one another, with --advertise for the one that this is",
  );
}

/**
 * Says in the mesh's folder what cluster there is to be, and writes the bundles for its others. The
 * controller that runs here reads it. MESHD_CLUSTER when there is another one already.
 */
export async function planCluster(
  invocation: Invocation,
  mesh: Mesh,
  plan: ServerPlace,
  hosts: readonly string[],
): Promise<string[]> {
  const given = invocation.text("cluster-port") ?? ROUTE_PORT_DEFAULT;
  const routePort = checkValue(port, "--cluster-port", given);
  const self = await ownHost(hosts, plan.advertise);
  const before = await readCluster(mesh);
  const known = before?.servers.map(({ host }) => host);
  if (before && known && !hosts.every((host) => known.includes(host))) {
    const message =
      `the cluster is of ${known.join(", ")}: a host that is lost for good is replaced by one of ` +
      "the same address, with a new bundle ('meshd up --cluster' with the same hosts writes it)";
    throw new CommandError("MESHD_CLUSTER", message);
  }
  const cluster: Cluster = before ?? {
    ...{ generation: 1, self, state: "standalone", secret: newClusterSecret() },
    servers: hosts.map((host) => ({ host, port: plan.port, routePort })),
  };
  if (!before) await writeCluster(mesh, cluster);
  return writeBundles(mesh, cluster, invocation.settings.stateDir);
}

/** Makes this host one of a cluster; gives what `up` is to do then. MESHD_BUNDLE. */
export async function joinCluster(invocation: Invocation, file: string): Promise<ServerPlace> {
  const cluster = await openBundle(file, meshDir(invocation.settings));
  const { host, port } = ownServer(cluster);
  return { port, advertise: host };
}

/** What there is to say of the cluster now; null: the mesh has one server. */
export async function clusterView(mesh: Mesh, bundles: string[]): Promise<ClusterView | null> {
  const cluster = await readCluster(mesh);
  if (cluster === null) return null;
  const hosts = cluster.servers.map(({ host }) => host);
  return { state: cluster.state, hosts, missing: await missingOthers(mesh, cluster), bundles };
}

/** A cluster that lacks a server bears no further loss. */
export function clusterWarnings(view: ClusterView | null): string[] {
  if (view === null || view.state === "standalone" || view.missing.length === 0) return [];
  const places = view.missing.join(", ");
  const what = "start it again ('meshd up' there), or replace it";
  return [`the cluster lacks ${places}: with the loss of a further one changes stop; ${what}`];
}

/** Lines of text output. */
export function clusterLines(view: ClusterView | null): [string, string][] {
  if (view === null) return [];
  const isAlone = view.state === "standalone";
  const count = view.hosts.length - view.missing.length;
  const now = isAlone ? "this server works alone until all are there" : "formed";
  const lines: [string, string][] = [
    ["cluster", `${count} of ${view.hosts.length} servers (${view.hosts.join(", ")}); ${now}`],
  ];
  if (view.missing.length > 0) lines.push(["missing", view.missing.join(", ")]);
  for (const path of view.bundles) {
    lines.push(["bundle", `${path}   (secret: scp it there, then: meshd up --cluster-join FILE)`]);
  }
  return lines;
}
