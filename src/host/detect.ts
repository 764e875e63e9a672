// What on this host stands in a mesh's way: overlapping routes and addresses, a firewall that drops
// forwarded packets, reverse path filtering, a missing TUN device. And which address to advertise.
import { open } from "node:fs/promises";
import type { LinkAddress } from "./addresses.js";
import { runJson, type Where } from "./command.js";
import { HostError } from "./errors.js";
import { gatherFacts, type HostFacts } from "./facts.js";
import { objectsIn, textAt } from "./json.js";
import {
  containsPrefix,
  type Family,
  parsePrefix,
  prefixesOverlap,
  prefixHolding,
} from "./prefix.js";
import type { Route } from "./route-list.js";
import { MESH_ROUTE_PROTOCOL, POD_ROUTE_PROTOCOL } from "./routes.js";
import { rpFilter } from "./sysctl.js";

/** What belongs to this agent and is no conflict. */
export interface Own {
  /** The overlay device and the host ends of our pods. */
  devices: readonly string[];
  pools: readonly string[];
  /** Prefixes that the underlay routes by itself: others' routes in them are wanted. */
  left?: readonly string[];
}

export interface PoolConflict {
  kind: "route" | "address";
  pool: string;
  /** The route's destination or the address with its length. */
  found: string;
  device: string | undefined;
  /**
   * "refuse": packets would go astray; "warn": the mesh wins, somebody else's addresses may suffer.
   */
  severity: "refuse" | "warn";
  /** One line. */
  message: string;
}

export interface Underlay {
  address: string;
  family: Family;
  device: string;
  /** Bytes. */
  mtu: number;
  /**
   * Addresses of that device with the lengths of their networks ("192.168.77.2/24"), this one
   * first; of the other family those that neighbours can send to.
   */
  interfaceAddresses: string[];
}

/** Routes and addresses of others that overlap the pools. Pure. [] = none. */
export function findPoolConflicts(facts: HostFacts, own: Own): PoolConflict[] {
  return own.pools.flatMap((pool) => [
    ...facts.routes.flatMap((route) => routeConflict(pool, route, own)),
    ...facts.addresses.flatMap((address) => addressConflict(pool, address, own)),
  ]);
}

function routeConflict(pool: string, route: Route, own: Own): PoolConflict[] {
  const a = parsePrefix(pool);
  const b = parsePrefix(route.destination);
  if (a === undefined || b === undefined || !prefixesOverlap(a, b)) return [];
  if (b.length === 0 || isOwnRoute(route, own)) return [];
  const wider = b.length < a.length;
  // A wider route through a gateway loses to ours. On a wider connected subnet neighbours may have
  // addresses out of the pool, and only their owner can know.
  const severity = wider ? "warn" : "refuse";
  const through = route.device === undefined ? route.kind : `dev ${route.device}`;
  const fix = "choose another pool, or remove the route";
  const what = wider ? "lies inside" : "overlaps";
  return [
    {
      kind: "route",
      pool,
      found: route.destination,
      device: route.device,
      severity,
      message: `pool ${pool} ${what} the host's route ${route.destination} ${through}; ${fix}`,
    },
  ];
}

function isOwnRoute(route: Route, own: Own): boolean {
  if (route.device !== undefined && own.devices.includes(route.device)) return true;
  if (prefixHolding(route.destination, own.left ?? []) !== undefined) return true;
  if (isDirectRoute(route)) return true;
  const ours = route.protocol === MESH_ROUTE_PROTOCOL || route.protocol === POD_ROUTE_PROTOCOL;
  return (
    ours && route.kind !== "unicast" && prefixHolding(route.destination, own.pools) !== undefined
  );
}

/** A route of an agent to a neighbour on the underlay: its device is no mesh's. */
function isDirectRoute(route: Route): boolean {
  return route.protocol === MESH_ROUTE_PROTOCOL && route.via !== undefined;
}

function addressConflict(pool: string, address: LinkAddress, own: Own): PoolConflict[] {
  if (own.devices.includes(address.device)) return [];
  if (prefixHolding(address.address, [pool]) === undefined) return [];
  const found = `${address.address}/${address.length}`;
  const fix = "choose another pool, or remove the address";
  const message = `pool ${pool} holds the address ${found} of ${address.device}; ${fix}`;
  return [{ kind: "address", pool, found, device: address.device, severity: "refuse", message }];
}

/** The interface that holds an address, and its MTU; undefined when no interface does. Pure. */
export function underlayOf(facts: HostFacts, address: string): Underlay | undefined {
  const wanted = parsePrefix(address);
  const held = facts.addresses.find((item) => {
    const prefix = parsePrefix(item.address);
    return wanted !== undefined && prefix !== undefined && containsPrefix(wanted, prefix);
  });
  const link = facts.links.find((item) => item.name === held?.device);
  if (held === undefined || link === undefined) return undefined;
  const { family, device } = held;
  const others = facts.addresses.filter((item) => item.device === device && item !== held);
  const shown = [held, ...others.filter((item) => isGateway(item, family))].slice(0, ADDRESSES_MAX);
  const interfaceAddresses = shown.map((item) => `${item.address}/${item.length}`);
  const { mtu } = link;
  return { address: held.address, family, device, mtu, interfaceAddresses };
}

/** More than that of one interface are not told to others. */
const ADDRESSES_MAX = 8;

/**
 * Whether neighbours may send packets of the other family there. Of IPv6 the link-local address, as
 * routers do: it stays when global ones are renewed.
 */
function isGateway(item: LinkAddress, underlay: Family): boolean {
  if (item.family === underlay) return false;
  return item.family === 6 ? /^fe[89ab]/.test(item.address) : item.scope === 0;
}

