// The bundles that this host wrote for others of a cluster: they hold the mesh's keys in the clear,
// so they go as soon as their host is one of the cluster.
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Cluster, type Mesh, otherServers } from "../../../control/index.js";
import { missingOthers } from "./cluster-look.js";

export function bundlePath(stateDir: string, host: string): string {
  return join(stateDir, "cluster", `${host.replace(/[^A-Za-z0-9.-]/g, "-")}.bundle`);
}

/** Removes those of hosts that answer as servers of the cluster; gives these hosts. */
export async function removeUsedBundles(
  mesh: Mesh,
  cluster: Cluster,
  stateDir: string,
): Promise<string[]> {
  const all = otherServers(cluster).map(({ host }) => ({ host, path: bundlePath(stateDir, host) }));
  const there = all.filter(({ path }) => existsSync(path));
  if (there.length === 0) return [];
  const missing = await missingOthers(mesh, cluster);
  const used = there.filter(({ host }) => !missing.includes(host));
  for (const { path } of used) {
    rmSync(path, { force: true });
    const folder = dirname(path);
    if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
  }
  return used.map(({ host }) => host);
}
