// Several nats-servers as one: their list, and what each one's configuration says of the others.
// The list is kept beside the mesh's keys (cluster.json, 0600) and in the signed record `servers`,
// from which members and controllers learn its changes.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { ControlError } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import type { Mesh } from "./place.js";

/** One server of the cluster, as the other hosts reach it. */
export interface ClusterServer {
  /** Address or name of its host. */
  host: string;
  /** For clients. */
  port: number;
  /** For the other servers. */
  routePort: number;
}

/**
 * standalone: this host's server still works alone, and becomes one of the cluster when all others
 * are there. formed: it is one.
 */
export type ClusterState = "standalone" | "formed";

/** The cluster as a controller's host knows it. */
export interface Cluster {
  /** Rises by one with each change of the list: the highest counts. */
  generation: number;
  servers: ClusterServer[];
  /** Host of the one that runs here. */
  self: string;
  state: ClusterState;
  /** What servers prove to one another that they are of one cluster. Secret. */
  secret: string;
}

/** Odd, so that one more than half is few: 3 bear the loss of one, 5 of two. */
export const clusterSizes = [3, 5] as const;

const fileOf = (mesh: Pick<Mesh, "dir">) => join(mesh.dir, "cluster.json");

/** null: the mesh has one server. MESHD_BAD_RECORD when the file is damaged. */
export async function readCluster(mesh: Pick<Mesh, "dir">): Promise<Cluster | null> {
  const text = await readTextFile(fileOf(mesh));
  if (text === null) return null;
  try {
    const cluster = JSON.parse(text) as Cluster;
    if (!Array.isArray(cluster.servers) || !Number.isSafeInteger(cluster.generation)) {
      throw new Error("a field is missing");
    }
    return cluster;
  } catch (cause) {
    const what = `${fileOf(mesh)} is damaged: bring it back from a backup of the folder`;
    throw new ControlError("MESHD_BAD_RECORD", what, { cause });
  }
}

export async function writeCluster(mesh: Pick<Mesh, "dir">, cluster: Cluster): Promise<void> {
  await writeSecretFile(fileOf(mesh), `${JSON.stringify(cluster, null, 2)}\n`);
}

export function newClusterSecret(): string {
  return randomBytes(24).toString("base64url");
}

const inUrl = (host: string) => (host.includes(":") ? `[${host}]` : host);

/** What clients are told. */
export function clientUrl(server: Pick<ClusterServer, "host" | "port">): string {
  return `tls://${inUrl(server.host)}:${server.port}`;
}

/** How a server is called in the cluster: JetStream knows it by this name alone. */
export function serverName(mesh: Pick<Mesh, "name" | "meshId">, host: string): string {
  return `${mesh.name}-${mesh.meshId.slice(0, 8)}-${host.replace(/[^A-Za-z0-9]/g, "-")}`;
}

/** The name that all servers of a mesh's cluster say. */
export function clusterName(mesh: Pick<Mesh, "name" | "meshId">): string {
  return `${mesh.name}-${mesh.meshId.slice(0, 8)}`;
}

/** The server of this host. MESHD_BAD_RECORD when the list has it not. */
export function ownServer(cluster: Cluster): ClusterServer {
  const own = cluster.servers.find((server) => server.host === cluster.self);
  if (own) return own;
  const what = `cluster.json: ${cluster.self} is none of the servers that it lists`;
  throw new ControlError("MESHD_BAD_RECORD", what);
}

export function otherServers(cluster: Cluster): ClusterServer[] {
  return cluster.servers.filter((server) => server.host !== cluster.self);
}

/**
 * Text for a nats-server's configuration. Where TLS is given, routes use it, and each side proves
 * itself by a certificate of the mesh's CA.
 */
export function clusterSection(
  mesh: Pick<Mesh, "name" | "meshId">,
  cluster: Cluster,
  settings: { host: string; tls?: string },
): string {
  const quoted = (text: string) => JSON.stringify(text);
  const own = ownServer(cluster);
  const user = clusterName(mesh);
  const routes = otherServers(cluster).map((other) => {
    const place = `${inUrl(other.host)}:${other.routePort}`;
    return `    ${quoted(`nats-route://${user}:${cluster.secret}@${place}`)}\n`;
  });
  return `client_advertise: ${quoted(`${inUrl(own.host)}:${own.port}`)}
cluster {
  name: ${quoted(clusterName(mesh))}
  host: ${quoted(settings.host)}
  port: ${own.routePort}
  authorization { user: ${quoted(user)}, password: ${quoted(cluster.secret)}, timeout: 3 }
${settings.tls === undefined ? "" : `  ${settings.tls}\n`}  routes [
${routes.join("")}  ]
}
`;
}
