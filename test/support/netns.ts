// Network namespaces, veth pairs and processes for tests. Everything made here is taken away when
// the test process ends, also after a failure or a signal; what a killed run left is swept by the
// next one.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { atEnd } from "./ends.js";

export { until } from "./wait.js";

const NAMESPACE_DIR = "/run/netns";
/**
 * Every name begins with this and the owner's pid, so that a leftover can be told from a live one.
 */
const OWN_PREFIX = "mt";
const LEFTOVER = /^mt(\d+)-/;

const namespaces = new Set<string>();
const children = new Set<ChildProcess>();
let serial = 0;
let guarded = false;

/** What a finished command left: exit code (128 + signal when killed) and both outputs. */
export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * One end of a veth pair: its namespace, device name (at most 15 bytes) and addresses with length.
 */
export interface VethEnd {
  namespace: string;
  device: string;
  addresses?: string[];
  mtu?: number;
}

export interface RunOptions {
  input?: string;
  timeout_ms?: number;
  env?: Record<string, string>;
}

/** A name nobody else uses on this machine: `mt<pid>-<label><n>`. Not for devices (15 bytes). */
export function uniqueName(label: string): string {
  serial += 1;
  return `${OWN_PREFIX}${process.pid}-${label}${serial}`;
}

/** A device name of at most 15 bytes that no other call in any live process gives. */
export function uniqueDevice(label = "t"): string {
  serial += 1;
  return `${label.slice(0, 4)}${process.pid.toString(36)}${serial.toString(36)}`.slice(0, 15);
}

/** The file that stands for a namespace made by `ip netns`. */
export function namespacePath(name: string): string {
  return `${NAMESPACE_DIR}/${name}`;
}

/** Makes a namespace with its loopback up and says its name. It goes when the process ends. */
export function createNamespace(label = "ns"): string {
  guard();
  const name = uniqueName(label);
  execFileSync("ip", ["netns", "add", name]);
  namespaces.add(name);
  runSync(name, ["ip", "link", "set", "lo", "up"]);
  return name;
}

/** Puts a namespace that the code under test will make on the list of what is taken away. */
export function adoptNamespace(name: string): void {
  guard();
  namespaces.add(name);
}

/** Removes a namespace now. Missing is fine. */
export function deleteNamespace(name: string): void {
  namespaces.delete(name);
  if (existsSync(namespacePath(name))) spawnSync("ip", ["netns", "delete", name]);
}

/** The argv that runs `argv` inside a namespace (name, or path with a slash). */
export function inNamespace(namespace: string, argv: string[]): string[] {
  const path = namespace.includes("/") ? namespace : namespacePath(namespace);
  return ["nsenter", `--net=${path}`, "--", ...argv];
}

/** Runs a command inside a namespace and gives its output; throws when it fails. */
export function runSync(namespace: string, argv: string[], options: RunOptions = {}): string {
  const finished = trySync(namespace, argv, options);
  if (finished.code !== 0) {
    throw new Error(`${argv.join(" ")} in ${namespace}: exit ${finished.code}: ${finished.stderr}`);
  }
  return finished.stdout;
}

/** Runs a command inside a namespace and gives what came of it, failed or not. */
export function trySync(namespace: string, argv: string[], options: RunOptions = {}): Finished {
  const [file, ...rest] = inNamespace(namespace, argv);
  const done = spawnSync(file as string, rest, {
    encoding: "utf8",
    timeout: options.timeout_ms ?? 30_000,
    env: { ...process.env, ...options.env },
    ...(options.input === undefined ? {} : { input: options.input }),
  });
  return { code: done.status ?? 128, stdout: done.stdout ?? "", stderr: done.stderr ?? "" };
}

/** Starts a long-running command inside a namespace; it is killed when the test process ends. */
export function spawnIn(
  namespace: string,
  argv: string[],
  env: Record<string, string> = {},
  stdin: "ignore" | "pipe" = "ignore",
): ChildProcess {
  guard();
  const [file, ...rest] = inNamespace(namespace, argv);
  const child = spawn(file as string, rest, {
    stdio: [stdin, "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

/**
 * What changes from now on in a namespace's links, addresses, routes, rules and nftables, until it
 * is asked for.
 */
export function hostChanges(namespace: string): () => string {
  let said = "";
  const programs = ["ip monitor link address route rule", "nft monitor"];
  const monitors = programs.map((program) => spawnIn(namespace, program.split(" ")));
  for (const { stdout } of monitors) {
    stdout?.on("data", (piece: Buffer) => {
      said += piece;
    });
  }
  return () => {
    for (const child of monitors) child.kill("SIGKILL");
    return said;
  };
}

/**
 * Runs a command inside a namespace without holding up the event loop; never throws on exit codes.
 */
export async function runIn(
  namespace: string,
  argv: string[],
  env: Record<string, string> = {},
): Promise<Finished> {
  const child = spawnIn(namespace, argv, env);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (piece: Buffer) => {
    stdout += piece;
  });
  child.stderr?.on("data", (piece: Buffer) => {
    stderr += piece;
  });
  const code = await new Promise<number>((resolve, fail) => {
    child.once("error", fail);
    child.once("close", (status) => resolve(status ?? 128));
  });
  return { code, stdout, stderr };
}

/** Joins two namespaces by a veth pair, both ends up and addressed (IPv6 without DAD's wait). */
export function joinByVeth(left: VethEnd, right: VethEnd): void {
  const peer = ["peer", "name", right.device, "netns", right.namespace];
  runSync(left.namespace, ["ip", "link", "add", left.device, "type", "veth", ...peer]);
  for (const end of [left, right]) bringUp(end);
}

function bringUp(end: VethEnd): void {
  const device = end.device;
  if (end.mtu !== undefined) {
    runSync(end.namespace, ["ip", "link", "set", device, "mtu", `${end.mtu}`]);
  }
  for (const address of end.addresses ?? []) {
    const noWait = address.includes(":") ? ["nodad"] : [];
    runSync(end.namespace, ["ip", "address", "add", address, "dev", device, ...noWait]);
  }
  runSync(end.namespace, ["ip", "link", "set", device, "up"]);
}

/** True when one ping of the address answers from inside the namespace (size = ICMP payload). */
export function pings(namespace: string, address: string, size = 56, wait_s = 2): boolean {
  const argv = ["ping", "-n", "-c", "1", "-W", `${wait_s}`, "-s", `${size}`, "-M", "do", address];
  return trySync(namespace, argv).code === 0;
}

/** Takes away every process and namespace of this test process. Runs by itself at the end. */
export function cleanUp(): void {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
  for (const name of [...namespaces]) deleteNamespace(name);
}

/** Removes namespaces of test processes that no longer live (they were killed hard). */
function sweepLeftovers(): void {
  if (!existsSync(NAMESPACE_DIR)) return;
  for (const name of readdirSync(NAMESPACE_DIR)) {
    const owner = LEFTOVER.exec(name)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) deleteNamespace(name);
  }
}

function guard(): void {
  if (guarded) return;
  guarded = true;
  sweepLeftovers();
  atEnd(cleanUp);
}
