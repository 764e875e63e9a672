// Addresses on links: list, compare with what is wanted, apply the difference.
import { runJson, type Where } from "./command.js";
import { numberAt, objectsIn, textAt } from "./json.js";
import { checkDeviceName, ipBatch, isMissing } from "./links.js";
import { canonicalAddress, type Family, needPrefix } from "./prefix.js";
import { numericScope } from "./route-list.js";

export interface LinkAddress {
  device: string;
  family: Family;
  address: string;
  /** Prefix length. */
  length: number;
  /** 0 = global, 253 = link, 254 = host (rtnetlink's numbers). */
  scope: number;
  /** IPv6: duplicate address detection still runs, or found a duplicate. */
  tentative: boolean;
  /** The far end on point-to-point links. */
  peer: string | undefined;
}

/** Addresses to add and to delete, as "address/length". */
export interface AddressChange {
  add: string[];
  delete: string[];
}

/** All addresses, or those of one device ([] when there is no such device). */
export async function listAddresses(device?: string, where: Where = {}): Promise<LinkAddress[]> {
  const only = device === undefined ? [] : ["dev", checkDeviceName(device)];
  try {
    return readAddresses(await runJson(["ip", "-N", "-json", "address", "show", ...only], where));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** The list that `ip -N -json address show` printed. */
export function readAddresses(listed: unknown): LinkAddress[] {
  return objectsIn(listed).flatMap((link) => {
    const device = textAt(link, "ifname") ?? "";
    return objectsIn(link.addr_info).map((info) => ({
      device,
      family: textAt(info, "family") === "inet6" ? (6 as const) : (4 as const),
      address: textAt(info, "local") ?? "",
      length: numberAt(info, "prefixlen") ?? 0,
      scope: numericScope(textAt(info, "scope")),
      tentative: info.tentative === true || info.dadfailed === true,
      peer: textAt(info, "address"),
    }));
  });
}

/**
 * What leads from the addresses of a device that is wholly ours to the wanted ones ("10.1.0.1/32").
 * Link-local IPv6 addresses that nobody asked for are the kernel's own and stay. Pure.
 */
export function diffAddresses(
  wanted: readonly string[],
  actual: readonly LinkAddress[],
): AddressChange {
  const want = new Set(wanted.map(withLength));
  const have = new Map(actual.map((item) => [`${item.address}/${item.length}`, item]));
  return {
    add: [...want].filter((text) => !have.has(text)),
    delete: [...have]
      .filter(([text, item]) => !want.has(text) && !isLinkLocal(item))
      .map(([t]) => t),
  };
}

/**
 * Gives a device exactly the wanted addresses. Says how many were added or deleted (0 = no-op).
 * IPv6 addresses skip duplicate address detection: a mesh hands each out once, and a tentative
 * address cannot be a route's source.
 */
export async function reconcileAddresses(
  device: string,
  wanted: readonly string[],
  where: Where = {},
): Promise<number> {
  const lines = addressLines(device, wanted, await listAddresses(device, where));
  if (lines.length > 0) await ipBatch(lines, where);
  return lines.length;
}

/** The `ip -batch` lines that lead from a device's addresses to the wanted ones. Pure. */
export function addressLines(
  device: string,
  wanted: readonly string[],
  actual: readonly LinkAddress[],
): string[] {
  const change = diffAddresses(wanted, actual);
  const name = checkDeviceName(device);
  // Adding first keeps routes whose `src` is an address that stays.
  return [
    ...change.add.map((text) => addressLine(text, name)),
    ...change.delete.map((text) => `address delete ${text} dev ${name}`),
  ];
}

function addressLine(text: string, device: string): string {
  const noWait = text.includes(":") ? " nodad" : "";
  return `address add ${withLength(text)} dev ${device}${noWait}`;
}

function withLength(text: string): string {
  const [address = "", digits] = text.split("/");
  const length = needPrefix(text).length;
  return `${canonicalAddress(address)}/${digits ?? length}`;
}

function isLinkLocal(item: LinkAddress): boolean {
  return item.family === 6 && /^fe[89ab]/.test(item.address);
}
