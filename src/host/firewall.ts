// Finds a firewall that would drop what a mesh forwards or receives: base chains of nftables (also
// those that iptables-nft writes) and the older iptables tables. It looks only; it changes nothing.
import { readFile } from "node:fs/promises";
import { run, runJson, type Where } from "./command.js";
import { HostError } from "./errors.js";
import type { JsonObject } from "./json.js";
import { textAt } from "./json.js";
import { objectsOf, readNft } from "./nft.js";

export interface FirewallObstacle {
  /** "forward": pod traffic; "input": underlay packets that arrive. */
  hook: "forward" | "input";
  /** "nftables ip filter FORWARD" or "iptables-legacy FORWARD". */
  chain: string;
  /** One line: what and what to do. */
  message: string;
}

/** What the traffic looks like that must pass. */
export interface MeshTraffic {
  /** Overlay device; pods' packets are forwarded through it. */
  device: string;
  pools: readonly string[];
  /** UDP port of the tunnel; absent = not UDP. */
  udpPort?: number;
  /** IP protocols of the tunnel where it is not UDP: 4, 41, 47. */
  ipProtocols?: readonly number[];
}

const HOOKS = ["forward", "input"] as const;
/** /proc/net/*_tables_names: the older tables in use. Asking iptables-legacy would create them. */
const LEGACY = [
  { program: "iptables-legacy", names: "/proc/net/ip_tables_names" },
  { program: "ip6tables-legacy", names: "/proc/net/ip6_tables_names" },
] as const;

/**
 * All obstacles that can be seen. Without nft nothing of nftables can be: then only the older ones.
 */
export async function findFirewall(
  traffic: MeshTraffic,
  where: Where = {},
): Promise<FirewallObstacle[]> {
  const nothing: FirewallObstacle[] = [];
  const found = await nftObstacles(traffic, where).catch((error: unknown) => {
    if (error instanceof HostError && error.code === "MESHD_HOST_TOOL_MISSING") return nothing;
    throw error;
  });
  for (const { program, names } of LEGACY) {
    if (await hasFilterTable(names, where)) {
      found.push(...legacyObstacles(program, await legacyRules(program, where), traffic));
    }
  }
  return found;
}

async function nftObstacles(traffic: MeshTraffic, where: Where): Promise<FirewallObstacle[]> {
  const listed = readNft(await runJson(["nft", "-j", "list", "ruleset"], where));
  return rulesetObstacles(listed, traffic);
}

/** Obstacles in a listed rule set (the objects of `nft -j list ruleset`). Pure. */
export function rulesetObstacles(
  listed: readonly JsonObject[],
  traffic: MeshTraffic,
): FirewallObstacle[] {
  const rules = objectsOf(listed, "rule");
  return objectsOf(listed, "chain").flatMap((chain) => {
    const hook = HOOKS.find((name) => name === textAt(chain, "hook"));
    if (hook === undefined || textAt(chain, "type") !== "filter") return [];
    // An accepting rule may stand in any chain that this one jumps to.
    const table = rules.filter((rule) => inTable(rule, chain));
    const own = table.filter((rule) => rule.chain === chain.name);
    const drops = textAt(chain, "policy") === "drop" || own.some(dropsAll);
    if (!drops || table.some((rule) => letsThrough(JSON.stringify(rule), hook, traffic))) return [];
    const name = `${textAt(chain, "family")} ${textAt(chain, "table")} ${textAt(chain, "name")}`;
    return [obstacle(hook, `nftables ${name}`, traffic)];
  });
}

/** Obstacles in the output of `iptables -S`. Pure. */
export function legacyObstacles(
  program: string,
  output: string,
  traffic: MeshTraffic,
): FirewallObstacle[] {
  const lines = output.split("\n");
  return HOOKS.flatMap((hook) => {
    const chain = hook.toUpperCase();
    const rules = lines.filter((line) => line.startsWith("-A "));
    const refuses = new RegExp(`^-A ${chain} -j (DROP|REJECT)`);
    const drops = lines.includes(`-P ${chain} DROP`) || rules.some((line) => refuses.test(line));
    if (!drops || rules.some((line) => letsThrough(line, hook, traffic))) return [];
    return [obstacle(hook, `${program} ${chain}`, traffic)];
  });
}

