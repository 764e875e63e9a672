// The kernel's routes as `ip -N -json route` prints them, read into one shape.
import { runJson, type Where } from "./command.js";
import { isPlainObject, type JsonObject, numberAt, objectsIn, textAt, textsAt } from "./json.js";
import { canonicalPrefix, type Family } from "./prefix.js";

export const MAIN_TABLE = 254;
export const LINK_SCOPE = 253;

export interface Route {
  family: Family;
  /** Prefix in canonical text; the default route is "0.0.0.0/0" or "::/0". */
  destination: string;
  /**
   * A RouteKind, "local", "broadcast", "anycast", "multicast", "throw", "nat" or a number as text.
   */
  kind: string;
  device: string | undefined;
  /** The gateway; of an IPv4 route it may be an IPv6 address. */
  via: string | undefined;
  source: string | undefined;
  /** Bytes. */
  mtu: number | undefined;
  advmss: number | undefined;
  metric: number;
  /** 2 = kernel, 3 = boot, 4 = static, 9 = router advertisement, 16 = dhcp, 186 = bgp ... */
  protocol: number;
  /** 0 = universe, 253 = link, 254 = host. */
  scope: number;
  table: number;
  onLink: boolean;
  /** More than one next hop: never ours. */
  multipath: boolean;
  /** The device has lost its carrier. */
  linkDown: boolean;
}

const KINDS: Readonly<Record<string, string>> = {
  1: "unicast",
  2: "local",
  3: "broadcast",
  4: "anycast",
  5: "multicast",
  6: "blackhole",
  7: "unreachable",
  8: "prohibit",
  9: "throw",
  10: "nat",
};
const SCOPES: Readonly<Record<string, number>> = { global: 0, universe: 0, link: 253, host: 254 };
const TABLES: Readonly<Record<string, number>> = { local: 255, main: 254, default: 253 };
const PROTOCOLS: Readonly<Record<string, number>> = { kernel: 2, boot: 3, static: 4 };

/**
 * The interface by which packets to an address leave, and its packets come where routes are the
 * same both ways; of an address of this host the one that has it.
 * @throws HostError when there is no route
 */
export async function deviceTowards(
  address: string,
  where: Where = {},
): Promise<string | undefined> {
  const [route] = objectsIn(await runJson(["ip", "-json", "route", "get", address], where));
  if (route === undefined || textAt(route, "type") !== "local") return textAt(route ?? {}, "dev");
  const links = objectsIn(await runJson(["ip", "-json", "address", "show", "to", address], where));
  return links.map((link) => textAt(link, "ifname")).find((name) => name !== undefined);
}

/** All routes of the main table, both families. `table: "all"` adds local and every other table. */
export async function listRoutes(where: Where & { table?: "main" | "all" } = {}): Promise<Route[]> {
  // One call lists both families only with `table all`; names of numbers depend on the host's
  // files.
  const listed = await runJson(["ip", "-N", "-json", "route", "show", "table", "all"], where);
  const routes = readRoutes(listed);
  return where.table === "all" ? routes : routes.filter((route) => route.table === MAIN_TABLE);
}

/** The list that `ip -N -json route show table all` printed; what is no route is passed over. */
export function readRoutes(listed: unknown): Route[] {
  return objectsIn(listed).flatMap(readRoute);
}

/** Scope as a number, from a number in text or from a name. Absent = universe. */
export function numericScope(text: string | undefined): number {
  return numeric(text, SCOPES, 0);
}

function numeric(
  text: string | undefined,
  names: Readonly<Record<string, number>>,
  absent: number,
): number {
  if (text === undefined) return absent;
  const number = Number(text);
  return Number.isInteger(number) ? number : (names[text] ?? absent);
}

/** `ip` leaves out what is usual: no type = unicast, no protocol = boot, no table = main. */
function readRoute(object: JsonObject): Route[] {
  const shown = textAt(object, "dst") ?? "";
  const other = isPlainObject(object.via) ? textAt(object.via, "host") : undefined;
  const via = textAt(object, "gateway") ?? other;
  const type = textAt(object, "type") ?? "unicast";
  const family = shown.includes(":") || (shown === "default" && isSix(object)) ? 6 : 4;
  const destination = shown === "default" ? (family === 6 ? "::/0" : "0.0.0.0/0") : shown;
  if (!/^[0-9a-fA-F.:]+(\/\d+)?$/.test(destination)) return [];
  const metrics = objectsIn(object.metrics)[0] ?? {};
  const flags = textsAt(object, "flags");
  return [
    {
      family,
      destination: canonicalPrefix(destination),
      kind: KINDS[type] ?? type,
      device: textAt(object, "dev"),
      via,
      source: textAt(object, "prefsrc"),
      mtu: numberAt(metrics, "mtu"),
      advmss: numberAt(metrics, "advmss"),
      metric: numberAt(object, "metric") ?? 0,
      protocol: numeric(textAt(object, "protocol"), PROTOCOLS, 3),
      scope: numericScope(textAt(object, "scope")),
      table: numeric(textAt(object, "table"), TABLES, MAIN_TABLE),
      onLink: flags.includes("onlink"),
      multipath: Array.isArray(object.nexthops),
      linkDown: flags.includes("linkdown") || flags.includes("dead"),
    },
  ];
}

/**
 * IPv6 routes print their router preference ("pref"); a default route has no other mark of its
 * family.
 */
function isSix(object: JsonObject): boolean {
  return object.pref !== undefined || (textAt(object, "gateway") ?? "").includes(":");
}
