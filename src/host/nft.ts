// Our own nftables table: masquerade for pods that talk to the world outside the pools. Made from
// checked values, replaced in one transaction, left alone when it is what it should be.
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

/** What is masqueraded: packets from `sources` (this node's PodCIDRs) to anywhere but `pools`. */
export interface MasqueradeOptions {
  /** The overlay device; it names the table, so that several agents do not share one. */
  device: string;
  sources: readonly string[];
  pools: readonly string[];
}

export const FAMILIES: readonly Family[] = [4, 6];
/** Raised when the rules' text changes its meaning, so that older tables are replaced. */
const RULES_VERSION = 1;

/** `meshd_<device>`, with what an nft name cannot hold written as two hex digits. */
export function nftTable(device: string): string {
  const plain = checkDeviceName(device).replace(/[^A-Za-z0-9]/g, (c) => `_${hex(c)}`);
  return `meshd_${plain}`;
}

/** The rule set as text for `nft -f`. The same options in any order give the same text. */
export function masqueradeText(options: MasqueradeOptions): string {
  const table = `inet ${nftTable(options.device)}`;
  return [
    // Adding it first makes the deletion good whether or not there is one: one transaction.
    `add table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    ...FAMILIES.flatMap((family) => [
      setText(`sources${family}`, family, options.sources),
      setText(`pools${family}`, family, options.pools),
    ]),
    "  chain postrouting {",
    "    type nat hook postrouting priority 100; policy accept;",
    ...ruleTexts(options).map((rule) => `    ${rule}`),
    "  }",
    "}",
    "",
  ].join("\n");
}

/** Puts the table in place. False when it was there already as wanted (nothing is written then). */
export async function applyMasquerade(
  options: MasqueradeOptions,
  where: Where = {},
): Promise<boolean> {
  const listed = await listTable(nftTable(options.device), where);
  if (listed !== undefined && isAsWanted(options, listed)) return false;
  await run(["nft", "-f", "-"], { ...where, input: masqueradeText(options) });
  return true;
}

/** Removes the table. False when there was none. */
export async function removeMasquerade(device: string, where: Where = {}): Promise<boolean> {
  const table = nftTable(device);
  if ((await listTable(table, where)) === undefined) return false;
  await run(["nft", "delete", "table", "inet", table], where);
  return true;
}

/** Compares a listed table (the objects of `nft -j list table`) with what is wanted. Pure. */
export function isAsWanted(options: MasqueradeOptions, listed: readonly JsonObject[]): boolean {
  const sets = objectsOf(listed, "set");
  const chains = objectsOf(listed, "chain");
  const rules = objectsOf(listed, "rule").map((rule) => textAt(rule, "comment"));
  const chain = chains[0];
  return (
    chains.length === 1 &&
    chain !== undefined &&
    textAt(chain, "name") === "postrouting" &&
    textAt(chain, "hook") === "postrouting" &&
    textAt(chain, "type") === "nat" &&
    rules.join() === FAMILIES.map((family) => mark(options, family)).join() &&
    sets.length === 2 * FAMILIES.length &&
    FAMILIES.every(
      (family) =>
        sameElements(sets, `sources${family}`, ofFamily(options.sources, family)) &&
        sameElements(sets, `pools${family}`, ofFamily(options.pools, family)),
    )
  );
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
  return `  set ${name} { type ipv${family}_addr; flags interval;${more}${list} }`;
}

function ruleTexts(options: MasqueradeOptions): string[] {
  return FAMILIES.map((family) => {
    const ip = family === 4 ? "ip" : "ip6";
    const match = `${ip} saddr @sources${family} ${ip} daddr != @pools${family}`;
    return `${match} masquerade fully-random comment "${mark(options, family)}"`;
  });
}

/** Marks a rule with a hash of what it was made from. */
function mark(options: MasqueradeOptions, family: Family): string {
  const made = [RULES_VERSION, ofFamily(options.sources, family), ofFamily(options.pools, family)];
  const hash = createHash("sha256").update(JSON.stringify(made)).digest("hex").slice(0, 16);
  return `meshd masquerade ${hash}`;
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

function sameElements(sets: readonly JsonObject[], name: string, wanted: string[]): boolean {
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
