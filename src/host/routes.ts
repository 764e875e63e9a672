// Routes: list, compare with what is wanted, apply the difference. Ours carry a protocol number of
// their own, and only routes with that number, on our devices or within our pools, are ever
// touched.
import type { Where } from "./command.js";
import { checkDeviceName, checkNumber, ipBatchAll } from "./links.js";
import { canonicalAddress, canonicalPrefix, needPrefix, prefixHolding } from "./prefix.js";
import { LINK_SCOPE, listRoutes, MAIN_TABLE, type Route } from "./route-list.js";

/** `proto` of the mesh's own routes (pools and peers): `ip route show proto 157`. */
export const MESH_ROUTE_PROTOCOL = 157;
/** `proto` of routes to pods of this host, kept by the pods room alone. */
export const POD_ROUTE_PROTOCOL = 158;
/** Metric of mesh routes: any route an administrator adds without a metric wins over them. */
export const MESH_ROUTE_METRIC = 157;
/** Metric of the `unreachable` routes for the pools: worse than every other route of the pool. */
export const POOL_ROUTE_METRIC = 1_000_157;

const MAX_U32 = 0xffff_ffff;

export type RouteKind = "unicast" | "unreachable" | "blackhole" | "prohibit";

/** A route that shall be there. IPv4 without `via` has link scope, as the kernel gives it. */
export interface WantedRoute {
  destination: string;
  /** Default "unicast". */
  kind?: RouteKind;
  device?: string;
  via?: string;
  /** Source address of packets of this host. */
  source?: string;
  /** Bytes. */
  mtu?: number;
  advmss?: number;
  /** Default MESH_ROUTE_METRIC, and POOL_ROUTE_METRIC for the kinds that refuse packets. */
  metric?: number;
  /** `via` is reachable on the device although no route says so. */
  onLink?: boolean;
}

/** Which routes of our protocol number are this agent's: several may share a namespace. */
export interface RouteScope {
  devices: readonly string[];
  /** Routes without a device (unreachable) are ours when they lie within one of these prefixes. */
  pools: readonly string[];
  /**
   * Routes through a gateway are ours when packets of this host leave from one of these addresses:
   * the device is not ours alone.
   */
  sources?: readonly string[];
  /** Default MESH_ROUTE_PROTOCOL. */
  protocol?: number;
}

export interface RouteChange {
  add: WantedRoute[];
  replace: WantedRoute[];
  delete: Route[];
  /** Wanted, but a route of somebody else has the same destination and metric: left alone. */
  conflicts: { wanted: WantedRoute; foreign: Route }[];
}

export interface RouteResult extends RouteChange {
  /** Number of routes added, replaced or deleted (0 = no-op). */
  changes: number;
  /** Changes that the kernel refused, one line each. */
  failed: string[];
}

/** Compares. Pure. Equal lists give four empty lists. */
export function diffRoutes(
  wanted: readonly WantedRoute[],
  actual: readonly Route[],
  scope: RouteScope,
): RouteChange {
  const change: RouteChange = { add: [], replace: [], delete: [], conflicts: [] };
  const present = new Map<string, Route>();
  for (const route of actual) {
    if (route.table === MAIN_TABLE) present.set(keyOf(route.destination, route.metric), route);
  }
  const kept = new Set<Route>();
  for (const route of wanted) {
    const found = present.get(keyOf(canonicalPrefix(route.destination), metricOf(route)));
    if (found === undefined) change.add.push(route);
    else if (!isOurs(found, scope)) change.conflicts.push({ wanted: route, foreign: found });
    else if (!sameRoute(route, found)) change.replace.push(route);
    if (found !== undefined) kept.add(found);
  }
  change.delete = actual.filter((route) => isOurs(route, scope) && !kept.has(route));
  return change;
}

/**
 * Makes the routes of `scope` exactly the wanted ones; routes of others stay as they are. One that
 * the kernel refuses keeps the others from nothing: it is in `failed`.
 */
export async function reconcileRoutes(
  wanted: readonly WantedRoute[],
  scope: RouteScope,
  where: Where = {},
): Promise<RouteResult> {
  const change = diffRoutes(wanted, await listRoutes(where), scope);
  const lines = routeLines(change, scope);
  const failed = lines.length > 0 ? await ipBatchAll(lines, where) : [];
  return { ...change, changes: lines.length - failed.length, failed };
}

