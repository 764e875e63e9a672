// nftables for what crosses the underlay's interface bare, without an outer header (ADR 0027):
// which sources may come in and go out, and counts by prefix. A table of its own, changed element
// by element, so that counts go on while peers come and go.
import type { Where } from "./command.js";
import { isPlainObject, type JsonObject, numberAt, textAt } from "./json.js";
import { checkDeviceName } from "./links.js";
import {
  applyTable,
  elementsOf,
  elementText,
  FAMILIES,
  listTable,
  nftTable,
  objectsOf,
  ofFamily,
  removeTable,
  ruleMark,
  setChange,
  setText,
  tableText,
} from "./nft.js";
import type { Family } from "./prefix.js";

export interface AdmissionOptions {
  /** The overlay device; it names the table, so that several agents do not share one. */
  overlay: string;
  /** The underlay's interface. */
  device: string;
  /** Sources that may go out there. */
  own: readonly string[];
  /** Sources that may come in there; what comes from and goes to each is counted. */
  peers: readonly string[];
  /** Sources in these that are neither are dropped. */
  pools: readonly string[];
}

/** As the kernel hands packets over: a super-packet counts once. */
export interface BareCount {
  packets: number;
  bytes: number;
}

export interface AdmissionCounters {
  /** By the prefixes of `peers`, without those that lie in others. */
  peers: Map<string, { ingress: BareCount; egress: BareCount }>;
  /** Came in with a source that may not. */
  spoofed: BareCount;
  /** Did not go out, because the source is none of ours. */
  foreign: BareCount;
}

/** Raised when the rules' text changes its meaning, so that older tables are replaced. */
const RULES_VERSION = 1;
/** Before connection tracking: what is dropped costs no entry there. */
const PRIORITY_RAW = -300;
const CHAINS = [
  { name: "admit", hook: "prerouting", priority: PRIORITY_RAW },
  { name: "guard", hook: "forward", priority: -150 },
  { name: "count", hook: "postrouting", priority: 300 },
] as const;
type ChainName = (typeof CHAINS)[number]["name"];

/** `meshd_<device>_direct`: no device's name can give that one. */
export function admissionTable(overlay: string): string {
  return `${nftTable(overlay)}_direct`;
}

function rulesOf(chain: ChainName, device: string): string[] {
  const at = `"${checkDeviceName(device)}"`;
  return FAMILIES.flatMap((family) => {
    const ip = family === 4 ? "ip" : "ip6";
    const pooled = `${ip} saddr @pools${family}`;
    if (chain === "admit") {
      const drop = `${pooled} counter name "spoofed" drop`;
      return [`iifname ${at} ${ip} saddr @from${family} accept`, `iifname ${at} ${drop}`];
    }
    // A node that routes between underlays lets others' packets through: only its own are judged.
    const foreign = `${pooled} ${ip} saddr != @own${family} counter name "foreign" drop`;
    if (chain === "guard") return [`iifname != ${at} oifname ${at} ${foreign}`];
    return [`oifname ${at} ${ip} daddr @to${family} accept`];
  });
}

function mark(device: string): string {
  const rules = CHAINS.map(({ name }) => rulesOf(name, device));
  return ruleMark("direct", [RULES_VERSION, ...rules]);
}

/** The sets of a table by name; those that count have a counter at each element. */
const SETS: readonly { name: string; family: Family; counts: boolean }[] = FAMILIES.flatMap(
  (family) => [
    { name: `own${family}`, family, counts: false },
    { name: `pools${family}`, family, counts: false },
    { name: `from${family}`, family, counts: true },
    { name: `to${family}`, family, counts: true },
  ],
);

function elementsWanted(options: AdmissionOptions, name: string, family: Family): string[] {
  const kind = name.slice(0, -1);
  if (kind === "own") return ofFamily(options.own, family);
  if (kind === "pools") return ofFamily([...options.pools, ...options.own], family);
  return ofFamily(options.peers, family);
}

