// Roles of administrators, and the least one that each request needs. A request that is not in the
// table is for role admin alone.

/** From the least to the most: each may do what those before it may. */
export const adminRoles = ["observer", "operator", "admin"] as const;
export type AdminRole = (typeof adminRoles)[number];

/** Paths that change nothing. */
const readings = [
  ...["nodes.list", "nodes.show", "leases.list", "leases.audit", "tokens.list", "peers.list"],
  ...["users.list", "users.key", "config.get", "routes.list", "records.refused", "admins.list"],
  ...["store.report", "cluster.status", "keys.report"],
];

/** The daily work. */
const works = [
  ...["nodes.drain", "nodes.rename", "nodes.remove", "leases.reclaim", "leases.reserve"],
  ...["tokens.create", "tokens.revoke", "peers.add", "peers.remove", "store.accept"],
  ...["users.add", "users.passwd", "users.set", "users.remove"],
];

/** What everybody may ask for itself. */
const own = ["admins.renew"];

/** What gives rights, or changes the mesh as a whole. */
const grants = [...["config.set", "nodes.grant", "nodes.pptp", "admins.add", "admins.remove"]];

const leastRoles = new Map<string, AdminRole>([
  ...[...readings, ...own].map((path) => [path, "observer"] as const),
  ...works.map((path) => [path, "operator"] as const),
  ...grants.map((path) => [path, "admin"] as const),
]);

/** Every path that the table knows. */
export const knownPaths: readonly string[] = [...leastRoles.keys()];

/** The least role that may ask for a path below `<mesh>.admin.`. */
export function leastRoleOf(path: string): AdminRole {
  return leastRoles.get(path) ?? "admin";
}

export function mayAsk(role: AdminRole, path: string): boolean {
  return adminRoles.indexOf(role) >= adminRoles.indexOf(leastRoleOf(path));
}

/** Whether a request changes nothing: it needs no name. */
export function isReading(path: string): boolean {
  return readings.includes(path);
}

/** The paths that a role may ask for; for "admin" only those the table knows. */
export function pathsOf(role: AdminRole): string[] {
  return knownPaths.filter((path) => mayAsk(role, path));
}

/** Paths that may be asked for without a name. */
export const namelessPaths: readonly string[] = readings;
