// What each setting may be: one rule per name, with the sentence that a refusal shows.
import { isIPv4 } from "node:net";
import { hasPort } from "./built.js";
import { canonicalAddress, canonicalPrefix, parsePrefix, widthOf } from "./cidr.js";
import { ControlError } from "./errors.js";
import { defaultConfig, type MeshConfig, type SettingName } from "./settings.js";

interface Rule {
  allowed: string;
  /** The checked value, or undefined when it is not allowed. */
  check: (value: unknown) => unknown;
}

function oneOf(...names: string[]): Rule {
  return { allowed: names.join(", "), check: (value) => names.find((name) => name === value) };
}

function whole(low: number, high: number): Rule {
  const fits = (value: unknown) =>
    typeof value === "number" && Number.isInteger(value) && value >= low && value <= high;
  return {
    allowed: `a whole number from ${low} to ${high}`,
    check: (value) => (fits(value) ? value : undefined),
  };
}

const bool: Rule = {
  allowed: "true or false",
  check: (value) => (typeof value === "boolean" ? value : undefined),
};

function or(name: string | null, rule: Rule): Rule {
  const check = (value: unknown) => (value === name ? name : rule.check(value));
  return { allowed: `${name ?? "null"} or ${rule.allowed}`, check };
}

function prefix(family: 4 | 6): Rule {
  const check = (value: unknown) => {
    const parsed = typeof value === "string" ? parsePrefix(value) : null;
    return parsed?.family === family ? canonicalPrefix(value as string) : undefined;
  };
  return { allowed: `an IPv${family} prefix with no host bits set`, check };
}

const address4: Rule = {
  allowed: "an IPv4 address",
  check: (value) => (typeof value === "string" && isIPv4(value) ? value : undefined),
};

/** Several values, each once; text has commas between them, and "" or "none" is none of them. */
function list(one: Rule, min: number, max: number): Rule {
  const check = (value: unknown) => {
    const text = value === "none" || value === "" ? [] : value;
    const words = typeof text === "string" ? text.split(",").map((word) => word.trim()) : text;
    if (!Array.isArray(words) || words.length < min || words.length > max) return undefined;
    const values = words.map((word) => one.check(word)).filter((each) => each !== undefined);
    return new Set(values).size === words.length ? values : undefined;
  };
  return { allowed: `${min} to ${max} of ${one.allowed}, commas between them`, check };
}

const address: Rule = {
  allowed: "an IPv4 or IPv6 address",
  check: (value) =>
    typeof value === "string" ? (canonicalAddress(value) ?? undefined) : undefined,
};

/** IFNAMSIZ is 16 with its zero byte; the kernel refuses "/", ":" and white space. */
const device: Rule = {
  allowed: "an interface name (1 to 15 characters)",
  check: (value) =>
    typeof value === "string" && /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$/.test(value)
      ? value
      : undefined,
};

const rules: { [name in SettingName]: Rule } = {
  routingMode: oneOf("tunnel", "native"),
  tunnelProtocol: oneOf("vxlan", "geneve", "ipip", "gre", "udp", "pptp"),
  tunnelPort: whole(0, 65_535),
  vni: or("identity", whole(1, 0xff_ffff)),
  encapMode: oneOf("always", "crossSubnet"),
  autoDirectNodeRoutes: bool,
  ipv4NativeRoutingCIDR: or(null, prefix(4)),
  ipv6NativeRoutingCIDR: or(null, prefix(6)),
  clusterPoolIPv4PodCIDR: or(null, prefix(4)),
  clusterPoolIPv4MaskSize: whole(8, 30),
  clusterPoolIPv6PodCIDR: or(null, prefix(6)),
  clusterPoolIPv6MaskSize: whole(16, 126),
  masquerade: bool,
  mtu: or("auto", whole(576, 65_535)),
  underlayAddress: or(null, address),
  underlayInterface: or(null, device),
  underlayProtocol: oneOf("auto", "ipv4", "ipv6"),
  udpChecksum: bool,
  workers: whole(1, 32),
  dscp: or("inherit", whole(0, 63)),
  greKey: or(null, whole(0, 0xffff_ffff)),
  greChecksum: bool,
  greSequence: bool,
  pptpAuth: list(oneOf("ms-chap-v2", "ms-chap-v1", "chap-md5", "pap"), 1, 4),
  pptpEncryption: oneOf("required-128", "required", "optional", "off"),
  pptpStateful: bool,
  pptpWindow: oneOf("advertised", "strict", "off"),
  pptpDns: list(address4, 0, 2),
  pptpNbns: list(address4, 0, 2),
  leaseQuarantine: whole(0, 31_536_000),
  bench: oneOf("off", "overlay", "all"),
};

