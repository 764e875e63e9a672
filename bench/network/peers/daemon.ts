// Two daemons of one kind, one on each host, with a device each: started, addressed, ended. What is
// common to all peers; a peer itself is a Recipe.
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runSync, spawnIn, trySync, until } from "../../../test/support/netns.js";
import type { Kind, Path } from "../kind.js";
import type { Lab, LabHost } from "../lab.js";
import { WIRE } from "../wire.js";

const PORT_BASE = 20_000;
const END_PATIENCE_MS = 3000;
const OUTPUT_KEPT = 2000;
/** A bench that is killed hard ends nothing itself; the kernel does it then. */
const DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"];

/** One host's side of a peer. */
export interface End {
  /** 1 is the client, 2 the server. */
  number: 1 | 2;
  namespace: string;
  /** On the wire. */
  address: string;
  /** Through the peer, without a length. */
  overlay: string;
  /** No other lab on this machine has a device of this name. */
  device: string;
  mtu: number;
  /** UDP, the same on both hosts; whose namespaces nobody else uses. */
  port: number;
  /** Of its own, 0700, gone with the lab. */
  folder: string;
  /** The other host's side. */
  other: End;
}

/** How one kind of daemon is run. */
export interface Recipe {
  title: string;
  /** Third byte of its overlay's addresses, and its port; one per recipe. */
  network: number;
  /** Bytes it adds to an IPv4 packet, with the outer IPv4 and UDP header. */
  overhead: number;
  isAvailable(): string | undefined;
  version?(): string;
  /** Writes the files of both ends and gives the command line of each. */
  prepare(client: End, server: End): [string[], string[]];
  /** For settings that a running daemon is told; its device is there. */
  configure?(end: End): Promise<void>;
  /** Files outside of its folder that a killed daemon leaves. */
  leftovers?(end: End): string[];
}

function wireMtu(namespace: string): number {
  const text = runSync(namespace, ["ip", "-json", "link", "show", "dev", WIRE]);
  const mtu = (JSON.parse(text) as { mtu: number }[])[0]?.mtu;
  if (mtu === undefined) throw new Error(`${WIRE} in ${namespace} has no MTU`);
  return mtu;
}

function endOf(lab: Lab, recipe: Recipe, number: 1 | 2): Omit<End, "other"> {
  const { namespace, address }: LabHost = number === 1 ? lab.client : lab.server;
  return {
    number,
    namespace,
    address,
    overlay: `198.19.${recipe.network}.${number}`,
    device: `peer${process.pid.toString(36)}${String.fromCharCode(96 + recipe.network)}${number}`,
    mtu: wireMtu(namespace) - recipe.overhead,
    port: PORT_BASE + recipe.network,
    folder: join(lab.folder, `peer-${recipe.network}-${number}`),
  };
}

/** Both sides; each knows the other. */
function endsOf(lab: Lab, recipe: Recipe): [End, End] {
  const client = endOf(lab, recipe, 1) as End;
  const server = endOf(lab, recipe, 2) as End;
  client.other = server;
  server.other = client;
  return [client, server];
}

const hasDevice = ({ namespace, device }: End) =>
  trySync(namespace, ["ip", "link", "show", "dev", device]).code === 0;

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

/** Starts one daemon and waits for its device. @throws with the daemon's last words */
async function startOne(end: End, argv: string[]): Promise<ChildProcess> {
  const child = spawnIn(end.namespace, [...DIES_WITH_US, ...argv], { LOG_LEVEL: "error" });
  let output = "";
  const keep = (piece: Buffer) => {
    output = `${output}${piece}`.slice(-OUTPUT_KEPT);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const isReady = () => hasEnded(child) || hasDevice(end);
  try {
    await until(`${argv[0]} makes ${end.device}`, isReady);
    if (!hasEnded(child)) return child;
  } catch (error) {
    await endProcess(child.pid);
    throw error;
  }
  throw new Error(`${argv[0]} ended: ${output.trim().replaceAll("\n", "; ")}`);
}

const isAlive = (pid: number) => existsSync(`/proc/${pid}`);

/** Asks a process of ours to end, then makes it. */
async function endProcess(pid: number | undefined): Promise<void> {
  if (pid === undefined) return;
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    for (const end = Date.now() + END_PATIENCE_MS; isAlive(pid) && Date.now() < end; ) {
      try {
        process.kill(pid, signal);
      } catch {
        return;
      }
      await sleep(20);
    }
  }
}

/** What the daemon set by itself stays; adding it again would be refused. */
function address({ namespace, device, overlay, mtu }: End): void {
  runSync(namespace, ["ip", "link", "set", device, "mtu", `${mtu}`, "up"]);
  runSync(namespace, ["ip", "address", "replace", `${overlay}/24`, "dev", device]);
}

function removeLeftovers(recipe: Recipe, ends: [End, End]): void {
  for (const end of ends) {
    for (const path of recipe.leftovers?.(end) ?? []) rmSync(path, { force: true });
  }
}

async function startBoth(recipe: Recipe, ends: [End, End], pids: number[]): Promise<void> {
  process.once("exit", () => removeLeftovers(recipe, ends));
  for (const { folder } of ends) mkdirSync(folder, { mode: 0o700 });
  const [client, server] = recipe.prepare(...ends);
  // The server first: who calls in vain waits for seconds before the next call.
  for (const [end, argv] of [[ends[1], server] as const, [ends[0], client] as const]) {
    const child = await startOne(end, argv);
    pids.push(child.pid as number);
    await recipe.configure?.(end);
    address(end);
  }
}

async function endBoth(recipe: Recipe, ends: [End, End], pids: number[]): Promise<void> {
  for (const pid of pids) await endProcess(pid);
  for (const { folder } of ends) rmSync(folder, { recursive: true, force: true });
  removeLeftovers(recipe, ends);
}

async function setUp(lab: Lab, recipe: Recipe): Promise<Path> {
  const ends = endsOf(lab, recipe);
  const pids: number[] = [];
  try {
    await startBoth(recipe, ends, pids);
  } catch (error) {
    await endBoth(recipe, ends, pids);
    throw error;
  }
  const version = recipe.version?.();
  return { address: ends[1].overlay, pids, ...(version === undefined ? {} : { version }) };
}

/** A carrier made of two daemons. */
export const daemonKind = (recipe: Recipe): Kind => ({
  title: recipe.title,
  isAvailable: recipe.isAvailable,
  setUp: (lab) => setUp(lab, recipe),
  tearDown: (lab, { pids }) => endBoth(recipe, endsOf(lab, recipe), pids),
});
