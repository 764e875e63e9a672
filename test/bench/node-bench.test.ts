// `meshd bench` between two desks of this process, over loopback addresses: sessions, refusals and
// what is counted. The same between real nodes is in test/mesh/bench.test.ts.
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import * as fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type AskNode,
  BenchDesk,
  BenchError,
  type BenchOwn,
  type BenchReport,
  benchRows,
  runBench,
} from "../../src/bench/index.js";
import type { LookAnswer, OpenAnswer } from "../../src/bench/messages.js";
import { until } from "../support/netns.js";
import { isRoot } from "../support/root.js";

/** Two hosts of a mesh whose overlay and underlay are loopback addresses. */
class Pair {
  readonly own: Record<"a" | "b", BenchOwn>;
  readonly desks: Record<"a" | "b", BenchDesk>;
  readonly events: string[] = [];

  constructor(limits: { lifetime_ms?: number; silence_ms?: number } = {}) {
    const end = (name: string, last: number): BenchOwn => ({
      ...{ name, nodeId: name, rule: "all", tunnelProtocol: "vxlan", mtu: 1450 },
      overlay: [`127.0.7.${last}`, "::1"],
      underlay: `127.0.8.${last}`,
    });
    this.own = { a: end("a", 1), b: end("b", 2) };
    this.desks = { a: this.desk("a", limits), b: this.desk("b", limits) };
  }

  private desk(name: "a" | "b", limits: object): BenchDesk {
    return new BenchDesk({
      version: "1.2.3",
      own: () => this.own[name],
      peer: (nodeId) => (nodeId === "a" || nodeId === "b" ? this.own[nodeId] : undefined),
      log: (event, fields) => this.events.push(`${name} ${event} ${fields?.reason ?? ""}`.trim()),
      ...limits,
    });
  }

  readonly ask: AskNode = (nodeId, request) => this.desks[nodeId as "a" | "b"].answer(request);

  async stop(): Promise<void> {
    await Promise.all([this.desks.a.stop(), this.desks.b.stop()]);
  }
}

async function withPair(
  body: (pair: Pair) => Promise<void>,
  limits?: { lifetime_ms?: number; silence_ms?: number },
): Promise<void> {
  const pair = new Pair(limits);
  try {
    await body(pair);
  } finally {
    await pair.stop();
  }
}

const newSession = () => randomBytes(8).toString("hex");
const openOf = (peer: string, role: string, session = newSession()) => ({
  ...{ do: "open", session, role, peer },
});

async function refused(work: Promise<unknown>, code: string, says: RegExp): Promise<void> {
  const error = await work.then(
    () => assert.unreachable(`${code} was expected`),
    (thrown: unknown) => thrown,
  );
  assert.instance(error, BenchError);
  assert.is((error as BenchError).code, code);
  assert.match((error as BenchError).message, says);
}

const plan = { from: "a", to: "b", seconds: 1 };
const runOf = (report: BenchReport, network: string, measure: string) => {
  const run = report.runs.find((one) => one.network === network && one.measure === measure);
  assert.is(run?.error, undefined);
  return run?.result;
};

test("streams: every byte that was sent is counted, on both networks", async () => {
  await withPair(async ({ ask }) => {
    const report = await runBench(ask, { ...plan, measures: ["tcp1", "tcp4"] });
    for (const network of ["overlay", "underlay"]) {
      for (const [measure, streams] of [["tcp1", 1] as const, ["tcp4", 4] as const]) {
        const result = runOf(report, network, measure);
        assert.is(result?.kind, "stream");
        if (result?.kind !== "stream") continue;
        assert.is(result.streams, streams);
        assert.ok(result.bytes > 1e6);
        assert.is(result.bytes, result.sentBytes);
        assert.ok(result.seconds > 0 && result.gigabitsPerSecond > 0);
      }
    }
    assert.equal(report.networks.overlay, { from: "127.0.7.1", to: "127.0.7.2" });
    assert.equal(report.networks.underlay, { from: "127.0.8.1", to: "127.0.8.2" });
    const rows = benchRows(report);
    assert.equal(
      rows.map((row) => row.name),
      ["tcp1", "daemons", "sender", "receiver", "resident", "tcp4"],
    );
    for (const row of rows) assert.ok(row.overlay !== null && row.overlay > 0, row.name);
    assert.ok((rows[0]?.ratio ?? 0) > 0);
    assert.is(rows[1]?.underlay, null);
  });
});