/** Settings that became each node's own: in older records of the mesh they count for nothing. */
const perNode: ReadonlySet<string> = new Set(["pptpServer", "pptpFilter"]);

/** "24" and "true" as typed on a command line or in a variable. */
function fromText(value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (/^-?\d{1,15}$/.test(value)) return Number(value);
  const words: Record<string, unknown> = { true: true, false: false, null: null, none: null };
  return Object.hasOwn(words, value) ? words[value] : value;
}

function badSetting(name: string, value: unknown, allowed: string): ControlError {
  const shown = JSON.stringify(value)?.slice(0, 80) ?? String(value);
  return new ControlError("MESHD_BAD_SETTING", `${name}: ${shown} is not allowed; use ${allowed}`);
}

/**
 * Checks one setting and returns it in canonical form. Text as typed ("24", "true", "null") is
 * understood. MESHD_BAD_SETTING names the key, the value and what is allowed.
 */
export function checkSetting(
  name: string,
  value: unknown,
): { name: SettingName; value: MeshConfig[SettingName] } {
  if (perNode.has(name)) {
    const what = `${name} is a setting of one node: give it to that node's agent`;
    throw new ControlError("MESHD_BAD_SETTING", what);
  }
  if (!Object.hasOwn(rules, name)) {
    const known = Object.keys(rules).join(", ");
    const what = `${name.slice(0, 80)} is no setting; there are ${known}`;
    throw new ControlError("MESHD_BAD_SETTING", what);
  }
  const known = name as SettingName;
  const rule = rules[known];
  const checked = rule.check(value) ?? rule.check(fromText(value));
  const absent = rule.check(null) === null && fromText(value) === null;
  if (checked === undefined && !absent) throw badSetting(name, value, rule.allowed);
  return { name: known, value: (checked ?? null) as MeshConfig[SettingName] };
}

/** Fills in defaults and checks each setting and how they fit together. MESHD_BAD_SETTING. */
export function completeConfig(partial: Record<string, unknown>): MeshConfig {
  const config: Record<string, unknown> = { ...defaultConfig };
  for (const [name, value] of Object.entries(partial)) {
    if (value !== undefined && !perNode.has(name)) config[name] = checkSetting(name, value).value;
  }
  const complete = config as unknown as MeshConfig;
  checkPool(complete, "clusterPoolIPv4PodCIDR", "clusterPoolIPv4MaskSize");
  checkPool(complete, "clusterPoolIPv6PodCIDR", "clusterPoolIPv6MaskSize");
  if (!complete.clusterPoolIPv4PodCIDR && !complete.clusterPoolIPv6PodCIDR) {
    throw badSetting("clusterPoolIPv4PodCIDR", null, "a pool in at least one family");
  }
  return complete;
}

/** A pool is cut into at most 2^24 PodCIDRs, each with room for a node address and a pod. */
function checkPool(
  config: MeshConfig,
  poolName: "clusterPoolIPv4PodCIDR" | "clusterPoolIPv6PodCIDR",
  sizeName: "clusterPoolIPv4MaskSize" | "clusterPoolIPv6MaskSize",
): void {
  const pool = config[poolName] === null ? null : parsePrefix(config[poolName]);
  if (!pool) return;
  const least = pool.length;
  const most = Math.min(least + 24, widthOf(pool.family) - 2);
  const size = config[sizeName];
  if (least > most || size < least || size > most) {
    throw badSetting(sizeName, size, `${least} to ${most} for the pool ${config[poolName]}`);
  }
}

/** UDP ports by protocol: Linux's and Cilium's 8472, RFC 8926's 6081, flannel's 8285. */
const defaultPorts = { vxlan: 8472, geneve: 6081, udp: 8285, ipip: 0, gre: 0, pptp: 0 };

/** UDP port in use: tunnelPort, or the protocol's default; 0 = the protocol has no ports. */
export function tunnelPortOf(config: MeshConfig): number {
  if (!hasPort(config.tunnelProtocol)) return 0;
  return config.tunnelPort || defaultPorts[config.tunnelProtocol];
}
