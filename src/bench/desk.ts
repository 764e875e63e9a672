// The agent's side of a bench: answers administrators' requests, keeps one session at a time and
// its child, and ends both when the time is over or the asker is silent.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { availableParallelism, release } from "node:os";
import { BenchChild } from "./child-process.js";
import { BenchError, bodyOf, type ErrorBody } from "./errors.js";
import { LIFETIME_MS, SECRET_BYTES, SILENCE_MS } from "./limits.js";
import type { MeasureResult } from "./measures.js";
import {
  type BenchRequest,
  type BenchRule,
  type HostFacts,
  type LookAnswer,
  NETWORKS,
  type Network,
  type OpenAnswer,
  parseRequest,
  type Role,
  type Usage,
  type Way,
  type WayAnswer,
  wayBetween,
} from "./messages.js";

/** A host of the mesh as the agent's plan has it. */
export interface BenchEnd {
  name: string;
  overlay: readonly string[];
  underlay: string;
}

export interface BenchOwn extends BenchEnd {
  nodeId: string;
  rule: BenchRule;
  tunnelProtocol: string;
  mtu: number;
}

export interface BenchDeskOptions {
  version: string;
  /** What this node is and allows; asked anew for each request. */
  own(): BenchOwn;
  /** A peer that is a member, else undefined. */
  peer(nodeId: string): BenchEnd | undefined;
  log(event: string, fields?: Record<string, unknown>): void;
  lifetime_ms?: number;
  silence_ms?: number;
}

const CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control";

interface Session {
  id: string;
  peer: string;
  role: Role;
  child: BenchChild;
  ways: Way[];
  startedAt_ms: number;
  /** None before it is ready: its start has a time of its own. */
  lifetime?: NodeJS.Timeout;
  silence?: NodeJS.Timeout;
  state: LookAnswer["state"];
  result?: MeasureResult;
  error?: ErrorBody;
  isEnding: boolean;
}

export class BenchDesk {
  private session: Session | undefined;
  /** Why the session before ended, for an asker who comes back to it. */
  private past: { id: string; reason: string } | undefined;
  private readonly lifetime_ms: number;
  private readonly silence_ms: number;

  constructor(private readonly options: BenchDeskOptions) {
    this.lifetime_ms = options.lifetime_ms ?? LIFETIME_MS;
    this.silence_ms = options.silence_ms ?? SILENCE_MS;
  }

  /** One request of an administrator. @throws BenchError: what, why, what to do */
  async answer(request: unknown): Promise<unknown> {
    const parsed = parseRequest(request);
    if (parsed.do === "open") return this.open(parsed);
    if (parsed.do === "close") return this.close(parsed.session);
    const session = this.ofSession(parsed.session);
    this.refuseIfOff();
    session.silence?.refresh();
    return parsed.do === "run" ? this.run(session, parsed) : this.look(session);
  }

  /** Ends what runs, with the agent. */
  async stop(): Promise<void> {
    if (this.session !== undefined) await this.end(this.session, "stopped");
  }

  private refuseIfOff(): void {
    const { name, rule } = this.options.own();
    if (rule !== "off") return;
    const session = this.session;
    if (session !== undefined) void this.end(session, "refused");
    const what =
      `node ${name} takes part in no bench (its setting bench is off); 'meshd config set bench ` +
      "overlay' or that node's own setting allows it";
    throw new BenchError("MESHD_BENCH_REFUSED", what);
  }

  private ofSession(id: string): Session {
    if (this.session?.id === id && !this.session.isEnding) return this.session;
    const { name } = this.options.own();
    const why = this.past?.id === id ? ` (${this.past.reason})` : "";
    const what = `node ${name} knows no such bench, or it has ended${why}; begin anew`;
    throw new BenchError("MESHD_BENCH_GONE", what);
  }

  private refuseIfBusy(): void {
    const session = this.session;
    if (session === undefined) return;
    const past_ms = performance.now() - session.startedAt_ms;
    const left_s = Math.max(1, Math.ceil((this.lifetime_ms - past_ms) / 1000));
    const what =
      `node ${this.options.own().name} is busy with another bench, which ends in ${left_s} s at ` +
      "the latest; try again then";
    throw new BenchError("MESHD_BENCH_BUSY", what);
  }

  private peerOf(nodeId: string): BenchEnd {
    const peer = this.options.peer(nodeId);
    if (peer !== undefined) return peer;
    const what =
      `node ${this.options.own().name} has no peer with the id ${nodeId.slice(0, 60)}; see ` +
      "'meshd status --peers' there";
    throw new BenchError("MESHD_BENCH_UNKNOWN_PEER", what);
  }

