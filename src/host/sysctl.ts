// Settings below /proc/sys/net, of this namespace or of another one. What is changed is remembered,
// so that it can be reported and undone.
import { readFile, writeFile } from "node:fs/promises";
import { quote, run, type Where } from "./command.js";
import { HostError } from "./errors.js";
import type { Family } from "./prefix.js";

const ROOT = "/proc/sys/net";

/** One change: `before` is what the kernel said, `after` what was written. */
export interface SysctlChange {
  key: string;
  before: string;
  after: string;
  netns?: string;
}

/**
 * Keys are paths below /proc/sys/net ("ipv4/conf/eth0.100/proxy_arp"): device names may hold dots,
 * so the dotted form would be ambiguous. Throws MESHD_HOST_BAD_VALUE.
 */
export function sysctlPath(key: string): string {
  const parts = key.split("/");
  const fine = parts.every((part) => /^[A-Za-z0-9_.@+-]+$/.test(part) && !/^\.\.?$/.test(part));
  if (fine && parts.length > 1) return `${ROOT}/${key}`;
  throw new HostError("MESHD_HOST_BAD_VALUE", `${quote(key)} is no path below ${ROOT}`);
}

/** The value, or undefined when the kernel has no such key (IPv6 off, no such device). */
export async function readSysctl(key: string, where: Where = {}): Promise<string | undefined> {
  const path = sysctlPath(key);
  try {
    const text =
      where.netns === undefined ? await readFile(path, "utf8") : await run(["cat", path], where);
    return text.trim();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw wrap(error, `cannot read ${path}`);
  }
}

/** Several values with one program, where another namespace makes one necessary. */
export async function readSysctls(
  keys: readonly string[],
  where: Where = {},
): Promise<(string | undefined)[]> {
  if (where.netns !== undefined && keys.length > 0) {
    const lines = await run(["cat", ...keys.map(sysctlPath)], where).catch(() => "");
    const values = lines.split("\n").slice(0, -1);
    if (values.length === keys.length) return values.map((value) => value.trim());
  }
  // One of them is not there, or they are our own: one by one.
  return Promise.all(keys.map((key) => readSysctl(key, where)));
}

/** Writes those values that differ. Says how many did. */
export async function writeSysctls(
  values: Readonly<Record<string, string | number>>,
  where: Where = {},
): Promise<number> {
  const keys = Object.keys(values);
  const present = await readSysctls(keys, where);
  const differing = keys.filter((key, index) => `${values[key]}` !== present[index]);
  for (const key of differing) await writeSysctl(key, values[key] ?? "", where);
  return differing.length;
}

/** Writes only what differs and says what was changed; undefined = it was so already. */
export async function writeSysctl(
  key: string,
  value: string | number,
  where: Where = {},
): Promise<SysctlChange | undefined> {
  const path = sysctlPath(key);
  const before = await readSysctl(key, where);
  const after = `${value}`;
  if (before === undefined) {
    const why = "no such setting; is the device there, is IPv6 switched off in the kernel?";
    throw new HostError("MESHD_HOST_SYSCTL", `cannot write ${path}: ${why}`);
  }
  if (before === after) return undefined;
  try {
    // tee opens the file inside the namespace: /proc/sys/net shows the reader's own.
    if (where.netns === undefined) await writeFile(path, after);
    else await run(["tee", path], { ...where, input: after });
  } catch (error) {
    throw wrap(error, `cannot set ${path} to ${after}`);
  }
  return { key, before, after, ...where };
}

/** Sets values and keeps the first old value of each, for reports and for `restore`. */
export class SysctlKeeper {
  private readonly kept = new Map<string, SysctlChange>();

  /** `earlier`: changes of a run before this one, as `changes()` gave them. */
  constructor(earlier: readonly SysctlChange[] = []) {
    for (const change of earlier) this.kept.set(mapKey(change.key, change.netns), change);
  }

  /** True when the value had to be changed. */
  async set(key: string, value: string | number, where: Where = {}): Promise<boolean> {
    const change = await writeSysctl(key, value, where);
    if (change === undefined) return false;
    const at = mapKey(key, where.netns);
    const before = this.kept.get(at)?.before ?? change.before;
    this.kept.set(at, { ...change, before });
    return true;
  }

  changes(): SysctlChange[] {
    return [...this.kept.values()];
  }

  /**
   * Puts back what was there, unless somebody changed it since; what has gone (a device, a
   * namespace) is passed over. Says how many values were put back.
   */
  async restore(): Promise<number> {
    let count = 0;
    for (const { key, before, after, netns } of this.changes().reverse()) {
      const where = netns === undefined ? {} : { netns };
      const now = await readSysctl(key, where).catch(() => undefined);
      if (now === after && (await writeSysctl(key, before, where)) !== undefined) count += 1;
    }
    this.kept.clear();
    return count;
  }
}

/**
 * Lets this host forward packets of a family. Says how many values were changed.
 * With IPv6 forwarding on, the kernel ignores router advertisements where accept_ra is 1: the
 * interfaces that live by them (`raDevices`) get 2 first, or the host would lose its default route.
 */
export async function enableForwarding(
  keeper: SysctlKeeper,
  family: Family,
  raDevices: readonly string[] = [],
  where: Where = {},
): Promise<number> {
  if (family === 4) return Number(await keeper.set("ipv4/ip_forward", 1, where));
  let count = 0;
  for (const device of raDevices) {
    const key = `ipv6/conf/${device}/accept_ra`;
    if ((await readSysctl(key, where)) === "1") count += Number(await keeper.set(key, 2, where));
  }
  return count + Number(await keeper.set("ipv6/conf/all/forwarding", 1, where));
}

/** Reverse path filter in force on a device: the kernel takes the larger of "all" and its own. */
export async function rpFilter(device: string, where: Where = {}): Promise<0 | 1 | 2> {
  const all = Number((await readSysctl("ipv4/conf/all/rp_filter", where)) ?? 0);
  const own = Number((await readSysctl(`ipv4/conf/${device}/rp_filter`, where)) ?? 0);
  const value = Math.max(all, own);
  return value === 1 || value === 2 ? value : 0;
}

function mapKey(key: string, netns: string | undefined): string {
  return `${netns ?? ""} ${key}`;
}

function isAbsent(error: unknown): boolean {
  if (error instanceof HostError) return /No such file or directory/.test(error.stderr);
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function wrap(error: unknown, what: string): HostError {
  if (error instanceof HostError && error.code !== "MESHD_HOST_COMMAND") return error;
  const why = error instanceof Error ? error.message : String(error);
  return new HostError("MESHD_HOST_SYSCTL", `${what}: ${why}`, { cause: error });
}
