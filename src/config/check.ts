// Checks values one by one and together; says which key, which value, and what is allowed.
import { ConfigError } from "./errors.js";
import { addressBits, type Kind } from "./kinds.js";
import { MASK4_MAX, MASK6_MAX, POOL_BITS_MAX } from "./limits.js";
import { SETTINGS, type SettingName, type Settings, settingNames } from "./settings.js";

/** A value as text for a message: quoted, one line, cut at 60 characters. */
export function show(given: unknown): string {
  const full = JSON.stringify(given) ?? String(given);
  return full.length > 60 ? `${full.slice(0, 57)}...` : full;
}

/**
 * The canonical value of one setting.
 * @param key how the operator named it ("--mtu", "MESHD_MTU", "mtu in /etc/meshd/meshd.yaml").
 * @throws ConfigError MESHD_CONFIG_BAD_VALUE
 */
export function checkValue<T>(kind: Kind<T>, key: string, given: unknown): T {
  const value = kind.parse(given);
  if (value !== undefined) return value;
  throw new ConfigError(
    "MESHD_CONFIG_BAD_VALUE",
    `${key}: value ${show(given)} is refused, allowed: ${kind.allowed}`,
  );
}

/** Checks a setting by its name: see {@link checkValue}. */
export function checkSetting<N extends SettingName>(
  name: N,
  given: unknown,
  key: string = name,
): NonNullable<Settings[N]> {
  return checkValue(SETTINGS[name].kind as Kind<NonNullable<Settings[N]>>, key, given);
}

/** @throws ConfigError MESHD_CONFIG_UNKNOWN_KEY with the nearest name there is. */
export function unknownKey(key: string, known: readonly string[]): ConfigError {
  const near = nearest(key, known);
  const hint = near === undefined ? `allowed: ${known.join(", ")}` : `did you mean ${near}?`;
  return new ConfigError(
    "MESHD_CONFIG_UNKNOWN_KEY",
    `${key.slice(0, 80)}: there is no such setting; ${hint}`,
  );
}

/** Whether `given` is the name of a setting. */
export function isSettingName(given: string): given is SettingName {
  return settingNames.some((name) => name === given);
}

/** The known word that differs least, when it differs little. */
export function nearest(given: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = 1 + Math.max(2, Math.floor(given.length / 3));
  for (const word of known) {
    const distance = editDistance(given.toLowerCase(), word.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [word, distance];
  }
  return best;
}

function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const change = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

/**
 * Checks what only several settings together can tell. `given` says which are not defaults: a
 * node knows its mesh's pools only after it joined, so a default pool is held against nothing.
 * @throws ConfigError MESHD_CONFIG_CONFLICT
 */
export function checkTogether(settings: Settings, given: (name: SettingName) => boolean): void {
  checkPool(4, settings.clusterPoolIPv4PodCIDR, settings.clusterPoolIPv4MaskSize, MASK4_MAX);
  checkPool(6, settings.clusterPoolIPv6PodCIDR, settings.clusterPoolIPv6MaskSize, MASK6_MAX);
  if (settings.clusterPoolIPv4PodCIDR === null && settings.clusterPoolIPv6PodCIDR === null) {
    throw conflict(
      "clusterPoolIPv4PodCIDR and clusterPoolIPv6PodCIDR are both null; a mesh needs one of them",
    );
  }
  if (settings.underlayAddress === null) return;
  const names = ["clusterPoolIPv4PodCIDR", "clusterPoolIPv6PodCIDR"] as const;
  const pools = names.filter(given).map((name) => settings[name]);
  checkUnderlay(settings, settings.underlayAddress, pools);
}

function checkPool(family: 4 | 6, pool: string | null, maskSize: number, most: number): void {
  if (pool === null) return;
  const length = Number(pool.split("/")[1]);
  const names = `clusterPoolIPv${family}MaskSize`;
  const top = Math.min(most, length + POOL_BITS_MAX);
  if (maskSize < length || maskSize > top) {
    throw conflict(
      `${names}: value ${maskSize} does not fit clusterPoolIPv${family}PodCIDR ${pool}, ` +
        `allowed: ${length} to ${top}`,
    );
  }
}

/** An underlay inside a pool would send tunnel packets into the tunnel. */
function checkUnderlay(
  settings: Settings,
  underlay: string,
  pools: readonly (string | null)[],
): void {
  const inside = pools.find((pool) => pool !== null && contains(pool, underlay));
  if (typeof inside === "string") {
    throw conflict(`underlayAddress: ${underlay} is inside the pod pool ${inside}; choose another`);
  }
  const family = underlay.includes(":") ? "ipv6" : "ipv4";
  if (settings.underlayProtocol !== "auto" && settings.underlayProtocol !== family) {
    throw conflict(
      `underlayAddress: ${underlay} is no address of underlayProtocol ${settings.underlayProtocol}`,
    );
  }
}

/** Whether a network in CIDR form holds an address; one of the other family it does not. */
export function contains(network: string, address: string): boolean {
  const [base = "", length] = network.split("/");
  if (base.includes(":") !== address.includes(":")) return false;
  const shift = BigInt((base.includes(":") ? 128 : 32) - Number(length));
  return addressBits(base) >> shift === addressBits(address) >> shift;
}

function conflict(message: string): ConfigError {
  return new ConfigError("MESHD_CONFIG_CONFLICT", message);
}
