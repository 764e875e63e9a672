// Keys of the buckets: how a record's names become one KV key and back. ADR-8 allows A-Z a-z 0-9 -
// / _ = . in keys.
import { isPublicKey } from "./nats/index.js";

/** RFC 1123 label, lower case. */
export function isLabel(text: unknown): text is string {
  return typeof text === "string" && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

/**
 * "10.244.1.0/24" -> "10-244-1-0_24", "fd00::/64" -> "fd00--_64": canonical text in, so no two
 * meet.
 */
function encodeAddress(text: string): string {
  return text.replace(/[.:]/g, "-").replace("/", "_");
}

/** "<address>:<port>", IPv6 in brackets: how claims are named in a snapshot. */
export function claimName(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

export const keyOf = {
  config: () => "config",
  heartbeat: () => "heartbeat",
  member: (nodeId: string) => `members.${nodeId}`,
  name: (name: string) => `names.${name}`,
  lease: (cidr: string) => `leases.${encodeAddress(cidr)}`,
  claim: (address: string, port: number) => `claims.${encodeAddress(address)}_${port}`,
  node: (nodeId: string) => `nodes.${nodeId}`,
  endpoint: (nodeId: string, pod: string) => `endpoints.${nodeId}.${pod}`,
  peer: (name: string) => `peers.${name}`,
  token: (tokenId: string) => `tokens.${tokenId}`,
  admin: (name: string) => `admins.${name}`,
  accounts: () => "accounts",
  servers: () => "servers",
  trust: () => "trust",
  /** A dot would begin another part of the key; "=" is in no name. */
  user: (name: string) => `users.${name.replaceAll(".", "=")}`,
  /** Of a user: an IPv4 address. */
  address: (address: string) => `addresses.${encodeAddress(`${address}/32`)}`,
};

export type RecordKind =
  | "config"
  | "heartbeat"
  | "members"
  | "names"
  | "leases"
  | "claims"
  | "nodes"
  | "endpoints"
  | "peers"
  | "tokens"
  | "admins"
  | "accounts"
  | "servers"
  | "trust"
  | "users"
  | "addresses";

const singleKinds = new Set(["config", "heartbeat", "accounts", "servers", "trust"]);
const labelKinds = new Set(["names", "peers", "admins"]);
const addressKinds = new Set(["leases", "claims", "addresses"]);

/**
 * Kind of a key, and the node that writes it (null: a controller); null when no record has such a
 * key.
 */
export function parseKey(key: string): { kind: RecordKind; writer: string | null } | null {
  const [kind = "", first = "", second, ...rest] = key.split(".");
  if (rest.length > 0) return null;
  const found = { kind: kind as RecordKind, writer: null };
  if (kind === "endpoints") {
    const good = isPublicKey(first, "U") && isLabel(second);
    return good ? { ...found, writer: first } : null;
  }
  if (second !== undefined) return null;
  if (singleKinds.has(kind)) return key === kind ? found : null;
  if (kind === "nodes") return isPublicKey(first, "U") ? { ...found, writer: first } : null;
  if (kind === "members") return isPublicKey(first, "U") ? found : null;
  if (labelKinds.has(kind)) return isLabel(first) ? found : null;
  if (addressKinds.has(kind)) return /^[0-9a-f-]+_\d{1,5}$/.test(first) ? found : null;
  if (kind === "users") return isUserName(first.replaceAll("=", ".")) ? found : null;
  if (kind === "tokens") return isTokenId(first) ? found : null;
  return null;
}

/** Name of a PPTP account: lower case, so that no two differ in case alone. */
export function isUserName(text: unknown): text is string {
  return typeof text === "string" && /^[a-z0-9][a-z0-9._-]{0,62}$/.test(text);
}

/** 16 random bytes in hex. */
export function isTokenId(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{32}$/.test(text);
}
