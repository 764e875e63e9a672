// An nftables table for foreign networks that this node is dialled into: what pods send there has
// the address that the foreign server gave us.
import type { Where } from "./command.js";
import { type JsonObject, textAt } from "./json.js";
import {
  applyTable,
  nftTable,
  objectsOf,
  ofFamily,
  removeTable,
  ruleMark,
  sameElements,
  setText,
  tableText,
} from "./nft.js";
import { canonicalAddress } from "./prefix.js";

/** What goes out of `device` to one of `prefixes` from one of `sources` gets `address`. IPv4. */
export interface CallNat {
  address: string;
  prefixes: readonly string[];
}

export interface CallNatOptions {
  device: string;
  sources: readonly string[];
  calls: readonly CallNat[];
}

const RULES_VERSION = 1;

function tableName(device: string): string {
  return `${nftTable(device)}_calls`;
}

/** The rule set as text for `nft -f`; the same options give the same text. */
export function callNatText({ device, sources, calls }: CallNatOptions): string {
  return tableText(tableName(device), [
    setText("sources", 4, sources),
    ...calls.map(({ prefixes }, index) => setText(`call${index}`, 4, prefixes)),
    "chain postrouting {",
    // Before the masquerade of what leaves the pools.
    "  type nat hook postrouting priority 90; policy accept;",
    ...calls.map(({ address }, index) => {
      const match = `oifname "${device}" ip saddr @sources ip daddr @call${index}`;
      const comment = `comment "${mark(sources, calls)}"`;
      return `  ${match} snat ip to ${canonicalAddress(address)} ${comment}`;
    }),
    "}",
  ]);
}

function mark(sources: readonly string[], calls: readonly CallNat[]): string {
  return ruleMark("calls", [
    ...[RULES_VERSION, ofFamily(sources, 4)],
    ...calls.map(({ address, prefixes }) => [address, ofFamily(prefixes, 4)]),
  ]);
}

function isAsWanted({ sources, calls }: CallNatOptions, listed: readonly JsonObject[]): boolean {
  const wanted = mark(sources, calls);
  const rules = objectsOf(listed, "rule").map((rule) => textAt(rule, "comment"));
  const sets = objectsOf(listed, "set");
  const holds = (name: string, prefixes: readonly string[]) =>
    sameElements(sets, name, ofFamily(prefixes, 4));
  return (
    rules.length === calls.length &&
    rules.every((rule) => rule === wanted) &&
    holds("sources", sources) &&
    calls.every(({ prefixes }, index) => holds(`call${index}`, prefixes))
  );
}

/** Puts the table in place, or takes it away when there are no calls. False: it was so already. */
export async function applyCallNat(options: CallNatOptions, where: Where = {}): Promise<boolean> {
  const { device, calls } = options;
  if (calls.length === 0) return removeTable(tableName(device), where);
  const change = (listed: JsonObject[] | undefined) =>
    listed !== undefined && isAsWanted(options, listed) ? "" : callNatText(options);
  return applyTable(tableName(device), change, where);
}
