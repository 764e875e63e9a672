// A meshd lab of two hosts for measuring, made by bin/meshd as a user would, and taken away with
// everything in it when the bench ends, also by failure or signal.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSync } from "../../test/support/netns.js";

const PROGRAM = "bin/meshd";
const FOLDER = /^meshd-bench-(\d+)$/;
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
/** RFC 2544's range for measurements; the second subnet is the kernel device's overlay. */
const UNDERLAY = "198.18.0.0/24";

export interface LabHost {
  namespace: string;
  /** Underlay address. */
  address: string;
  /** Overlay address of the node itself. */
  overlay: string;
  /** The agent, with all workers. */
  pid: number;
}

export interface Lab {
  client: LabHost;
  server: LabHost;
  /** For files of this run, 0700; goes with the lab. */
  folder: string;
  close(): void;
}

const nameOf = (pid: number | string) => `bench-${pid}`;
const folderOf = (pid: number | string) => join(tmpdir(), `meshd-bench-${pid}`);

/** How the agents' workers are started; nothing given = as the product comes. */
export interface LabCrew {
  workers?: number;
  steering?: "auto" | "off";
  encap?: string;
}

/** The user's own mesh settings must not reach the lab. */
function environment({ steering }: LabCrew = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([key]) => !key.startsWith("MESHD_"));
  const settings = steering === undefined ? {} : { MESHD_STEERING: steering };
  return { ...Object.fromEntries(own), ...settings };
}

function labArguments(command: string, pid: number | string): string[] {
  const roots = ["--state-dir", `${folderOf(pid)}/state`, "--run-dir", `${folderOf(pid)}/run`];
  return [PROGRAM, "lab", command, "--name", nameOf(pid), ...roots];
}

function takeDown(pid: number | string): void {
  if (!existsSync(folderOf(pid))) return;
  const argv = labArguments("down", pid);
  spawnSync(process.execPath, argv, { stdio: "ignore", env: environment(), timeout: 60_000 });
  rmSync(folderOf(pid), { recursive: true, force: true });
}

/** Anybody may make a folder of that name there: another user's is not to be followed. */
function isOurs(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === process.getuid?.();
}

/** Labs of benches that were killed hard. */
export function sweepLeftovers(): void {
  for (const entry of readdirSync(tmpdir())) {
    const owner = FOLDER.exec(entry)?.[1];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    if (isOurs(folderOf(owner))) takeDown(owner);
  }
}

let isArmed = false;

/** Signals end the process by way of "exit", where all that was made is taken away. */
function takeDownAtExit(): void {
  if (isArmed) return;
  isArmed = true;
  process.once("exit", () => takeDown(process.pid));
  for (const [name, number] of Object.entries(SIGNALS)) {
    process.once(name, () => process.exit(128 + number));
  }
}

interface AddressList {
  addr_info: { local: string }[];
}

function overlayOf(namespace: string): string {
  const text = runSync(namespace, ["ip", "-4", "-json", "address", "show", "dev", "mesh0"]);
  const local = (JSON.parse(text) as AddressList[])[0]?.addr_info[0]?.local;
  if (local === undefined) throw new Error(`mesh0 in ${namespace} has no IPv4 address`);
  return local;
}

function hostOf(number: 1 | 2): LabHost {
  const { pid } = process;
  const namespace = `${nameOf(pid)}-n${number}`;
  const pidFile = `${folderOf(pid)}/run/labs/${nameOf(pid)}/n${number}/agent.pid`;
  return {
    namespace,
    address: UNDERLAY.replace("0/24", `${number}`),
    overlay: overlayOf(namespace),
    pid: Number(readFileSync(pidFile, "utf8").split(/\s/)[0]),
  };
}

/**
 * Brings up the lab of this process. One at a time; nothing is left when it fails.
 * @throws with meshd's own words
 */
export function openLab(crew: LabCrew = {}): Lab {
  sweepLeftovers();
  takeDownAtExit();
  mkdirSync(folderOf(process.pid), { mode: 0o700 });
  try {
    return bringUp(crew);
  } catch (error) {
    takeDown(process.pid);
    throw error;
  }
}

function bringUp(crew: LabCrew): Lab {
  const workers = crew.workers === undefined ? [] : ["--workers", `${crew.workers}`];
  const encap = crew.encap === undefined ? [] : ["--encap", crew.encap];
  const shape = ["--nodes", "2", "--pods", "0", "--underlay", UNDERLAY, ...workers, ...encap];
  const argv = [...labArguments("up", process.pid), ...shape];
  const env = environment(crew);
  execFileSync(process.execPath, argv, { stdio: ["ignore", "ignore", "pipe"], env });
  const hosts = { client: hostOf(1), server: hostOf(2) };
  return { ...hosts, folder: folderOf(process.pid), close: () => takeDown(process.pid) };
}
