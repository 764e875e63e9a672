// A lab of its own for one suite, driven through bin/meshd as a user would; it goes when the test
// process ends, also after a failure or a signal.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { AgentStatus, DropRow } from "../../src/agent/index.js";
import type { WorkerCounters } from "../../src/datapath/index.js";
import type { LabStatus } from "../../src/lab/index.js";
import {
  createNamespace,
  type Finished,
  inNamespace,
  joinByVeth,
  runSync,
  trySync,
  until,
} from "../support/netns.js";

const COMMAND_LIMIT_MS = 120_000;
/** Of an agent's socket. */
const ANSWER_LIMIT_MS = 20_000;
const UNDERLAY = "192.168.77";

/** Where a meshd command runs: a namespace ("" = the machine's own) and its folders. */
export interface Place {
  namespace: string;
  stateDir: string;
  runDir: string;
}

/** Runs bin/meshd at a place to its end; never throws on exit codes. */
export function meshdAt(place: Place, words: string[], input?: string): Finished {
  const where = ["--state-dir", place.stateDir, "--run-dir", place.runDir];
  const argv = [process.execPath, "bin/meshd", ...words, ...where];
  const options = { timeout_ms: COMMAND_LIMIT_MS, ...(input === undefined ? {} : { input }) };
  if (place.namespace !== "") return trySync(place.namespace, argv, options);
  return runHere(argv);
}

function runHere(argv: string[], env: Record<string, string> = {}): Finished {
  const [file = "", ...rest] = argv;
  const options = { encoding: "utf8" as const, timeout: COMMAND_LIMIT_MS };
  const done = spawnSync(file, rest, { ...options, env: { ...process.env, ...env } });
  return { code: done.status ?? 128, stdout: done.stdout, stderr: done.stderr };
}

