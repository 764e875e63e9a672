// Links (network devices): list, set, add veth pairs, delete. One `ip` call each.
import { quote, type RunOptions, run, runJson, type Where } from "./command.js";
import { HostError } from "./errors.js";
import { isPlainObject, type JsonObject, numberAt, objectsIn, textAt, textsAt } from "./json.js";

export interface Link {
  index: number;
  name: string;
  /** "veth", "tun", "bridge", "vxlan"...; undefined for hardware and loopback. */
  kind: string | undefined;
  /** Bytes of the largest IP packet. */
  mtu: number;
  /** Administratively up. */
  up: boolean;
  /** "UP", "DOWN", "UNKNOWN", "LOWERLAYERDOWN": the operational state. */
  operState: string;
  mac: string | undefined;
  /** Largest super-packet in bytes that the stack hands this device. */
  gsoMaxSize: number | undefined;
  /** Packets its transmit queue holds; for a TUN device those its reader has not taken yet. */
  queueLength: number | undefined;
  /** Index of the veth peer in its own namespace; undefined when that is this namespace too. */
  peerIndex: number | undefined;
  /** How IPv6 link-local addresses come about: "eui64", "none", "random", ... */
  addressMode: string | undefined;
}

/** What `setLink` may change; an absent field stays as it is. */
export interface LinkSettings {
  up?: boolean;
  mtu?: number;
  /** Bytes, IPv6 and IPv4 alike. */
  gsoMaxSize?: number;
  /** Packets. */
  queueLength?: number;
  mac?: string;
  /** "none": the kernel makes no IPv6 link-local address by itself. */
  addressMode?: "none" | "eui64";
}

export interface VethOptions {
  name: string;
  peerName: string;
  /** Namespace of the peer end (name or path); absent = the same as `name`. */
  peerNetns?: string;
  mtu?: number;
}

/**
 * Refuses what the kernel refuses (dev_valid_name), and "-x" which `ip` would take for an option.
 */
export function checkDeviceName(name: string): string {
  if (/^[A-Za-z0-9_.][A-Za-z0-9_.@+-]{0,14}$/.test(name) && name !== "." && name !== "..")
    return name;
  const rule = "1 to 15 letters, digits or one of '_.@+-'";
  throw new HostError(
    "MESHD_HOST_BAD_VALUE",
    `device name ${quote(name)} refused: allowed are ${rule}`,
  );
}

export async function listLinks(where: Where = {}): Promise<Link[]> {
  return readLinks(await runJson(["ip", "-json", "-details", "link", "show"], where));
}