test("IPv6 where the hosts have no IPv4", async () => {
  await withPair(async ({ ask, own }) => {
    for (const end of [own.a, own.b]) Object.assign(end, { rule: "overlay", overlay: ["::1"] });
    const report = await runBench(ask, { ...plan, measures: ["tcp1", "udp64"] });
    assert.equal(report.networks.overlay, { from: "::1", to: "::1" });
    const [stream, flow] = [runOf(report, "overlay", "tcp1"), runOf(report, "overlay", "udp64")];
    assert.ok(stream?.kind === "stream" && stream.bytes === stream.sentBytes && stream.bytes > 0);
    assert.ok(flow?.kind === "flow" && flow.received > 0);
  });
});

test("datagrams: loss is what did not arrive; a search gives a rate that lost little", async () => {
  await withPair(async (pair) => {
    pair.own.a.rule = "overlay";
    const measures = ["udp1400", "udp64", "udp64lossless"] as const;
    const report = await runBench(pair.ask, { ...plan, measures });
    assert.match(JSON.stringify(report.networks.underlay), /node a allows the overlay alone/);
    assert.is(report.runs.length, 3);
    for (const size of [64, 1400]) {
      const result = runOf(report, "overlay", `udp${size}`);
      assert.is(result?.kind, "flow");
      if (result?.kind !== "flow") continue;
      assert.ok(result.received > 0 && result.received <= result.sent);
      assert.is(result.bytes, result.received * size);
      assert.ok(Math.abs(result.loss - (1 - result.received / result.sent)) < 1e-9);
    }
    const found = runOf(report, "overlay", "udp64lossless");
    assert.is(found?.kind, "search");
    if (found?.kind !== "search") return;
    assert.is(found.steps.length, 6);
    assert.ok(found.loss <= found.lossMax);
    const carried = found.steps.filter((step) => step.loss <= found.lossMax);
    assert.is(found.packetsPerSecond > 0, carried.length > 0);
  });
});

if (isRoot) {
  test("pings: percentiles rise, and none is lost on loopback", async () => {
    await withPair(async ({ ask }) => {
      const report = await runBench(ask, { ...plan, measures: ["ping"] });
      const result = runOf(report, "overlay", "ping");
      if (result?.kind !== "ping") return assert.unreachable();
      assert.equal([result.sent, result.answered], [500, 500]);
      assert.ok(result.p50_us > 0 && result.p50_us <= result.p90_us);
      assert.ok(result.p90_us <= result.p99_us && result.p99_us <= result.max_us);
    });
  });
}

test("a second session is refused with who is busy, and has its turn afterwards", async () => {
  await withPair(async ({ desks }) => {
    const first = openOf("a", "serve");
    const opening = desks.b.answer(first);
    await refused(desks.b.answer(openOf("a", "serve")), "MESHD_BENCH_BUSY", /node b is busy/);
    await opening;
    await refused(desks.b.answer(openOf("a", "drive")), "MESHD_BENCH_BUSY", /try again/);
    assert.equal(await desks.b.answer({ do: "close", session: newSession() }), { closed: false });
    assert.equal(await desks.b.answer({ ...first, do: "close" }), { closed: true });
    await desks.b.answer(openOf("a", "serve"));
  });
});

test("a node whose setting says off takes part in nothing, and stops what runs", async () => {
  await withPair(async ({ desks, own, ask, events }) => {
    const session = newSession();
    await desks.b.answer(openOf("a", "serve", session));
    own.b.rule = "off";
    const says = /node b takes part in no bench \(its setting bench is off\)/;
    await refused(desks.b.answer({ do: "look", session }), "MESHD_BENCH_REFUSED", says);
    await until("the session ends", () => events.includes("b bench.ended refused"));
    const bench = runBench(ask, { ...plan, measures: ["tcp1"] });
    await refused(bench, "MESHD_BENCH_REFUSED", says);
    own.b.rule = "all";
    await desks.a.answer(openOf("b", "drive"));
  });
});