function good(words: string[], { code, stdout, stderr }: Finished): string {
  assert.is(code, 0, `meshd ${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** A host on the lab's first bridge that is no node of it. */
export interface Guest {
  namespace: string;
  device: string;
  address: string;
  place: Place;
}

export class MeshLab {
  readonly name: string;
  readonly folder: string;
  readonly control: Place;
  private readonly roots: Place;
  private readonly guests: string[] = [];
  private podAddresses: Map<string, string> | undefined;
  private environment: Record<string, string> | undefined;

  constructor(label: string) {
    this.name = `${label}${process.pid}`;
    this.folder = mkdtempSync(join(tmpdir(), `meshd-${label}-`));
    const [stateDir, runDir] = [join(this.folder, "s"), join(this.folder, "r")];
    this.roots = { namespace: "", stateDir, runDir };
    this.control = this.place("ctl", "control");
    process.on("exit", () => this.remove());
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  }

  private place(namespace: string, folder: string): Place {
    const below = join("labs", this.name, folder);
    return {
      namespace: `${this.name}-${namespace}`,
      stateDir: join(this.roots.stateDir, below),
      runDir: join(this.roots.runDir, below),
    };
  }

  /** Node n1, n2, ...: where its commands run. */
  node(name: string): Place {
    return this.place(name, name);
  }

  /** Namespace of a pod: "n1", "p2". */
  podSpace(node: string, pod: string): string {
    return `${this.name}-${node}-${pod}`;
  }

  get networkSpace(): string {
    return `${this.name}-net`;
  }

  lab(verb: string, ...rest: string[]): Finished {
    return meshdAt(this.roots, ["lab", verb, "--name", this.name, ...rest]);
  }

  /** Brings it up, or mends what is missing. MESHD_TEST_WORKERS=N runs a whole suite with N. */
  up(...argv: string[]): void {
    const workers = process.env.MESHD_TEST_WORKERS;
    const said = workers === undefined || argv.includes("--workers");
    const more = said ? [] : ["--workers", workers];
    good(["lab", "up"], this.lab("up", ...argv, ...more));
  }

  status(): LabStatus {
    return JSON.parse(good(["lab", "status"], this.lab("status", "--json"))) as LabStatus;
  }

  /** Address of one of the lab's own pods in a family; asked once, they keep them. */
  address(node: string, pod: string, family: 4 | 6): string {
    this.podAddresses ??= this.listAddresses();
    const address = this.podAddresses.get(`${node} ${pod} ${family}`);
    assert.ok(address, `${node} ${pod} has no IPv${family} address`);
    return address;
  }

  private listAddresses(): Map<string, string> {
    const entries = this.status().nodes.flatMap((node) =>
      node.pods.flatMap((pod) =>
        pod.addresses.map((address): [string, string] => {
          const family = address.includes(":") ? 6 : 4;
          return [`${node.name} ${pod.name} ${family}`, address];
        }),
      ),
    );
    return new Map(entries);
  }

  /** A command on a node or on the control host, which must succeed: its JSON. */
  ask<T>(place: Place | string, words: string[], input?: string): T {
    const at = typeof place === "string" ? this.node(place) : place;
    return JSON.parse(good(words, meshdAt(at, [...words, "--json"], input))) as T;
  }

  /** A command of the administrator, on the control host. */
  admin<T>(...words: string[]): T {
    return this.ask<T>(this.control, words);
  }

  agent(name: string): AgentStatus {
    return this.ask<AgentStatus>(name, ["status"]);
  }

  /** As `agent`, without a program: for questions that come often. */
  async statusOf(at: string | Place): Promise<AgentStatus> {
    const { runDir } = typeof at === "string" ? this.node(at) : at;
    return (await getJson(join(runDir, "agent.sock"), "/status")) as AgentStatus;
  }

  drops(name: string): DropRow[] {
    return this.ask<DropRow[]>(name, ["drops"]);
  }

  /** What an agent tells Prometheus. */
  metrics(name: string): Promise<string> {
    return getText(join(this.node(name).runDir, "agent.sock"), "/metrics");
  }

  /** The workers' counters, once the identity holds: they are read while probes go on. */
  async counters(name: string): Promise<WorkerCounters[]> {
    const socketPath = join(this.node(name).runDir, "agent.sock");
    let workers: WorkerCounters[] = [];
    const said = () => JSON.stringify(workers.filter((one) => !isBalanced(one)));
    const deadline = Date.now() + 5000;
    do {
      workers = (await getJson(socketPath, "/counters")) as WorkerCounters[];
      assert.ok(
        workers.length > 0 && Date.now() < deadline,
        `${name} is out of balance: ${said()}`,
      );
    } while (!workers.every(isBalanced));
    return workers;
  }

  /** What `lab env` prints, for clients outside. */
  env(): Record<string, string> {
    this.environment ??= JSON.parse(good(["lab", "env"], this.lab("env", "--json"))) as Record<
      string,
      string
    >;
    return this.environment;
  }

  /** A new join token. */
  token(...argv: string[]): string {
    return good(["token"], meshdAt(this.control, ["token", "create", ...argv])).trim();
  }

  /** Puts one more host on the lab's first bridge. */
  addGuest(label: string, addresses?: string[]): Guest {
    const namespace = createNamespace(label);
    this.guests.push(namespace);
    const address = `${UNDERLAY}.${100 + this.guests.length}`;
    const port = `guest${this.guests.length}`;
    const own = { namespace, device: "eth0", addresses: addresses ?? [`${address}/24`] };
    joinByVeth(own, { namespace: this.networkSpace, device: port });
    runSync(this.networkSpace, ["ip", "link", "set", port, "master", "br0"]);
    const [stateDir, runDir] = ["s", "r"].map((kind) => join(this.folder, `${label}-${kind}`));
    const place = { namespace, stateDir: stateDir ?? "", runDir: runDir ?? "" };
    return { namespace, device: "eth0", address, place };
  }

  /** Waits until a node's status fulfils the condition. */
  async untilAgent(
    name: string,
    what: string,
    condition: (status: AgentStatus) => boolean,
    limit_ms = 15_000,
  ): Promise<void> {
    await until(`${name}: ${what}`, () => condition(this.agent(name)), limit_ms);
  }

  /** Waits until every node reaches every peer it has. */
  async untilReachable(...names: string[]): Promise<void> {
    for (const name of names) {
      await this.untilAgent(name, "all peers are reachable", (status) => {
        return status.peersTotal > 0 && status.peersReachable === status.peersTotal;
      });
    }
  }

  /** Takes the lab down, agents of guests first; safe to call again. */
  remove(): void {
    for (const namespace of this.guests) {
      const pids = runHere(["ip", "netns", "pids", namespace]).stdout.split("\n").filter(Boolean);
      if (pids.length > 0) runHere(["kill", "-9", ...pids]);
    }
    this.lab("down");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** One ping each way a size; throws with what did not answer. `size` = bytes of the packet. */
export function assertPings(from: string, to: string, size: number): void {
  const payload = size - (to.includes(":") ? 48 : 28);
  const argv = [
    "ping",
    "-n",
    "-c",
    "2",
    "-i",
    "0.02",
    "-W",
    "2",
    "-M",
    "do",
    "-s",
    `${payload}`,
    to,
  ];
  const { code, stdout, stderr } = trySync(from, argv);
  assert.is(code, 0, `${from} -> ${to}, ${size} bytes: ${stdout}${stderr}`);
}

/** The argv of a command inside a namespace, for spawn. */
export const inside = inNamespace;

/** The kernel's queues overflow on a busy machine. */
const QUEUES = ["DEVICE_QUEUE_FULL", "SOCKET_QUEUE_FULL"];

/** So many come with a start: a packet was sooner than what it needs. */
const EARLY: Partial<Record<string, number>> = {
  ...{ UNKNOWN_PEER: 5, UNKNOWN_CALL: 5, NOT_AUTHENTICATED: 5, NO_CALL: 30 },
};

/**
 * Drops that a mesh at work does not explain: neighbour chatter is multicast, and a probe may come
 * from a node of which the view has not told yet.
 */
export function unexpectedDrops(rows: readonly DropRow[]): DropRow[] {
  return rows.filter(({ reason, packets }) => {
    if (QUEUES.includes(reason)) return false;
    return reason !== "MULTICAST" && packets > (EARLY[reason] ?? 0);
  });
}

/** received + generated = forwarded + consumed + drops, in both directions. */
export function isBalanced({ egress, ingress }: WorkerCounters): boolean {
  return [egress, ingress].every((one) => {
    const dropped = Object.values(one.drops).reduce((sum, { packets }) => sum + packets, 0);
    return one.received + one.generated === one.forwarded + one.consumed + dropped;
  });
}

/** What an agent's socket answers on a path. */
export async function getJson(socketPath: string, path: string): Promise<unknown> {
  return JSON.parse(await getText(socketPath, path));
}

function getText(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    // A connection kept open may be to an agent that has ended since.
    const asked = request({ socketPath, path, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        body += piece;
      });
      response.on("end", () => resolve(body));
    });
    asked.setTimeout(ANSWER_LIMIT_MS, () => asked.destroy(new Error(`no answer on ${socketPath}`)));
    asked.on("error", reject).end();
  });
}