/** The whole table as text for `nft -f`, its counts at zero. */
export function admissionText(options: AdmissionOptions): string {
  const comment = `comment "${mark(options.device)}"`;
  const sets = SETS.map(({ name, family, counts }) => {
    const wanted = elementsWanted(options, name, family);
    return setText(name, family, wanted, counts ? " counter;" : "");
  });
  const chains = CHAINS.flatMap(({ name, hook, priority }) => [
    `chain ${name} {`,
    `  type filter hook ${hook} priority ${priority}; policy accept;`,
    ...rulesOf(name, options.device).map((rule) => `  ${rule} ${comment}`),
    "}",
  ]);
  const counters = ["counter spoofed { }", "counter foreign { }"];
  return tableText(admissionTable(options.overlay), [...counters, ...sets, ...chains]);
}

/**
 * The text that leads from a listed table to the wanted one: elements alone where rules and sets
 * are as they should be, the whole table else, nothing where nothing differs. Pure.
 */
export function admissionChange(
  options: AdmissionOptions,
  listed: readonly JsonObject[] | undefined,
): string {
  if (listed === undefined || !hasRules(options, listed)) return admissionText(options);
  const table = admissionTable(options.overlay);
  const lines = SETS.flatMap(({ name, family }) =>
    setChange(table, name, listed, elementsWanted(options, name, family)),
  );
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

function hasRules(options: AdmissionOptions, listed: readonly JsonObject[]): boolean {
  const wanted = mark(options.device);
  const rules = objectsOf(listed, "rule");
  const chains = objectsOf(listed, "chain");
  const sets = objectsOf(listed, "set").map((set) => textAt(set, "name"));
  const counters = objectsOf(listed, "counter").map((counter) => textAt(counter, "name"));
  return (
    chains.length === CHAINS.length &&
    CHAINS.every(({ name, hook }) => {
      const own = rules.filter((rule) => textAt(rule, "chain") === name);
      return (
        chains.some((chain) => textAt(chain, "name") === name && textAt(chain, "hook") === hook) &&
        own.length === rulesOf(name, options.device).length &&
        own.every((rule) => textAt(rule, "comment") === wanted)
      );
    }) &&
    SETS.every(({ name }) => sets.includes(name)) &&
    ["spoofed", "foreign"].every((name) => counters.includes(name))
  );
}

/** Puts the table in place. False when it was as wanted already. */
export function applyAdmission(options: AdmissionOptions, where: Where = {}): Promise<boolean> {
  const table = admissionTable(options.overlay);
  return applyTable(table, (listed) => admissionChange(options, listed), where);
}

/** Removes the table. False when there was none. */
export function removeAdmission(overlay: string, where: Where = {}): Promise<boolean> {
  return removeTable(admissionTable(overlay), where);
}

/** What was counted; undefined when there is no table. */
export async function readAdmission(
  overlay: string,
  where: Where = {},
): Promise<AdmissionCounters | undefined> {
  const listed = await listTable(admissionTable(overlay), where);
  return listed === undefined ? undefined : countersOf(listed);
}

/** Counts in the objects of `nft -j list table`. Pure. */
export function countersOf(listed: readonly JsonObject[]): AdmissionCounters {
  const peers: AdmissionCounters["peers"] = new Map();
  for (const set of objectsOf(listed, "set")) {
    const direction = { from: "ingress", to: "egress" }[(textAt(set, "name") ?? "").slice(0, -1)];
    if (direction !== "ingress" && direction !== "egress") continue;
    for (const element of elementsOf(set)) {
      const prefix = elementText(element);
      const nothing = { ingress: countOf({}), egress: countOf({}) };
      const inner = isPlainObject(element) && isPlainObject(element.elem) ? element.elem : {};
      const counter = isPlainObject(inner.counter) ? inner.counter : {};
      peers.set(prefix, { ...(peers.get(prefix) ?? nothing), [direction]: countOf(counter) });
    }
  }
  const named = (name: string) =>
    countOf(objectsOf(listed, "counter").find((one) => textAt(one, "name") === name) ?? {});
  return { peers, spoofed: named("spoofed"), foreign: named("foreign") };
}

function countOf(counter: JsonObject): BareCount {
  return { packets: numberAt(counter, "packets") ?? 0, bytes: numberAt(counter, "bytes") ?? 0 };
}