/** One link, or undefined when there is none of that name. */
export async function findLink(name: string, where: Where = {}): Promise<Link | undefined> {
  const argv = ["ip", "-json", "-details", "link", "show", "dev", checkDeviceName(name)];
  try {
    return readLinks(await runJson(argv, where))[0];
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** True for the answer of `ip` about a device that is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof HostError && /does not exist|Cannot find device/.test(error.stderr);
}

/**
 * Makes a link as wanted; changes only what differs. Says how many settings were changed (0 =
 * no-op). Throws MESHD_HOST_NO_LINK when there is no such link.
 */
export async function setLink(
  name: string,
  wanted: LinkSettings,
  where: Where = {},
): Promise<number> {
  const link = await findLink(name, where);
  if (link === undefined) {
    throw new HostError("MESHD_HOST_NO_LINK", `no network device ${quote(name)} to set up`);
  }
  const lines = linkChanges(link, wanted);
  if (lines.length > 0) await ipBatch(lines, where);
  return lines.length;
}

/** The `ip -batch` lines that lead from a link to what is wanted of it. Pure. */
export function linkChanges(link: Link, wanted: LinkSettings): string[] {
  const set = `link set dev ${checkDeviceName(link.name)}`;
  const lines: string[] = [];
  if (wanted.up === false && link.up) lines.push(`${set} down`);
  // A kernel without IPv6 shows no mode and takes none.
  const mode = link.addressMode;
  if (mode !== undefined && wanted.addressMode !== undefined && wanted.addressMode !== mode) {
    lines.push(`${set} addrgenmode ${wanted.addressMode}`);
  }
  if (wanted.mac !== undefined && wanted.mac.toLowerCase() !== link.mac) {
    lines.push(`${set} address ${checkMac(wanted.mac)}`);
  }
  if (wanted.mtu !== undefined && wanted.mtu !== link.mtu) {
    lines.push(`${set} mtu ${checkNumber("mtu", wanted.mtu, 68, 65_535)}`);
  }
  if (wanted.gsoMaxSize !== undefined && wanted.gsoMaxSize !== link.gsoMaxSize) {
    lines.push(`${set} gso_max_size ${checkNumber("gso_max_size", wanted.gsoMaxSize, 1, 524_280)}`);
  }
  if (wanted.queueLength !== undefined && wanted.queueLength !== link.queueLength) {
    lines.push(`${set} txqueuelen ${checkNumber("txqueuelen", wanted.queueLength, 1, 1_000_000)}`);
  }
  if (wanted.up === true && !link.up) lines.push(`${set} up`);
  return lines;
}

/** Adds a veth pair. Throws MESHD_HOST_COMMAND when a name is taken (stderr "File exists"). */
export async function addVeth(options: VethOptions, where: Where = {}): Promise<void> {
  const mtu =
    options.mtu === undefined ? [] : ["mtu", `${checkNumber("mtu", options.mtu, 68, 65_535)}`];
  const peer = ["peer", "name", checkDeviceName(options.peerName), ...mtu];
  const into = options.peerNetns === undefined ? [] : ["netns", options.peerNetns];
  const own = ["ip", "link", "add", "name", checkDeviceName(options.name), ...mtu];
  await run([...own, "type", "veth", ...peer, ...into], where);
}

/** Deletes a link. False when it was not there. */
export async function deleteLink(name: string, where: Where = {}): Promise<boolean> {
  try {
    await run(["ip", "link", "delete", "dev", checkDeviceName(name)], where);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Runs many `ip` commands in one process. The first one that fails stops it and is named. */
export async function ipBatch(lines: readonly string[], options: RunOptions = {}): Promise<void> {
  try {
    await run(["ip", "-batch", "-"], { ...options, input: `${lines.join("\n")}\n` });
  } catch (error) {
    throw error instanceof HostError ? namingLine(error, lines) : error;
  }
}

/**
 * As ipBatch, but lines that fail do not stop the others; gives "ip LINE: why" for each of them.
 * Throws where `ip` itself cannot be run.
 */
export async function ipBatchAll(
  lines: readonly string[],
  options: RunOptions = {},
): Promise<string[]> {
  try {
    await run(["ip", "-force", "-batch", "-"], { ...options, input: `${lines.join("\n")}\n` });
    return [];
  } catch (error) {
    const failed = error instanceof HostError ? failedLines(error.stderr, lines) : [];
    if (failed.length === 0) throw error;
    return failed;
  }
}

/** `ip -force` says why, and in the next line which one. */
function failedLines(stderr: string, lines: readonly string[]): string[] {
  const said = stderr.trim().split("\n");
  return said.flatMap((text, index) => {
    const number = /^Command failed -:(\d+)/.exec(text)?.[1];
    const line = number === undefined ? undefined : lines[Number(number) - 1];
    return line === undefined ? [] : [`ip ${line}: ${said[index - 1] ?? "refused"}`];
  });
}

/** `ip` says "Command failed -:3": the third line, which is more use than its number. */
function namingLine(error: HostError, lines: readonly string[]): HostError {
  const number = /Command failed -:(\d+)/.exec(error.stderr)?.[1];
  const line = number === undefined ? undefined : lines[Number(number) - 1];
  if (line === undefined) return error;
  const why = error.stderr.trim().split("\n")[0] ?? "";
  const { argv, stderr } = error;
  return new HostError(error.code, `ip ${line}: ${why}`, { argv, stderr, cause: error });
}

export function checkNumber(what: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  const allowed = `a whole number from ${min} to ${max}`;
  throw new HostError("MESHD_HOST_BAD_VALUE", `${what} ${value} refused: allowed is ${allowed}`);
}

function checkMac(mac: string): string {
  if (/^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(mac)) return mac;
  throw new HostError("MESHD_HOST_BAD_VALUE", `${quote(mac)} is no MAC address`);
}

/** The list that `ip -json -details link show` printed. */
export function readLinks(listed: unknown): Link[] {
  return objectsIn(listed).map(readLink);
}

function readLink(object: JsonObject): Link {
  const info = isPlainObject(object.linkinfo) ? object.linkinfo : {};
  return {
    index: numberAt(object, "ifindex") ?? 0,
    name: textAt(object, "ifname") ?? "",
    kind: textAt(info, "info_kind"),
    mtu: numberAt(object, "mtu") ?? 0,
    up: textsAt(object, "flags").includes("UP"),
    operState: textAt(object, "operstate") ?? "UNKNOWN",
    mac: textAt(object, "address"),
    gsoMaxSize: numberAt(object, "gso_max_size"),
    queueLength: numberAt(object, "txqlen"),
    peerIndex: numberAt(object, "link_index"),
    addressMode: textAt(object, "inet6_addr_gen_mode"),
  };
}
