// What our nftables tables have in common: names, sets of prefixes, what the kernel lists, how they
// are put in place and removed.
import { createHash } from "node:crypto";
import { run, runJson, type Where } from "./command.js";
import { HostError } from "./errors.js";
import { isPlainObject, type JsonObject, numberAt, objectsIn, textAt } from "./json.js";
import { checkDeviceName } from "./links.js";
import {
  canonicalPrefix,
  containsPrefix,
  type Family,
  formatPrefix,
  needPrefix,
  parsePrefix,
} from "./prefix.js";

export const FAMILIES: readonly Family[] = [4, 6];

/** `meshd_<device>`, with what an nft name cannot hold written as two hex digits. */
export function nftTable(device: string): string {
  const plain = checkDeviceName(device).replace(/[^A-Za-z0-9]/g, (c) => `_${hex(c)}`);
  return `meshd_${plain}`;
}

/** The objects of a table, or undefined when there is none. */
export async function listTable(table: string, where: Where): Promise<JsonObject[] | undefined> {
  try {
    return readNft(await runJson(["nft", "-j", "list", "table", "inet", table], where));
  } catch (error) {
    const absent = /No such file or directory/;
    if (error instanceof HostError && absent.test(error.stderr)) return undefined;
    throw error;
  }
}

/**
 * Puts in place what `change` says for the table as it is now (undefined: there is none), in one
 * transaction. False when that is nothing ("").
 */
export async function applyTable(
  table: string,
  change: (listed: JsonObject[] | undefined) => string,
  where: Where,
): Promise<boolean> {
  const text = change(await listTable(table, where));
  if (text === "") return false;
  await run(["nft", "-f", "-"], { ...where, input: text });
  return true;
}

/** A whole table as text for `nft -f`, in place of the one that is there. */
export function tableText(table: string, lines: readonly string[]): string {
  const name = `inet ${table}`;
  // Adding it first makes the deletion good whether or not there is one: one transaction.
  return [
    `add table ${name}`,
    `delete table ${name}`,
    `table ${name} {`,
    ...lines.map((line) => `  ${line}`),
    "}",
    "",
  ].join("\n");
}

/** The comment of rules: a hash of what they were made from, to know them again by. */
export function ruleMark(kind: string, made: unknown): string {
  const hash = createHash("sha256").update(JSON.stringify(made)).digest("hex").slice(0, 16);
  return `meshd ${kind} ${hash}`;
}

/** Removes a table of ours. False when there was none. */
export async function removeTable(table: string, where: Where): Promise<boolean> {
  if ((await listTable(table, where)) === undefined) return false;
  await run(["nft", "delete", "table", "inet", table], where);
  return true;
}

/** Lines for `nft -f` that lead a listed set to the wanted elements; none where they are there. */
export function setChange(
  table: string,
  name: string,
  listed: readonly JsonObject[],
  wanted: readonly string[],
): string[] {
  const set = objectsOf(listed, "set").find((item) => textAt(item, "name") === name) ?? {};
  const present = elementsOf(set).map(elementText);
  const less = present.filter((element) => !wanted.includes(element));
  const more = wanted.filter((element) => !present.includes(element));
  // Away first: sets refuse elements that overlap, also on the way. It is one transaction.
  return [
    ...(less.length === 0 ? [] : [`delete element inet ${table} ${name} { ${less.join(", ")} }`]),
    ...(more.length === 0 ? [] : [`add element inet ${table} ${name} { ${more.join(", ")} }`]),
  ];
}

/** The list inside `{"nftables": [...]}`. */
export function readNft(output: unknown): JsonObject[] {
  return isPlainObject(output) ? objectsIn(output.nftables) : [];
}

/** All objects of one sort: `[{"rule": {...}}]` -> `[{...}]`. */
export function objectsOf(listed: readonly JsonObject[], sort: string): JsonObject[] {
  return listed.flatMap((item) => {
    const found = item[sort];
    return isPlainObject(found) ? [found] : [];
  });
}

/** A set of prefixes; with a flag more ("counter") if wanted. */
export function setText(
  name: string,
  family: Family,
  prefixes: readonly string[],
  more = "",
): string {
  const elements = ofFamily(prefixes, family);
  const list = elements.length === 0 ? "" : ` elements = { ${elements.join(", ")} }`;
  return `set ${name} { type ipv${family}_addr; flags interval;${more}${list} }`;
}

/**
 * Prefixes of one family, canonical and sorted, without those inside others: sets refuse overlaps.
 */
export function ofFamily(prefixes: readonly string[], family: Family): string[] {
  const parsed = prefixes.map(needPrefix).filter((prefix) => prefix.family === family);
  const widest = parsed.filter(
    (prefix) =>
      !parsed.some((other) => other.length < prefix.length && containsPrefix(other, prefix)),
  );
  return [...new Set(widest.map(formatPrefix))].sort();
}

/** Whether a listed set is there and holds just these, sorted as `ofFamily` gives them. */
export function sameElements(
  sets: readonly JsonObject[],
  name: string,
  wanted: readonly string[],
): boolean {
  const set = sets.find((item) => textAt(item, "name") === name);
  return set !== undefined && elementsOf(set).map(elementText).sort().join() === wanted.join();
}

export function elementsOf(set: JsonObject): unknown[] {
  return Array.isArray(set.elem) ? set.elem : [];
}

/**
 * An element of an interval set: "10.0.0.1" or {"prefix": {"addr": "10.0.0.0", "len": 8}}, in an
 * {"elem": {"val": ...}} of its own where it counts.
 */
export function elementText(element: unknown): string {
  if (isPlainObject(element) && isPlainObject(element.elem)) return elementText(element.elem.val);
  if (typeof element === "string") return parsePrefix(element) ? canonicalPrefix(element) : element;
  const prefix = isPlainObject(element) && isPlainObject(element.prefix) ? element.prefix : {};
  return `${textAt(prefix, "addr")}/${numberAt(prefix, "len")}`;
}

function hex(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(2, "0");
}