test("peers that are none, and ends that cannot meet", async () => {
  await withPair(async ({ desks, own, ask }) => {
    const unknown = desks.a.answer(openOf("stranger", "drive"));
    await refused(unknown, "MESHD_BENCH_UNKNOWN_PEER", /node a has no peer with the id stranger/);
    const itself = runBench(ask, { ...plan, to: "a", measures: ["ping"] });
    await refused(itself, "MESHD_BAD_REQUEST", /two nodes/);
    own.a.overlay = [];
    own.a.rule = "overlay";
    const apart = runBench(ask, { ...plan, measures: ["ping"] });
    await refused(apart, "MESHD_BENCH_REFUSED", /no addresses of one family/);
  });
});

async function opened(pair: Pair): Promise<{ session: string; serving: OpenAnswer; port: number }> {
  const session = newSession();
  const serving = (await pair.desks.b.answer(openOf("a", "serve", session))) as OpenAnswer;
  await pair.desks.a.answer(openOf("b", "drive", session));
  const { overlay } = serving.networks;
  return { session, serving, port: "port" in overlay ? overlay.port : 0 };
}

async function outcome(pair: Pair, session: string): Promise<LookAnswer> {
  let now: LookAnswer | undefined;
  await until("the run is done", async () => {
    // As whoever asks does: a desk that is not looked at has lost him. It may be gone itself.
    await pair.desks.b.answer({ do: "look", session }).catch(() => undefined);
    now = (await pair.desks.a.answer({ do: "look", session })) as LookAnswer;
    return now.state === "done";
  });
  return now as LookAnswer;
}

test("a wrong secret opens nothing, and the right one still does", async () => {
  await withPair(async (pair) => {
    const { session, serving, port } = await opened(pair);
    const task = { measure: "tcp1", network: "overlay", seconds: 1, port };
    const run = (secret: string) =>
      pair.desks.a.answer({ do: "run", session, ...task, secret }) as Promise<LookAnswer>;
    await run("0".repeat(64));
    const wrong = await outcome(pair, session);
    assert.is(wrong.error?.code, "MESHD_BENCH_SECRET");
    assert.is(wrong.result, undefined);
    await run(serving.secret);
    const right = await outcome(pair, session);
    assert.is(right.error, undefined);
    assert.is(right.result?.kind, "stream");
    const nowhere = { do: "run", session, ...task, secret: serving.secret, port: 1 };
    await pair.desks.a.answer(nowhere);
    assert.is((await outcome(pair, session)).error?.code, "MESHD_BENCH_NO_PATH");
  });
});

test("a look without an answer is taken once more, and then it is as it is", async () => {
  await withPair(async (pair) => {
    pair.own.a.rule = "overlay";
    /** What becomes of the looks at the receiver, in turn; then they are answered. */
    const outcomeOf = async (...codes: string[]) => {
      const ask: AskNode = (nodeId, request) => {
        const isLook = nodeId === "b" && (request as { do?: string }).do === "look";
        const code = isLook ? codes.shift() : undefined;
        if (code === undefined) return pair.ask(nodeId, request);
        return Promise.reject(Object.assign(new Error("no answer"), { code }));
      };
      const bench = runBench(ask, { ...plan, measures: ["ping"] });
      return bench.then(
        ({ runs }) => runs.length,
        (error: unknown) => (error as { code?: string }).code,
      );
    };
    assert.is(await outcomeOf("MESHD_TIMEOUT"), 1);
    assert.is(await outcomeOf("MESHD_TIMEOUT", "MESHD_BENCH_OFFLINE"), "MESHD_BENCH_OFFLINE");
    assert.is(await outcomeOf("MESHD_TIMEOUT", "MESHD_TIMEOUT"), "MESHD_TIMEOUT");
    assert.is(await outcomeOf("MESHD_BENCH_OFFLINE"), "MESHD_BENCH_OFFLINE");
  });
});

