// The driving child: opens the connection to the serving one, sends, and has it count.
import { connect, type Socket } from "node:net";
import { BenchError, type ErrorBody, errorOf } from "./errors.js";
import * as limits from "./limits.js";
import { Asker } from "./lines.js";
import type {
  FlowResult,
  MeasureName,
  MeasureResult,
  PingResult,
  SearchResult,
  StreamResult,
} from "./measures.js";
import type { Task, Way } from "./messages.js";
import type { CountAnswer, SinksAnswer, Wish } from "./serve.js";
import { createFlag, raise, type SinkCount, TrafficThread } from "./threads.js";

/** The serving child, as the driving one sees it. */
class Other {
  private constructor(
    readonly way: Way,
    private readonly socket: Socket,
    private readonly asker: Asker,
  ) {}

  /** @throws BenchError MESHD_BENCH_NO_PATH, MESHD_BENCH_SECRET, MESHD_BENCH_TIMEOUT */
  static async reach(way: Way, task: Task): Promise<Other> {
    const socket = connect({ host: way.peer, port: task.port, localAddress: way.own });
    await connected(socket, way, task.port);
    const asker = new Asker(socket);
    const welcome = await asker.ask(task.secret, limits.ANSWER_MS);
    if (welcome !== undefined) return new Other(way, socket, asker);
    const what = `${way.peer} closed the connection: the secret is not that of its session`;
    throw new BenchError("MESHD_BENCH_SECRET", what);
  }

  /** `extra_ms`: how long it may take beside the usual. */
  async wish<T>(wish: Wish, extra_ms = 0): Promise<T> {
    const answer = await this.asker.ask(JSON.stringify(wish), limits.ANSWER_MS + extra_ms);
    if (answer === undefined) {
      const what = "the serving node's bench ended meanwhile; try again";
      throw new BenchError("MESHD_BENCH_GONE", what);
    }
    const { error } = answer as { error?: ErrorBody };
    if (error !== undefined) throw errorOf(error);
    return answer as T;
  }

  close(): void {
    this.socket.destroy();
  }
}

function connected(socket: Socket, { own, peer, network }: Way, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      socket.destroy();
      const what =
        `no connection over the ${network} from ${own} to ${peer} port ${port}: ${why}; is a ` +
        "firewall in the way?";
      reject(new BenchError("MESHD_BENCH_NO_PATH", what));
    };
    const timer = setTimeout(() => fail("no answer"), limits.ANSWER_MS);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeAllListeners("error");
      resolve();
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      fail(error.code ?? error.message);
    });
  });
}

/** From the first to the last that came, over several sinks. */
function spanSeconds(counts: readonly SinkCount[]): number {
  const came = counts.filter((count) => count.bytes > 0);
  if (came.length === 0) return 0;
  const first_us = Math.min(...came.map((count) => count.first_us));
  const last_us = Math.max(...came.map((count) => count.last_us));
  return (last_us - first_us) / 1e6;
}

async function streams(
  other: Other,
  count: number,
  { seconds, congestion }: Task,
): Promise<StreamResult> {
  const { ports, token } = await other.wish<SinksAnswer>({ do: "streams", count });
  const flag = createFlag();
  const { family, own, peer } = other.way;
  const common = {
    kind: "stream-source" as const,
    token: Buffer.from(token, "hex"),
    ...{ flag, family, own, peer, seconds, congestion },
  };
  const sources = ports.map((port) => new TrafficThread<{ sent: number }>({ ...common, port }));
  // All are connected before the first sends.
  await Promise.all(sources.map((source) => source.port()));
  raise(flag);
  const sent = await Promise.all(sources.map((source) => source.result()));
  const { counts } = await other.wish<CountAnswer>({ do: "count" });
  const bytes = counts.reduce((sum, one) => sum + one.bytes, 0);
  const span = spanSeconds(counts);
  return {
    kind: "stream",
    streams: count,
    bytes,
    sentBytes: sent.reduce((sum, one) => sum + one.sent, 0),
    seconds: span,
    gigabitsPerSecond: span > 0 ? (bytes * 8) / span / 1e9 : 0,
  };
}

/** `rate` 0 = as fast as the sender can. */
async function flow(
  other: Other,
  size: number,
  seconds: number,
  rate: number,
): Promise<FlowResult> {
  const { ports, token } = await other.wish<SinksAnswer>({ do: "datagrams" });
  const { family, own, peer } = other.way;
  const source = new TrafficThread<{ sent: number }>({
    kind: "datagram-source",
    token: Buffer.from(token, "hex"),
    ...{ family, own, peer, size, rate, seconds },
    port: ports[0] ?? 0,
  });
  const { sent } = await source.result();
  const { counts } = await other.wish<CountAnswer>({ do: "count" }, limits.DRAIN_MS);
  const received = counts.reduce((sum, one) => sum + one.packets, 0);
  const span = spanSeconds(counts);
  return {
    kind: "flow",
    ...{ size, rate, sent, received },
    bytes: counts.reduce((sum, one) => sum + one.bytes, 0),
    loss: sent > 0 ? Math.max(0, 1 - received / sent) : 1,
    seconds: span,
    packetsPerSecond: span > 0 ? received / span : 0,
  };
}

