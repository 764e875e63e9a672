// Our nftables table that masquerades pods which talk to the world outside the pools. Made from
// checked values, replaced in one transaction, left alone when it is what it should be.
import type { Where } from "./command.js";
import { type JsonObject, textAt } from "./json.js";
import {
  applyTable,
  FAMILIES,
  nftTable,
  objectsOf,
  ofFamily,
  removeTable,
  ruleMark,
  sameElements,
  setText,
  tableText,
} from "./nft.js";
import type { Family } from "./prefix.js";

/** What is masqueraded: packets from `sources` (this node's PodCIDRs) to anywhere but `pools`. */
export interface MasqueradeOptions {
  /** The overlay device; it names the table, so that several agents do not share one. */
  device: string;
  sources: readonly string[];
  pools: readonly string[];
}

/** Raised when the rules' text changes its meaning, so that older tables are replaced. */
const RULES_VERSION = 1;

/** The rule set as text for `nft -f`. The same options in any order give the same text. */
export function masqueradeText(options: MasqueradeOptions): string {
  return tableText(nftTable(options.device), [
    ...FAMILIES.flatMap((family) => [
      setText(`sources${family}`, family, options.sources),
      setText(`pools${family}`, family, options.pools),
    ]),
    "chain postrouting {",
    "  type nat hook postrouting priority 100; policy accept;",
    ...ruleTexts(options).map((rule) => `  ${rule}`),
    "}",
  ]);
}

/** Puts the table in place. False when it was there already as wanted (nothing is written then). */
export function applyMasquerade(options: MasqueradeOptions, where: Where = {}): Promise<boolean> {
  const change = (listed: JsonObject[] | undefined) =>
    listed !== undefined && isAsWanted(options, listed) ? "" : masqueradeText(options);
  return applyTable(nftTable(options.device), change, where);
}

/** Removes the table. False when there was none. */
export function removeMasquerade(device: string, where: Where = {}): Promise<boolean> {
  return removeTable(nftTable(device), where);
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

function ruleTexts(options: MasqueradeOptions): string[] {
  return FAMILIES.map((family) => {
    const ip = family === 4 ? "ip" : "ip6";
    const match = `${ip} saddr @sources${family} ${ip} daddr != @pools${family}`;
    return `${match} masquerade fully-random comment "${mark(options, family)}"`;
  });
}

/** Marks a rule with a hash of what it was made from. */
function mark(options: MasqueradeOptions, family: Family): string {
  const { sources, pools } = options;
  return ruleMark("masquerade", [
    RULES_VERSION,
    ofFamily(sources, family),
    ofFamily(pools, family),
  ]);
}
