// The asker: brings two nodes together for each measurement, waits, and gathers what they counted.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BenchError, type ErrorBody, errorOf } from "./errors.js";
import { LOOK_MS, SILENCE_MS } from "./limits.js";
import type { MeasureName, MeasureResult } from "./measures.js";
import {
  type HostFacts,
  type LookAnswer,
  NETWORKS,
  type Network,
  type OpenAnswer,
  type Usage,
} from "./messages.js";

/** One request to a node's agent, and its answer. Refusals are errors with the agent's code. */
export type AskNode = (nodeId: string, request: object) => Promise<unknown>;

export interface BenchPlan {
  /** Node ids. */
  from: string;
  to: string;
  measures: readonly MeasureName[];
  /** Of one transfer. */
  seconds: number;
  /** TCP's congestion control; absent: the sending host's. */
  congestion?: string;
  onStep?: (text: string) => void;
}

/** What an agent used during one measurement. */
export interface AgentCost {
  cpu_s: number;
  resident_bytes: number;
}

/** One measurement on one network. */
export interface BenchRun {
  measure: MeasureName;
  network: Network;
  result?: MeasureResult;
  error?: ErrorBody;
  agents: { from: AgentCost; to: AgentCost };
}

export type NetworkAnswer = { from: string; to: string } | { refused: string };

export interface BenchReport {
  time: string;
  seconds: number;
  congestion: string;
  from: HostFacts;
  to: HostFacts;
  networks: Record<Network, NetworkAnswer>;
  runs: BenchRun[];
}

interface Both<T> {
  from: T;
  to: T;
}

interface Opened extends Both<OpenAnswer> {
  session: string;
}

class Bench {
  constructor(
    private readonly ask: AskNode,
    private readonly plan: BenchPlan,
  ) {}

  async run(): Promise<BenchReport> {
    let first: Opened | undefined;
    const runs: BenchRun[] = [];
    for (const measure of this.plan.measures) {
      first = await this.inSession(first, async (opened) => {
        for (const network of allowedIn(opened)) {
          this.plan.onStep?.(`${measure} over the ${network}`);
          runs.push(await this.measure(opened, measure, network));
        }
      });
    }
    if (first === undefined) throw new BenchError("MESHD_BAD_REQUEST", "nothing is to be measured");
    return this.report(first, runs);
  }

  /** A session on both nodes for as long as `use` takes; it is closed whatever happens. */
  private async inSession(
    before: Opened | undefined,
    use: (opened: Opened) => Promise<void>,
  ): Promise<Opened> {
    const session = randomBytes(16).toString("hex");
    const { from, to } = this.plan;
    try {
      const open = async (nodeId: string, role: string, peer: string) =>
        (await this.ask(nodeId, { do: "open", session, role, peer })) as OpenAnswer;
      const serving = await open(to, "serve", from);
      const opened = { session, to: serving, from: await open(from, "drive", to) };
      await use(opened);
      return before ?? opened;
    } finally {
      const close = (nodeId: string) => this.ask(nodeId, { do: "close", session });
      await Promise.allSettled([close(from), close(to)]);
    }
  }

  private async measure(
    { session, to }: Opened,
    measure: MeasureName,
    network: Network,
  ): Promise<BenchRun> {
    const { seconds, congestion = "" } = this.plan;
    const way = to.networks[network];
    const before = await this.look(session);
    const usage = (one: Both<LookAnswer>) => ({ from: one.from.usage, to: one.to.usage });
    if (!("address" in way)) throw new BenchError("MESHD_BENCH_REFUSED", way.refused);
    const task = { network, measure, seconds, congestion, port: way.port, secret: to.secret };
    await this.ask(this.plan.from, { do: "run", session, ...task });
    let now: Both<LookAnswer>;
    do {
      await sleep(LOOK_MS);
      now = await this.look(session);
    } while (now.from.state === "running");
    const { result, error } = now.from;
    return {
      ...{ measure, network },
      ...(result === undefined ? {} : { result }),
      ...(error === undefined ? {} : { error }),
      agents: costs(usage(before), usage(now)),
    };
  }

  private async look(session: string): Promise<Both<LookAnswer>> {
    const one = async (nodeId: string) =>
      (await patiently(() => this.ask(nodeId, { do: "look", session }))) as LookAnswer;
    const [from, to] = await Promise.all([one(this.plan.from), one(this.plan.to)]);
    return { from, to };
  }

  private report(opened: Opened, runs: BenchRun[]): BenchReport {
    const answers = NETWORKS.map((network): [Network, NetworkAnswer] => {
      const from = networkOf(opened, network);
      const to = opened.to.networks[network];
      if ("refused" in from) return [network, from];
      return [network, { from: from.address, to: "address" in to ? to.address : "" }];
    });
    return {
      time: new Date().toISOString(),
      seconds: this.plan.seconds,
      congestion: this.plan.congestion ?? opened.from.host.congestionControl,
      from: opened.from.host,
      to: opened.to.host,
      networks: Object.fromEntries(answers) as Record<Network, NetworkAnswer>,
      runs,
    };
  }
}

/**
 * A connection to NATS that breaks and comes back ends no measurement: packets flow meanwhile. An
 * agent that dies with a question in its hands lets it pass: asked once more, nobody hears it.
 */
async function patiently(ask: () => Promise<unknown>): Promise<unknown> {
  const end_ms = performance.now() + SILENCE_MS;
  let isUnanswered = false;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      const isOnce: boolean = code === "MESHD_TIMEOUT" && !isUnanswered;
      if (isOnce) isUnanswered = true;
      else if (code !== "MESHD_NO_NATS" || performance.now() > end_ms) throw error;
      await sleep(LOOK_MS);
    }
  }
}

/** @throws BenchError MESHD_BENCH_REFUSED when there is none that both allow */
function allowedIn(opened: Opened): Network[] {
  const allowed = NETWORKS.filter((network) => "address" in networkOf(opened, network));
  const overlay = networkOf(opened, "overlay");
  if (allowed.length > 0 || !("refused" in overlay)) return allowed;
  throw new BenchError("MESHD_BENCH_REFUSED", overlay.refused);
}

/** The sending node's address there, or why one of both refuses. */
function networkOf({ from, to }: Opened, network: Network) {
  const [ours, theirs] = [from.networks[network], to.networks[network]];
  return "refused" in ours || !("refused" in theirs) ? ours : theirs;
}

function costs(before: Both<Usage>, after: Both<Usage>): Both<AgentCost> {
  const cost = (side: "from" | "to") => ({
    cpu_s: after[side].cpu_s - before[side].cpu_s,
    resident_bytes: after[side].resident_bytes,
  });
  return { from: cost("from"), to: cost("to") };
}

/**
 * Measures between two nodes, one session for each measure, so that none lasts long. A measure that
 * fails is in the report with its error.
 * @throws what a node refuses a session with, and the first error when every measure failed
 */
export async function runBench(ask: AskNode, plan: BenchPlan): Promise<BenchReport> {
  if (plan.from === plan.to) {
    const what = "a bench needs two nodes, and these are the same one";
    throw new BenchError("MESHD_BAD_REQUEST", what);
  }
  const report = await new Bench(ask, plan).run();
  const [first] = report.runs;
  if (first?.error !== undefined && report.runs.every((one) => one.error !== undefined)) {
    throw errorOf(first.error);
  }
  return report;
}