/** A rate that lost too much gets a second try: a path's limit is not a machine's hiccup. */
async function attempt(other: Other, size: number, seconds: number, rate: number) {
  const first = await flow(other, size, seconds, rate);
  return first.loss <= limits.LOSS_MAX ? first : flow(other, size, seconds, rate);
}

/** The highest rate that loses next to nothing: halves the interval below what a flood brings. */
async function search(other: Other, size: number, seconds: number): Promise<SearchResult> {
  const { STEP_SECONDS_MIN, STEP_SECONDS_MAX, SEARCH_STEPS, LOSS_MAX } = limits;
  const step = Math.min(Math.max(seconds / 4, STEP_SECONDS_MIN), STEP_SECONDS_MAX);
  let high = (await flow(other, size, step, 0)).packetsPerSecond;
  let low = 0;
  const tried: FlowResult[] = [];
  for (let number = 0; number < SEARCH_STEPS; number++) {
    const rate = Math.max(1, Math.round((low + high) / 2));
    const got = await attempt(other, size, step, rate);
    tried.push(got);
    if (got.loss <= LOSS_MAX) low = rate;
    else high = rate;
  }
  // A sender kept from the processor sends at less than the rate asked for: its own rate counts.
  const good = tried.filter((one) => one.loss <= LOSS_MAX);
  const rateOf = (one: FlowResult) => Math.min(one.rate, one.packetsPerSecond);
  const [best] = good.sort((a, b) => rateOf(b) - rateOf(a));
  const none = { size, rate: 0, sent: 0, received: 0, bytes: 0, loss: 0, seconds: 0 };
  return {
    ...(best ?? none),
    packetsPerSecond: best === undefined ? 0 : rateOf(best),
    kind: "search",
    lossMax: LOSS_MAX,
    steps: tried.map(({ rate, sent, received, loss }) => ({ rate, sent, received, loss })),
  };
}

/** The smallest value that at least `percent` per cent do not exceed (nearest rank). */
function percentile(sorted: readonly number[], percent: number): number {
  const rank = Math.ceil((percent / 100) * sorted.length);
  return sorted[Math.min(Math.max(rank, 1), sorted.length) - 1] ?? 0;
}

async function pings({ family, own, peer }: Way, seconds: number): Promise<PingResult> {
  const interval_ms = limits.PING_INTERVAL_MS;
  const count = Math.min(limits.PINGS_MAX, Math.round((seconds * 1000) / interval_ms));
  const identifier = process.pid & 0xffff;
  const job = { kind: "ping", family, own, peer, count, identifier, interval_ms } as const;
  const { times_ns } = await new TrafficThread<{ times_ns: Uint32Array }>(job).result();
  const times_us = [...times_ns].filter((time) => time > 0).map((time) => time / 1000);
  times_us.sort((a, b) => a - b);
  if (times_us.length === 0) {
    const what = `${peer} answers no ping from ${own}; is a firewall in the way?`;
    throw new BenchError("MESHD_BENCH_NO_PATH", what);
  }
  return {
    kind: "ping",
    sent: count,
    answered: times_us.length,
    p50_us: percentile(times_us, 50),
    p90_us: percentile(times_us, 90),
    p99_us: percentile(times_us, 99),
    max_us: times_us[times_us.length - 1] ?? 0,
  };
}

type Measure = (other: Other, task: Task) => Promise<MeasureResult>;

/** A flood shows its rate sooner than a stream does. */
const floodSeconds = (seconds: number) => Math.max(1, Math.round(seconds / 2));

const BY_NAME: Record<MeasureName, Measure> = {
  tcp1: (other, task) => streams(other, 1, task),
  tcp4: (other, task) => streams(other, 4, task),
  udp1400: (other, { seconds }) => flow(other, 1400, floodSeconds(seconds), 0),
  udp1400lossless: (other, { seconds }) => search(other, 1400, seconds),
  udp64: (other, { seconds }) => flow(other, 64, floodSeconds(seconds), 0),
  udp64lossless: (other, { seconds }) => search(other, 64, seconds),
  ping: (other, { seconds }) => pings(other.way, seconds),
};

/** Carries a task out. @throws BenchError */
export async function drive(task: Task, ways: readonly Way[]): Promise<MeasureResult> {
  const way = ways.find((one) => one.network === task.network);
  if (way === undefined) {
    throw new BenchError("MESHD_BENCH_REFUSED", `the ${task.network} is not part of this session`);
  }
  const other = await Other.reach(way, task);
  try {
    return await BY_NAME[task.measure](other, task);
  } finally {
    other.close();
  }
}