  /** Where both ends can meet, and why not elsewhere. */
  private waysTo(peer: BenchEnd): { ways: Way[]; refusals: Partial<Record<Network, string>> } {
    const own = this.options.own();
    const ways: Way[] = [];
    const refusals: Partial<Record<Network, string>> = {};
    for (const network of NETWORKS) {
      const lists = {
        overlay: [own.overlay, peer.overlay],
        underlay: [[own.underlay], [peer.underlay]],
      };
      const [mine = [], theirs = []] = lists[network];
      const way = wayBetween(network, mine, theirs);
      if (network === "underlay" && own.rule !== "all") {
        refusals[network] =
          `node ${own.name} allows the overlay alone (setting bench: ${own.rule})`;
      } else if (way === undefined) {
        refusals[network] = `nodes ${own.name} and ${peer.name} have no addresses of one family`;
      } else {
        ways.push(way);
      }
    }
    return { ways, refusals };
  }

  private async open(request: Extract<BenchRequest, { do: "open" }>): Promise<OpenAnswer> {
    this.refuseIfOff();
    this.refuseIfBusy();
    const peer = this.peerOf(request.peer);
    const { ways, refusals } = this.waysTo(peer);
    if (ways.length === 0) throw new BenchError("MESHD_BENCH_REFUSED", refusals.overlay ?? "");
    const session = this.begin(request, peer, ways);
    const secret = request.role === "serve" ? randomBytes(SECRET_BYTES).toString("hex") : "";
    try {
      const ports = await session.child.start(request.role, secret, ways);
      if (!session.isEnding) this.arm(session);
      const answers = NETWORKS.map((network): [Network, WayAnswer] => {
        const way = ways.find((one) => one.network === network);
        if (way === undefined) return [network, { refused: refusals[network] ?? "" }];
        return [network, { address: way.own, port: ports[network] ?? 0 }];
      });
      const networks = Object.fromEntries(answers) as Record<Network, WayAnswer>;
      return { host: this.hostFacts(), networks, secret };
    } catch (error) {
      await this.end(session, "failed");
      throw error;
    }
  }

  /** Takes the place of the one session at once, so that a second one is refused. */
  private begin(
    { session: id, role }: Extract<BenchRequest, { do: "open" }>,
    peer: BenchEnd,
    ways: Way[],
  ): Session {
    const child = new BenchChild();
    const session: Session = {
      ...{ id, role, peer: peer.name, child, ways },
      startedAt_ms: performance.now(),
      state: "idle",
      isEnding: false,
    };
    this.session = session;
    this.options.log("bench.begun", { peer: peer.name, role });
    void child.ended.then(() => this.end(session, "process ended"));
    return session;
  }

  /** From its answer on the asker's silence counts, and the session's time. */
  private arm(session: Session): void {
    session.startedAt_ms = performance.now();
    session.lifetime = setTimeout(() => void this.end(session, "time is over"), this.lifetime_ms);
    session.silence = setTimeout(() => void this.end(session, "asker is silent"), this.silence_ms);
  }

  private async end(session: Session, reason: string): Promise<void> {
    clearTimeout(session.lifetime);
    clearTimeout(session.silence);
    if (!session.isEnding) {
      session.isEnding = true;
      this.past = { id: session.id, reason };
      this.options.log("bench.ended", { peer: session.peer, role: session.role, reason });
    }
    await session.child.end();
    if (this.session === session) this.session = undefined;
  }

  private run(session: Session, request: Extract<BenchRequest, { do: "run" }>): LookAnswer {
    if (session.role !== "drive" || session.state === "running") {
      const what = "this session measures nothing, or measures already";
      throw new BenchError("MESHD_BAD_REQUEST", what);
    }
    const { network, measure, seconds, congestion, port, secret } = request;
    session.state = "running";
    delete session.result;
    delete session.error;
    session.child
      .run({ network, measure, seconds, congestion, port, secret })
      .then((result) => {
        session.result = result;
      })
      .catch((error: unknown) => {
        session.error = bodyOf(error);
      })
      .finally(() => {
        session.state = "done";
      });
    return this.look(session);
  }

  private look(session: Session): LookAnswer {
    const { state, result, error } = session;
    const past_ms = performance.now() - session.startedAt_ms;
    return {
      state,
      ...(result === undefined ? {} : { result }),
      ...(error === undefined ? {} : { error }),
      usage: usageNow(),
      left_ms: Math.max(0, Math.round(this.lifetime_ms - past_ms)),
    };
  }

  private async close(id: string): Promise<{ closed: boolean }> {
    const session = this.session;
    if (session === undefined || session.id !== id) return { closed: false };
    await this.end(session, "closed");
    return { closed: true };
  }

  private hostFacts(): HostFacts {
    const own = this.options.own();
    return {
      node: own.name,
      nodeId: own.nodeId,
      version: this.options.version,
      cpus: availableParallelism(),
      kernel: release(),
      congestionControl: congestionControl(),
      tunnelProtocol: own.tunnelProtocol,
      mtu: own.mtu,
    };
  }
}

/** All threads of this process; its children are not in it. */
function usageNow(): Usage {
  const { user, system } = process.cpuUsage();
  return { cpu_s: (user + system) / 1e6, resident_bytes: process.memoryUsage.rss() };
}

function congestionControl(): string {
  try {
    return readFileSync(CONGESTION, "utf8").trim();
  } catch {
    return "unknown";
  }
}