/** Connects from an address, says a line, and gives what came until the end. */
function call(localAddress: string, port: number, line: string): Promise<string> {
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect({ host: "127.0.7.2", port, localAddress }, () => socket.write(line));
    socket.on("data", (bytes) => {
      heard += bytes.toString();
      socket.end();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(heard));
  });
}

test("strangers, and the silent, are cut off without a word; nonsense gets an error", async () => {
  await withPair(async (pair) => {
    const { serving, port } = await opened(pair);
    assert.is(await call("127.0.7.9", port, `${serving.secret}\n`), "");
    assert.is(await call("127.0.7.1", port, "x\n"), "");
    assert.is(await call("127.0.7.1", port, "x".repeat(50_000)), "");
    assert.is(await call("127.0.7.1", port, ""), "");
    assert.match(await call("127.0.7.1", port, `${serving.secret}\n`), /welcome/);
    const silly = `${serving.secret}\n{"do":"streams","count":1e9}\nnull\n{{{\n`;
    assert.match(await call("127.0.7.1", port, silly), /welcome|MESHD_BAD_REQUEST/);
  });
});

const isGone = (port: number) => call("127.0.7.1", port, "x\n").then((heard) => heard === "");

test("a session ends with its asker's silence, at its time's end, and with the agent", async () => {
  await withPair(
    async (pair) => {
      const { session, port } = await opened(pair);
      await until("it is missed", () => pair.events.includes("b bench.ended asker is silent"));
      assert.ok(await isGone(port));
      const look = pair.desks.b.answer({ do: "look", session });
      await refused(look, "MESHD_BENCH_GONE", /has ended \(asker is silent\)/);
    },
    { silence_ms: 300 },
  );
  await withPair(
    async (pair) => {
      const { session } = await opened(pair);
      await until("its time is over", async () => {
        await pair.desks.b.answer({ do: "look", session }).catch(() => undefined);
        return pair.events.includes("b bench.ended time is over");
      });
    },
    { lifetime_ms: 500 },
  );
  await withPair(async (pair) => {
    await opened(pair);
    await pair.stop();
    assert.ok(pair.events.includes("a bench.ended stopped"));
    assert.ok(pair.events.includes("b bench.ended stopped"));
  });
});

test("a serving side that goes away ends the run with its cause", async () => {
  await withPair(async (pair) => {
    const { session, serving, port } = await opened(pair);
    const task = { measure: "tcp1", network: "overlay", seconds: 2, port, secret: serving.secret };
    await pair.desks.a.answer({ do: "run", session, ...task });
    await pair.desks.b.answer({ do: "close", session });
    const { error, result } = await outcome(pair, session);
    assert.is(result, undefined);
    assert.match(error?.code ?? "", /^MESHD_BENCH_(GONE|FAILED|NO_PATH|SECRET|TIMEOUT)$/);
  });
});

const odd = fc.anything();
const nearly = fc.record(
  {
    do: fc.constantFrom<unknown>("open", "run", "look", "close", "", 1),
    session: fc.oneof(fc.constant("0123456789abcdef"), odd),
    role: fc.oneof(fc.constantFrom("serve", "drive"), odd),
    peer: fc.oneof(fc.constant("nobody"), odd),
    network: fc.oneof(fc.constantFrom("overlay", "underlay"), odd),
    measure: fc.oneof(fc.constantFrom("tcp1", "toString"), odd),
    seconds: fc.oneof(fc.integer(), odd),
    port: fc.oneof(fc.integer(), odd),
    secret: fc.oneof(fc.constant("0".repeat(64)), odd),
  },
  { requiredKeys: [] },
);

test("whatever is asked: a BenchError with a code, or an answer", async () => {
  await withPair(async ({ desks }) => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.oneof(odd, nearly), async (request) => {
        const said = await desks.a.answer(request).catch((error: unknown) => error);
        if (said instanceof Error) assert.instance(said, BenchError);
        seen.add(said instanceof BenchError ? said.code : "answer");
      }),
      { numRuns: 3000 },
    );
    assert.ok(seen.has("MESHD_BAD_REQUEST") && seen.has("MESHD_BENCH_GONE"));
  });
});

test.run();
