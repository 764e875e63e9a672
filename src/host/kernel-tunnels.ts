// The kernel's own tunnels beside raw sockets of ours: a loaded module answers our peers' packets
// with ICMP errors, a tunnel device that is up takes them a second time. Both are looked for, and
// silenced by an nftables table of ours. Nothing is dropped on input: raw sockets sit behind it.
import { createHash } from "node:crypto";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { run, type Where } from "./command.js";
import { textAt } from "./json.js";
import { listLinks } from "./links.js";
import { listTable, nftTable, objectsOf, removeTable } from "./nft.js";
import { canonicalPrefix, type Family, needAddress, needPrefix } from "./prefix.js";

/** What raw sockets of ours read: packets of these protocols to this address. */
export interface RawTraffic {
  family: Family;
  address: string;
  /** 4 (IPv4 inside), 41 (IPv6 inside), 47 (GRE). */
  ipProtocols: readonly number[];
}

/** What of the kernel takes part in them. */
export interface KernelTunnels {
  /** Loaded modules that answer "port unreachable" where no device of theirs takes a packet. */
  modules: string[];
  /** Tunnel devices that are up; the fallback ones (tunl0, sit0...) take what no other does. */
  devices: string[];
}

const MODULES = [
  { name: "tunnel4", family: 4, ipProtocols: [4, 41] },
  { name: "tunnel6", family: 6, ipProtocols: [4, 41] },
  { name: "ip_gre", family: 4, ipProtocols: [47] },
  { name: "ip6_gre", family: 6, ipProtocols: [47] },
] as const;

/** Kinds of tunnel devices as rtnetlink names them. */
const KINDS = [
  { kind: "ipip", family: 4, ipProtocol: 4 },
  { kind: "sit", family: 4, ipProtocol: 41 },
  { kind: "gre", family: 4, ipProtocol: 47 },
  { kind: "gretap", family: 4, ipProtocol: 47 },
  { kind: "ip6tnl", family: 6, ipProtocol: 4 },
  { kind: "ip6tnl", family: 6, ipProtocol: 41 },
  { kind: "ip6gre", family: 6, ipProtocol: 47 },
  { kind: "ip6gretap", family: 6, ipProtocol: 47 },
] as const;

/** Names of loaded modules among these; `root` is where the kernel shows them. */
async function loaded(names: readonly string[], root: string): Promise<string[]> {
  const found = await Promise.all(
    names.map((name) =>
      access(join(root, name)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return names.filter((_, i) => found[i]);
}

/** Kinds of tunnel devices that read the same packets, each once. */
function kindsFor({ family, ipProtocols }: RawTraffic): string[] {
  const same = KINDS.filter((one) => one.family === family && ipProtocols.includes(one.ipProtocol));
  return [...new Set(same.map(({ kind }) => kind))];
}

/** Looks for modules and devices; `root` stands for /sys/module in tests. */
export async function findKernelTunnels(
  traffic: RawTraffic,
  where: Where = {},
  root = "/sys/module",
): Promise<KernelTunnels> {
  const { family, ipProtocols } = traffic;
  const concerned = MODULES.filter(
    (one) => one.family === family && one.ipProtocols.some((own) => ipProtocols.includes(own)),
  );
  const kinds = kindsFor(traffic);
  const links = await listLinks(where);
  return {
    modules: await loaded(
      concerned.map(({ name }) => name),
      root,
    ),
    devices: links
      .filter(({ kind, up }) => up && kind !== undefined && kinds.includes(kind))
      .map(({ name }) => name),
  };
}

/** What the table is made from. */
export interface SilenceOptions extends RawTraffic {
  /** The overlay device; it names the table. */
  device: string;
  /** Prefixes of the mesh: what comes out of a kernel tunnel from there came to us, too. */
  prefixes: readonly string[];
}

/** `meshd_<device>_raw` */
export function silenceTable(device: string): string {
  return `${nftTable(device)}_raw`;
}

/**
 * Bits from the ICMP header on to the protocol field of the packet that it answers: in IPv4's
 * header, in IPv6's, and in a destination option behind that (the encapsulation limit, RFC 2473).
 */
const ANSWERED_PROTOCOL = { 4: 8 * 17, 6: 8 * 14, behindOption: 8 * 48 } as const;

function errorRules({ family, address, ipProtocols }: RawTraffic): string[] {
  const set = `{ ${[...ipProtocols].sort((a, b) => a - b).join(", ")} }`;
  needAddress(address);
  if (family === 4) {
    const error = `ip saddr ${address} icmp type destination-unreachable icmp code 3`;
    return [`${error} @th,${ANSWERED_PROTOCOL[4]},8 ${set} drop`];
  }
  const error = `ip6 saddr ${address} icmpv6 type destination-unreachable icmpv6 code 4`;
  const option = `@th,${ANSWERED_PROTOCOL[6]},8 60 @th,${ANSWERED_PROTOCOL.behindOption},8`;
  return [`${error} @th,${ANSWERED_PROTOCOL[6]},8 ${set} drop`, `${error} ${option} ${set} drop`];
}

function secondCopyRules(options: SilenceOptions): string[] {
  const kinds = kindsFor(options).map((kind) => `"${kind}"`);
  return ([4, 6] as const).flatMap((family) => {
    const inside = options.prefixes.filter((text) => needPrefix(text).family === family);
    const sources = [...new Set(inside.map(canonicalPrefix))].sort();
    const ip = family === 4 ? "ip" : "ip6";
    return sources.map((source) => {
      return `meta iifkind { ${kinds.join(", ")} } ${ip} saddr ${source} drop`;
    });
  });
}

/** The rule set as text for `nft -f`, and the mark that each rule of it carries. */
export function silenceText(options: SilenceOptions): {
  text: string;
  mark: string;
  rules: number;
} {
  const table = `inet ${silenceTable(options.device)}`;
  const chains = { output: errorRules(options), prerouting: secondCopyRules(options) };
  const hash = createHash("sha256").update(JSON.stringify(chains)).digest("hex").slice(0, 16);
  const mark = `meshd raw ${hash}`;
  const marked = (rules: string[]) => rules.map((rule) => `    ${rule} comment "${mark}"`);
  const lines = [
    `add table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    "  chain output {",
    "    type filter hook output priority 0; policy accept;",
    ...marked(chains.output),
    "  }",
    "  chain prerouting {",
    "    type filter hook prerouting priority -300; policy accept;",
    ...marked(chains.prerouting),
    "  }",
    "}",
    "",
  ];
  const rules = chains.output.length + chains.prerouting.length;
  return { text: lines.join("\n"), mark, rules };
}

/** Puts the table in place. False when it was there already as wanted. */
export async function applySilence(options: SilenceOptions, where: Where = {}): Promise<boolean> {
  const { text, mark, rules } = silenceText(options);
  const listed = (await listTable(silenceTable(options.device), where)) ?? [];
  const marks = objectsOf(listed, "rule").map((rule) => textAt(rule, "comment"));
  if (marks.length === rules && marks.every((one) => one === mark)) return false;
  await run(["nft", "-f", "-"], { ...where, input: text });
  return true;
}

/** Removes the table. False when there was none. */
export function removeSilence(device: string, where: Where = {}): Promise<boolean> {
  return removeTable(silenceTable(device), where);
}
