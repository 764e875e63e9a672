// PPTP filtering (ADR 0037): an interface that takes nothing in but PPTP. A table of its own before
// routing, so that packets to others are judged, too; its sets are changed element by element while
// control connections come and go. ARP is no part of it.
import type { Where } from "./command.js";
import { type JsonObject, numberAt, textAt } from "./json.js";
import { checkDeviceName } from "./links.js";
import {
  applyTable,
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

/** What of the mesh may come in on that interface besides. */
export interface FilteredMesh {
  /** UDP ports of tunnels that are received. */
  udpPorts: readonly number[];
  /** IP protocols of tunnels without UDP: 4, 41, 47. */
  ipProtocols: readonly number[];
  /** TCP ports of NATS servers, here or elsewhere. */
  natsPorts: readonly number[];
  /** Underlay addresses of members and static peers. */
  members: readonly string[];
  /** Prefixes whose packets come bare, without a tunnel (native routing). */
  bare: readonly string[];
}

export interface PptpFilterOptions {
  /** The overlay device; it names the table. */
  overlay: string;
  /** The interface; it need not be there yet. */
  device: string;
  /** Addresses with a control connection that is up: their GRE comes in. */
  callers: readonly string[];
  mesh: FilteredMesh | null;
}

export const REFUSED_KINDS = ["tcp", "udp", "gre", "icmp", "other"] as const;
export type RefusedKind = (typeof REFUSED_KINDS)[number];
/** What was refused, by kind; as the kernel hands packets over. */
export type RefusedCounts = Record<RefusedKind, { packets: number; bytes: number }>;

/** Raised when the rules' text changes its meaning, so that older tables are replaced. */
const RULES_VERSION = 1;
const CHAIN = "gate";
/** Behind defragmentation and connection tracking, before routing. */
const PRIORITY = -150;
const PPTP_PORT = 1723;
/** GRE version 1 (its three lowest flag bits) that carries PPP: RFC 2637, 4.1. */
const ENHANCED_GRE = "@th,13,3 1 @th,16,16 0x880b";
const SETS = FAMILIES.flatMap((family) => [
  { name: `callers${family}`, family },
  { name: `members${family}`, family },
  { name: `bare${family}`, family },
]);

/** `meshd_<device>_pptp`: no device's name can give that one. */
export function pptpFilterTable(overlay: string): string {
  return `${nftTable(overlay)}_pptp`;
}

const listText = (numbers: readonly number[]) =>
  `{ ${[...new Set(numbers)].sort((a, b) => a - b).join(", ")} }`;

const ERRORS = [
  "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
  "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
];
/** To this host itself: nothing is let through to others. */
const HERE = "fib daddr type local";

/** What a host needs to have and keep an address, and to hear that packets did not arrive. */
const UPKEEP = [
  ...ERRORS.map((error) => `${HERE} ${error} accept`),
  "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }" +
    " ip6 hoplimit 255 accept",
  "fib daddr type { local, broadcast } udp sport 67 udp dport 68 accept",
  `${HERE} ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept`,
];

const PPTP = [
  `${HERE} tcp dport ${PPTP_PORT} accept`,
  // Answers to dials of this host: nobody can begin from port 1723.
  `tcp sport ${PPTP_PORT} ct state established ct direction reply accept`,
  `${HERE} ip protocol gre ${ENHANCED_GRE} ip saddr @callers4 accept`,
  `${HERE} ip6 nexthdr gre ${ENHANCED_GRE} ip6 saddr @callers6 accept`,
];

const REFUSALS = [
  ["tcp", "meta l4proto tcp"],
  ["udp", "meta l4proto udp"],
  ["gre", "meta l4proto gre"],
  ["icmp", "meta l4proto { icmp, ipv6-icmp }"],
  ["other", ""],
] as const;

function meshRules({ udpPorts, ipProtocols, natsPorts }: FilteredMesh): string[] {
  const from = ["ip saddr @members4", "ip6 saddr @members6"];
  const nats = `${listText(natsPorts)} accept`;
  const answers = `ct state established ct direction reply tcp sport ${nats}`;
  return [
    // Of pods' own packets that went bare, too.
    ...ERRORS.map((error) => `ct state related ${error} accept`),
    "ip saddr @bare4 accept",
    "ip6 saddr @bare6 accept",
    ...(udpPorts.length === 0
      ? []
      : from.map((f) => `${f} udp dport ${listText(udpPorts)} accept`)),
    ...(ipProtocols.length === 0
      ? []
      : from.map((f) => `${f} meta l4proto ${listText(ipProtocols)} accept`)),
    ...(natsPorts.length === 0 ? [] : [`${HERE} tcp dport ${nats}`, answers]),
  ];
}

function rulesOf({ device, mesh }: PptpFilterOptions): string[] {
  return [
    `iifname != "${checkDeviceName(device)}" accept`,
    ...PPTP,
    ...UPKEEP,
    ...(mesh === null ? [] : meshRules(mesh)),
    ...REFUSALS.map(([kind, match]) => `${match} counter name "refused_${kind}" drop`.trim()),
  ];
}

function mark(options: PptpFilterOptions): string {
  return ruleMark("pptp", [RULES_VERSION, rulesOf(options)]);
}

function elementsWanted(options: PptpFilterOptions, name: string, family: Family): string[] {
  const { callers, mesh } = options;
  const { members = [], bare = [] } = mesh ?? {};
  const all: Record<string, readonly string[]> = { callers, members, bare };
  return ofFamily(all[name.slice(0, -1)] ?? [], family);
}

/** The whole table as text for `nft -f`, its counts at zero. */
export function pptpFilterText(options: PptpFilterOptions): string {
  const comment = `comment "${mark(options)}"`;
  return tableText(pptpFilterTable(options.overlay), [
    ...REFUSED_KINDS.map((kind) => `counter refused_${kind} { }`),
    ...SETS.map(({ name, family }) => setText(name, family, elementsWanted(options, name, family))),
    `chain ${CHAIN} {`,
    `  type filter hook prerouting priority ${PRIORITY}; policy accept;`,
    ...rulesOf(options).map((rule) => `  ${rule} ${comment}`),
    "}",
  ]);
}

/**
 * The text that leads from a listed table to the wanted one: elements alone where rules and sets
 * are as they should be, the whole table else, nothing where nothing differs. Pure.
 */
export function pptpFilterChange(
  options: PptpFilterOptions,
  listed: readonly JsonObject[] | undefined,
): string {
  if (listed === undefined || !hasRules(options, listed)) return pptpFilterText(options);
  const table = pptpFilterTable(options.overlay);
  const lines = SETS.flatMap(({ name, family }) =>
    setChange(table, name, listed, elementsWanted(options, name, family)),
  );
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

function hasRules(options: PptpFilterOptions, listed: readonly JsonObject[]): boolean {
  const wanted = mark(options);
  const rules = objectsOf(listed, "rule");
  const [chain, ...more] = objectsOf(listed, "chain");
  const namesOf = (sort: string) => objectsOf(listed, sort).map((one) => textAt(one, "name"));
  const sets = namesOf("set");
  const counters = namesOf("counter");
  return (
    chain !== undefined &&
    more.length === 0 &&
    textAt(chain, "name") === CHAIN &&
    textAt(chain, "hook") === "prerouting" &&
    textAt(chain, "policy") === "accept" &&
    rules.length === rulesOf(options).length &&
    rules.every((rule) => textAt(rule, "comment") === wanted) &&
    SETS.every(({ name }) => sets.includes(name)) &&
    REFUSED_KINDS.every((kind) => counters.includes(`refused_${kind}`))
  );
}

/** Puts the table in place. False when it was as wanted already. */
export function applyPptpFilter(options: PptpFilterOptions, where: Where = {}): Promise<boolean> {
  const table = pptpFilterTable(options.overlay);
  return applyTable(table, (listed) => pptpFilterChange(options, listed), where);
}

/** Removes the table. False when there was none. */
export function removePptpFilter(overlay: string, where: Where = {}): Promise<boolean> {
  return removeTable(pptpFilterTable(overlay), where);
}

/** What was refused; undefined when there is no table. */
export async function readPptpFilter(
  overlay: string,
  where: Where = {},
): Promise<RefusedCounts | undefined> {
  const listed = await listTable(pptpFilterTable(overlay), where);
  if (listed === undefined) return undefined;
  const counters = objectsOf(listed, "counter");
  const of = (kind: RefusedKind) => {
    const counter = counters.find((one) => textAt(one, "name") === `refused_${kind}`) ?? {};
    return { packets: numberAt(counter, "packets") ?? 0, bytes: numberAt(counter, "bytes") ?? 0 };
  };
  return { tcp: of("tcp"), udp: of("udp"), gre: of("gre"), icmp: of("icmp"), other: of("other") };
}