function inTable(rule: JsonObject, chain: JsonObject): boolean {
  return ["family", "table"].every((key) => rule[key] === chain[key]);
}

/** A rule that ends everything: `drop` or `reject` without a condition. */
function dropsAll(rule: JsonObject): boolean {
  const parts: unknown[] = Array.isArray(rule.expr) ? rule.expr : [];
  const texts = parts.map((part) => JSON.stringify(part));
  return (
    texts.some((text) => /^\{"(drop|reject)"/.test(text)) &&
    !texts.some((text) => /^\{"(match|xt|limit|vmap)"/.test(text))
  );
}

/**
 * Whether a rule looks like an answer to us: it names our device, a pool or our port, and accepts
 * or leads to another chain. Only a packet could tell for sure; a false alarm is worse than none.
 */
function letsThrough(rule: string, hook: "forward" | "input", traffic: MeshTraffic): boolean {
  if (!/accept|jump|goto|"xt"| -j (?!DROP|REJECT)/.test(rule)) return false;
  // A colon after a quote is JSON's, any other one is part of an IPv6 address.
  const words = new Set(rule.replaceAll('":', '" ').split(/[^A-Za-z0-9_.:@+-]+/));
  if (hook === "input") return namesOf(traffic).some((name) => words.has(name));
  const addresses = traffic.pools.map((pool) => pool.split("/")[0] ?? pool);
  return [traffic.device, ...addresses].some((name) => words.has(name));
}

/** How rules name IP protocols, beside their numbers (/etc/protocols). */
const PROTOCOL_NAMES: Readonly<Record<number, string[]>> = {
  4: ["ipencap", "ipip"],
  41: ["ipv6"],
  47: ["gre"],
};

/** Words of a rule that lets the tunnel's packets in. */
function namesOf({ udpPort, ipProtocols = [] }: MeshTraffic): string[] {
  const named = ipProtocols.flatMap((one) => [`${one}`, ...(PROTOCOL_NAMES[one] ?? [])]);
  return [...(udpPort === undefined ? [] : [`${udpPort}`]), ...named];
}

function tunnelName({ udpPort, ipProtocols = [] }: MeshTraffic): string {
  if (udpPort !== undefined) return `UDP ${udpPort}`;
  return ipProtocols.length === 0
    ? "the tunnel's protocol"
    : `IP protocol ${ipProtocols.join(", ")}`;
}

function obstacle(
  hook: "forward" | "input",
  chain: string,
  traffic: MeshTraffic,
): FirewallObstacle {
  if (hook === "forward") {
    const fix = `accept packets from and to device ${traffic.device} and the pools there`;
    const message = `firewall ${chain} drops forwarded packets, so pods may reach nobody; ${fix}`;
    return { hook, chain, message };
  }
  const tunnel = tunnelName(traffic);
  const message = `firewall ${chain} drops by default; accept ${tunnel} from the other nodes there`;
  return { hook, chain, message };
}

async function hasFilterTable(names: string, where: Where): Promise<boolean> {
  try {
    const text =
      where.netns === undefined ? await readFile(names, "utf8") : await run(["cat", names], where);
    return text.split("\n").includes("filter");
  } catch {
    // No such file: the kernel has no older tables at all.
    return false;
  }
}

async function legacyRules(program: string, where: Where): Promise<string> {
  const found = await tryRun([program, "-S"], where);
  // Hosts before the nftables switch have the older program under the plain name.
  return found ?? (await tryRun([program.replace("-legacy", ""), "-S"], where)) ?? "";
}

async function tryRun(argv: string[], where: Where): Promise<string | undefined> {
  return run(argv, where).catch(() => undefined);
}