/**
 * Addresses that other hosts may reach: global, of a link that is up, of no mesh's device, not in
 * a pool, IPv4 first. Pure.
 */
export function underlayCandidates(facts: HostFacts, own: Own): Underlay[] {
  const up = new Set(facts.links.filter((link) => link.up).map((link) => link.name));
  const overlay = new Set(["lo", ...own.devices, ...meshDevices(facts)]);
  return facts.addresses
    .filter((item) => item.scope === 0 && !item.tentative && up.has(item.device))
    .filter((item) => !overlay.has(item.device))
    .filter((item) => prefixHolding(item.address, own.pools) === undefined)
    .flatMap((item) => underlayOf(facts, item.address) ?? [])
    .sort((a, b) => a.family - b.family);
}

/** Devices of every agent of this host, known by the routes that only agents make. */
function meshDevices(facts: HostFacts): string[] {
  const protocols: number[] = [MESH_ROUTE_PROTOCOL, POD_ROUTE_PROTOCOL];
  const made = facts.routes.filter(
    (route) => protocols.includes(route.protocol) && !isDirectRoute(route),
  );
  return made.flatMap(({ device }) => (device === undefined || device === "lo" ? [] : [device]));
}

/** A test address of each family (RFC 5737, RFC 3849): routed as the default route says. */
const OUTSIDE: Readonly<Record<Family, string>> = { 4: "192.0.2.1", 6: "2001:db8::1" };

/**
 * The address to advertise when no setting names one: the source of the default route, else the
 * only candidate. Undefined when there is none or the choice is not ours (see `candidates`).
 */
export async function suggestUnderlay(
  own: Own,
  family: Family | "auto",
  where: Where = {},
): Promise<{ chosen: Underlay | undefined; candidates: Underlay[] }> {
  const facts = await gatherFacts(where);
  const fits = (item: Underlay): boolean => family === "auto" || item.family === family;
  const candidates = underlayCandidates(facts, own).filter(fits);
  for (const tried of family === "auto" ? ([4, 6] as const) : [family]) {
    const source = await defaultSource(tried, where);
    const chosen = candidates.find((item) => item.address === source);
    if (chosen !== undefined) return { chosen, candidates };
  }
  return { chosen: onlyOne(candidates), candidates };
}

/** One address, or one IPv4 address beside IPv6 ones. */
function onlyOne(candidates: readonly Underlay[]): Underlay | undefined {
  const family = candidates[0]?.family;
  const same = candidates.filter((item) => item.family === family);
  return same.length === 1 ? same[0] : undefined;
}

/**
 * Source address of packets that follow the default route; undefined when there is no such route.
 */
export async function defaultSource(
  family: Family,
  where: Where = {},
): Promise<string | undefined> {
  try {
    const found = await runJson(["ip", "-N", "-json", "route", "get", OUTSIDE[family]], where);
    return textAt(objectsIn(found)[0] ?? {}, "prefsrc");
  } catch (error) {
    // "Network is unreachable": that is the answer.
    if (error instanceof HostError && error.code === "MESHD_HOST_COMMAND") return undefined;
    throw error;
  }
}

/**
 * Devices of ours on which reverse path filtering is strict, one line each. The kernel then drops
 * packets whose way back leads elsewhere: answers to a multi-homed host, and ICMP errors that the
 * overlay device delivers under this host's own address.
 */
export async function findStrictFilters(
  devices: readonly string[],
  where: Where = {},
): Promise<string[]> {
  const values = await Promise.all(devices.map((device) => rpFilter(device, where)));
  return devices
    .filter((_, index) => values[index] === 1)
    .map((device) => {
      const keys = `net.ipv4.conf.all.rp_filter and net.ipv4.conf.${device}.rp_filter`;
      return `strict reverse path filter on ${device} may drop packets; set ${keys} to 0 or 2`;
    });
}

/** More prefixes than that are not looked up: one that suffers is enough to say it. */
const LOOKUPS_MAX = 16;

/**
 * Which of the IPv4 prefixes, whose packets come in on a device, its reverse path filter drops: it
 * is strict and the way back is another. One line, or none.
 */
export async function findFiltered(
  device: string,
  prefixes: readonly string[],
  where: Where = {},
): Promise<string[]> {
  const four = prefixes.filter((prefix) => !prefix.includes(":")).slice(0, LOOKUPS_MAX);
  if (four.length === 0 || (await rpFilter(device, where)) !== 1) return [];
  const devices = await Promise.all(four.map((prefix) => deviceTowards(prefix, where)));
  const lost = four.filter((_, index) => devices[index] !== device);
  if (lost.length === 0) return [];
  const keys = `net.ipv4.conf.all.rp_filter and net.ipv4.conf.${device}.rp_filter`;
  const what = `the strict reverse path filter on ${device} drops packets from ${lost.join(", ")}`;
  return [`${what}, because the way back is another; set ${keys} to 0 or 2`];
}

async function deviceTowards(prefix: string, where: Where): Promise<string | undefined> {
  const argv = ["ip", "-N", "-json", "route", "get", prefix.split("/")[0] ?? ""];
  // "Network is unreachable" is an answer: no way back at all.
  const found = await runJson(argv, where).catch(() => []);
  return textAt(objectsIn(found)[0] ?? {}, "dev");
}

/** Why /dev/net/tun cannot be used, in one line; undefined = it can. */
export async function tunProblem(): Promise<string | undefined> {
  try {
    const file = await open("/dev/net/tun", "r+");
    await file.close();
    return undefined;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENODEV") {
      return "no TUN device: /dev/net/tun is missing; load it: modprobe tun";
    }
    const fix = "run as root with CAP_NET_ADMIN, and allow the device in the container";
    return `no TUN device: /dev/net/tun cannot be opened (${String(code)}); ${fix}`;
  }
}
