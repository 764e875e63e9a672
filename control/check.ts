// Small checks that record validators are made of. They throw Refused inside; checkRecord
// (validate.ts) turns that into a value.
import { isIPv4 } from "node:net";
import { canonicalAddress, canonicalPrefix, parsePrefix } from "./cidr.js";
import { isLabel, isTokenId, isUserName } from "./keys.js";
import { isPublicKey } from "./nats/index.js";

/** Why a value is no record. Never leaves the room: it becomes a Refusal. */
export class Refused extends Error {
  override readonly name = "Refused";
}

export type Fields = Record<string, unknown>;

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 60);
}

export function refuse(name: string, value: unknown, wanted: string): never {
  throw new Refused(`${name} is ${shown(value)}, not ${wanted}`);
}

export function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse(what, value, "an object");
  }
  return value as Fields;
}

export function text(fields: Fields, name: string, length_max = 256): string {
  const value = fields[name];
  if (typeof value === "string" && value.length <= length_max) return value;
  return refuse(name, value, `text of at most ${length_max} characters`);
}

export function label(fields: Fields, name: string): string {
  const value = fields[name];
  return isLabel(value) ? value : refuse(name, value, "one DNS label (a-z, 0-9, -; at most 63)");
}

export function whole(fields: Fields, name: string, low: number, high: number): number {
  const value = fields[name];
  const fits =
    typeof value === "number" && Number.isInteger(value) && value >= low && value <= high;
  return fits ? value : refuse(name, value, `a whole number from ${low} to ${high}`);
}

export function flag(fields: Fields, name: string): boolean {
  const value = fields[name];
  return typeof value === "boolean" ? value : refuse(name, value, "true or false");
}

export function choice<T extends string>(fields: Fields, name: string, choices: readonly T[]): T {
  const found = choices.find((one) => one === fields[name]);
  return found ?? refuse(name, fields[name], `one of ${choices.join(", ")}`);
}

export function userKey(fields: Fields, name: string): string {
  const value = fields[name];
  return isPublicKey(value, "U") ? value : refuse(name, value, "a public user NKey");
}

export function tokenId(fields: Fields, name: string): string {
  const value = fields[name];
  return isTokenId(value) ? value : refuse(name, value, "a token's id (32 hexadecimal digits)");
}

/** RFC 3339 in UTC, as Date writes it. */
export function time(fields: Fields, name: string): string {
  const value = fields[name];
  const good =
    typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(value);
  return good && !Number.isNaN(Date.parse(value)) ? value : refuse(name, value, "a UTC time");
}

export function nullable<T>(
  fields: Fields,
  name: string,
  check: (fields: Fields, name: string) => T,
): T | null {
  return fields[name] === null ? null : check(fields, name);
}

export function address(fields: Fields, name: string): string {
  const value = fields[name];
  const good = typeof value === "string" && canonicalAddress(value) === value;
  return good ? value : refuse(name, value, "an address in canonical form");
}

export function address4(fields: Fields, name: string): string {
  const value = fields[name];
  return typeof value === "string" && isIPv4(value)
    ? value
    : refuse(name, value, "an IPv4 address");
}

/** Scheme, host and port, nothing else: no user name, no path. */
export function natsUrl(fields: Fields, name: string): string {
  const value = fields[name];
  const pattern = /^(nats|tls|wss?):\/\/([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:\d{1,5})?$/;
  const good = typeof value === "string" && pattern.test(value);
  return good ? value : refuse(name, value, "a URL of a nats-server like tls://192.0.2.10:4222");
}

export function userName(fields: Fields, name: string): string {
  const value = fields[name];
  const wanted = "a user name (a-z, 0-9, dot, _ and -; at most 63; a letter or digit first)";
  return isUserName(value) ? value : refuse(name, value, wanted);
}

export function prefix(fields: Fields, name: string): string {
  const value = fields[name];
  const good = typeof value === "string" && canonicalPrefix(value) === value;
  return good ? value : refuse(name, value, "a prefix in canonical form");
}

/** An address of an interface with the length of its network: host bits may be set. */
export function interfaceAddress(fields: Fields, name: string): string {
  const value = fields[name];
  const [written = "", length = ""] = typeof value === "string" ? value.split("/") : [];
  const parsed = parsePrefix(`${written}/${written.includes(":") ? 128 : 32}`);
  const fits =
    parsed !== null && /^(0|[1-9]\d{0,2})$/.test(length) && Number(length) <= parsed.length;
  return fits && value === `${canonicalAddress(written)}/${length}`
    ? value
    : refuse(name, value, "an address with its prefix length, in canonical form");
}

/** Unicast MAC address, lower case. */
export function mac(fields: Fields, name: string): string {
  const value = fields[name];
  const good =
    typeof value === "string" &&
    /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(value) &&
    value !== "00:00:00:00:00:00";
  return good ? value : refuse(name, value, "a unicast MAC address like 0a:11:22:33:44:55");
}

/** A list of at most `count_max`, without repeats, each checked under the name "list[index]". */
export function list<T>(
  fields: Fields,
  name: string,
  count_max: number,
  check: (fields: Fields, name: string) => T,
): T[] {
  const values = fields[name];
  if (!Array.isArray(values) || values.length > count_max) {
    return refuse(
      name,
      Array.isArray(values) ? values.length : values,
      `a list of 0..${count_max}`,
    );
  }
  const checked = values.map((value, index) =>
    check({ [`${name}[${index}]`]: value }, `${name}[${index}]`),
  );
  if (new Set(checked).size !== checked.length) refuse(name, values, "without repeats");
  return checked;
}

export const words = (length_max: number) => (fields: Fields, name: string) =>
  text(fields, name, length_max);