/** The `ip -batch` lines that make a change. Pure. */
export function routeLines(change: RouteChange, scope: RouteScope): string[] {
  const protocol = scope.protocol ?? MESH_ROUTE_PROTOCOL;
  // Deleting first would let packets follow a wider route for a moment.
  return [
    ...change.add.map((route) => routeLine("add", route, protocol)),
    ...change.replace.map((route) => routeLine("replace", route, protocol)),
    ...change.delete.map(deleteLine),
  ];
}

/** Deletes every route of the scope. Says how many there were. */
export async function deleteRoutes(scope: RouteScope, where: Where = {}): Promise<number> {
  return (await reconcileRoutes([], scope, where)).changes;
}

/** One line of `ip -batch` for a wanted route. "add" refuses to touch a route that is there. */
export function routeLine(
  verb: "add" | "replace",
  route: WantedRoute,
  protocol = MESH_ROUTE_PROTOCOL,
): string {
  const kind = route.kind ?? "unicast";
  const words = ["route", verb, kind, canonicalPrefix(route.destination)];
  if (route.via !== undefined) words.push("via", ...gatewayWords(route.via, route.destination));
  if (route.device !== undefined) words.push("dev", checkDeviceName(route.device));
  // Numbers only: `ip -batch` takes "static" after "157" for 157 (its name cache keeps the last
  // number).
  words.push("proto", `${protocol}`);
  words.push("metric", `${checkNumber("metric", metricOf(route), 0, MAX_U32)}`);
  if (scopeOf(route) === LINK_SCOPE) words.push("scope", "link");
  if (route.source !== undefined) words.push("src", canonicalAddress(route.source));
  if (route.mtu !== undefined) words.push("mtu", `${checkNumber("mtu", route.mtu, 68, 65_535)}`);
  if (route.advmss !== undefined) {
    words.push("advmss", `${checkNumber("advmss", route.advmss, 1, 65_535)}`);
  }
  if (route.onLink === true) words.push("onlink");
  return words.join(" ");
}

/** An IPv4 route may have a gateway of the other family, which must be said (Linux 5.2). */
function gatewayWords(via: string, destination: string): string[] {
  const address = canonicalAddress(via);
  const isOther = address.includes(":") && !destination.includes(":");
  return isOther ? ["inet6", address] : [address];
}

function deleteLine(route: Route): string {
  const device = route.device === undefined ? "" : ` dev ${checkDeviceName(route.device)}`;
  const name = `${route.kind} ${route.destination}${device}`;
  return `route delete ${name} proto ${route.protocol} metric ${route.metric} table ${route.table}`;
}

function metricOf(route: WantedRoute): number {
  const refuses = route.kind !== undefined && route.kind !== "unicast";
  return route.metric ?? (refuses ? POOL_ROUTE_METRIC : MESH_ROUTE_METRIC);
}

/** Link scope is what IPv4 routes without a gateway have; IPv6 knows no scopes. */
function scopeOf(route: WantedRoute): number {
  const direct = route.via === undefined && (route.kind ?? "unicast") === "unicast";
  return direct && needPrefix(route.destination).family === 4 ? LINK_SCOPE : 0;
}

/**
 * The kernel tells routes of one table apart by destination and metric (and TOS, which we leave 0).
 */
function keyOf(destination: string, metric: number): string {
  return `${destination} ${metric}`;
}

function isOurs(route: Route, scope: RouteScope): boolean {
  const protocol = scope.protocol ?? MESH_ROUTE_PROTOCOL;
  if (route.protocol !== protocol || route.table !== MAIN_TABLE || route.multipath) return false;
  // IPv6 lists unreachable routes on "lo".
  if (route.kind !== "unicast") return prefixHolding(route.destination, scope.pools) !== undefined;
  const { via, source = "" } = route;
  if (via !== undefined && scope.sources?.includes(source)) return true;
  return route.device !== undefined && scope.devices.includes(route.device);
}

function sameRoute(wanted: WantedRoute, actual: Route): boolean {
  if ((wanted.kind ?? "unicast") !== actual.kind) return false;
  if (actual.kind !== "unicast") return true;
  return (
    wanted.device === actual.device &&
    canonicalOr(wanted.via) === actual.via &&
    canonicalOr(wanted.source) === actual.source &&
    wanted.mtu === actual.mtu &&
    wanted.advmss === actual.advmss &&
    scopeOf(wanted) === actual.scope &&
    (wanted.onLink ?? false) === actual.onLink
  );
}

function canonicalOr(text: string | undefined): string | undefined {
  return text === undefined ? undefined : canonicalAddress(text);
}
