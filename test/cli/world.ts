// A world for the command line in tests: output is kept, directories are its own, agents are fake.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Context, runCommandLine } from "../../src/cli/index.js";

export interface Outcome {
  code: number;
  out: string;
  err: string;
  /** Standard output as JSON; undefined when it is none. */
  json: unknown;
}

export interface World {
  dir: string;
  stateDir: string;
  runDir: string;
  run(words: string[], change?: Partial<Context>): Promise<Outcome>;
  remove(): void;
}

/** Directories of its own below the temporary folder, short enough for a socket. */
export function makeWorld(): World {
  const dir = mkdtempSync(join(tmpdir(), "meshd-cli-"));
  const [stateDir, runDir] = [join(dir, "state"), join(dir, "run")];
  mkdirSync(runDir, { recursive: true });
  return {
    dir,
    stateDir,
    runDir,
    run: (words, change) => runIn({ stateDir, runDir }, words, change),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

async function runIn(
  place: { stateDir: string; runDir: string },
  words: string[],
  change: Partial<Context> = {},
): Promise<Outcome> {
  const outcome: Outcome = { code: -1, out: "", err: "", json: undefined };
  const context: Context = {
    out: (text) => {
      outcome.out += text;
    },
    err: (text) => {
      outcome.err += text;
    },
    terminal: false,
    environment: { ...place, MESHD_STATE_DIR: place.stateDir, MESHD_RUN_DIR: place.runDir },
    readInput: () => Promise.resolve(""),
    program: [process.execPath, "bin/meshd"],
    version: "9.9.9",
    runAgent: () => Promise.reject(new Error("no agent in this test")),
    ...change,
  };
  outcome.code = await runCommandLine(words, context);
  try {
    outcome.json = JSON.parse(outcome.out);
  } catch {
    outcome.json = undefined;
  }
  return outcome;
}

export interface Question {
  method: string;
  path: string;
  body: unknown;
}

export interface FakeAgent {
  questions: Question[];
  stop(): Promise<void>;
}

/** Answer of the fake agent: a value for 200, or status and body. */
export type Answers = (question: Question) => unknown;

export class Refused {
  constructor(
    readonly status: number,
    readonly body: unknown,
  ) {}
}

/** A real HTTP server on the agent's socket, with invented answers. */
export async function fakeAgent(runDir: string, answers: Answers): Promise<FakeAgent> {
  const questions: Question[] = [];
  const server = createServer(async (request, response) => {
    const text = await bodyOf(request);
    const question = {
      method: request.method ?? "",
      path: request.url ?? "",
      body: text === "" ? undefined : (JSON.parse(text) as unknown),
    };
    questions.push(question);
    const answer = answers(question);
    const refused = answer instanceof Refused ? answer : new Refused(200, answer);
    response.writeHead(refused.status, { "content-type": "application/json" });
    const { body } = refused;
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await listen(server, join(runDir, "agent.sock"));
  return {
    questions,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
}

/** An agent's whole status, as src/agent/types.ts has it. */
export const STATUS = {
  ready: true,
  pid: 4711,
  version: "0.1.0",
  startedAt: "2026-01-01T00:00:00.000Z",
  node: { id: "UNODE", name: "n1", addresses: ["10.244.0.1"], state: "active" },
  mesh: { id: "0a1b", name: "mesh" },
  nats: {
    connected: true,
    url: "192.0.2.1:4222",
    encrypted: false,
    ends: { credentials: "2026-02-01T00:00:00.000Z", serverCertificate: null, ca: null },
    viewAge_ms: 120,
    viewFrom: "nats",
    viewAt: "2026-01-01T00:00:10.000Z",
    revision: 17,
    error: null,
  },
  routingMode: "tunnel",
  encapMode: "always",
  tunnelProtocol: "vxlan",
  tunnelPort: 8472,
  device: "mesh0",
  mtu: 1450,
  mtuFits: 1450,
  underlay: { address: "192.0.2.1", port: 8472, interface: "eth0", mtu: 1500 },
  lease: { podCIDRs: ["10.244.0.0/24"], epoch: 1 },
  identity: 256,
  peers: [
    {
      name: "n2",
      nodeId: "UPEER",
      kind: "member",
      underlay: "192.0.2.2",
      protocol: "vxlan",
      port: 8472,
      form: { protocol: "vxlan", port: 8472, vni: 6 },
      podCIDRs: ["10.244.1.0/24"],
      identity: 257,
      reachable: "reachable",
      rtt_us: 420,
      lastSeen_ms: 900,
      ways: { ipv4: "tunnel", ipv6: null },
      direct: null,
      mtu: 1230,
      pathState: "complete",
      problem: "the path loses packets larger than 1230 bytes (of 1450)",
    },
    {
      name: "rack",
      nodeId: "",
      kind: "static",
      underlay: "192.0.2.9",
      protocol: "vxlan",
      port: 8472,
      podCIDRs: ["10.9.0.0/24"],
      identity: null,
      reachable: "unreachable",
      rtt_us: null,
      lastSeen_ms: null,
      ways: { ipv4: "tunnel", ipv6: null },
      direct: null,
      mtu: 1450,
      pathState: "search",
      problem: null,
    },
  ],
  peersReachable: 1,
  peersTotal: 2,
  pods: 1,
  workers: [{ index: 0, state: "running", restarts: 1, generation: 4, heap: null }],
  packets: { egress: 10, ingress: 20 },
  bytes: { egress: 1000, ingress: 3_000_000 },
  drops: 3,
  steering: { active: false, cpus: [], reason: "one CPU" },
  lowLatency: { wanted: true, held: false, reason: "no /dev/cpu_dma_latency" },
  raw: null,
  offloads: {
    device: { checksum: true, tso4: true, tso6: true, ecn: true, uso4: false, uso6: false },
    socket: {
      ...{ segmentation: true, receiveOffload: true, checksums: true },
      ...{ sendBuffer: 1, receiveBuffer: 1 },
    },
  },
  refused: [{ key: "peers.bad", revision: 3, reason: "no MAC" }],
  change: {
    ...{ protocol: "geneve", port: 6081, done: 0, total: 1, waiting: [], staying: ["n2"] },
    kept: [{ protocol: "vxlan", port: 8472 }],
  },
  warnings: ["a firewall drops UDP 8472"],
  churn: { published: 1, hostChanges: 2, reconciles: 3 },
};
