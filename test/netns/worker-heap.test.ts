// What a worker allocates while it forwards at full rate: nothing, by V8's own counters. Amounts of
// traffic are fixed, so that a slow machine says the same; MESHD_TEST_LONG=1 makes it a minute.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { WorkerHeap } from "../../src/datapath/index.js";
import { DatapathNode } from "../support/datapath-node.js";
import { iperf } from "../support/iperf.js";
import { rootTest } from "../support/root.js";
import { configOf, type HostPair, makeHostPair, type PairOptions } from "../support/two-hosts.js";

const isLong = process.env.MESHD_TEST_LONG === "1";
const SMALL_UDP = ["-u", "-b", "0", "-l", "64"];
const LOAD = isLong
  ? [
      ["-t", "25"],
      ["-t", "10", "-R"],
      [...SMALL_UDP, "-t", "25"],
    ]
  : [
      ["-n", "3G"],
      ["-n", "1G", "-R"],
      [...SMALL_UDP, "-k", "300000"],
    ];
const WARM_UP = [
  ["-n", "1G"],
  ["-n", "1G", "-R"],
  [...SMALL_UDP, "-k", "100000"],
];
const WARM_UPS_MAX = 10;
const PACKETS_MIN = 1_000_000;
/** Less than this in one warm-up: V8 has compiled all that is hot. */
const WARM_BYTES = 65_536;
/** Two pages of V8's, which may count one as used before it is; a byte a packet would be 4 MB. */
const CONSTANT_BYTES = 524_288;

class Pair {
  private constructor(
    private readonly hosts: HostPair,
    readonly nodes: readonly DatapathNode[],
  ) {}

  static async start(options: PairOptions): Promise<Pair> {
    const hosts = makeHostPair();
    const { a, b } = hosts;
    const left = await DatapathNode.start(a.namespace, configOf(a, b, options));
    const right = await DatapathNode.start(b.namespace, configOf(b, a, options));
    return new Pair(hosts, [left, right]);
  }

  async load(transfers: readonly string[][]): Promise<void> {
    const { a, b } = this.hosts;
    const ends = { server: b.namespace, client: a.namespace, address: b.overlay[4] };
    for (const argv of transfers) await iperf({ ...ends, argv });
  }

  /** One of each node. */
  async heaps(): Promise<WorkerHeap[]> {
    const asked = this.nodes.map((node) => node.ask<WorkerHeap[]>({ do: "heaps" }));
    return (await Promise.all(asked)).flat();
  }

  /** Inner packets that each node has read, both directions together. */
  async packets(): Promise<number[]> {
    const counters = await Promise.all(this.nodes.map((node) => node.settledCounters()));
    return counters.map((workers) =>
      workers.reduce((sum, one) => sum + one.egress.received + one.ingress.received, 0),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

const growth = (before: WorkerHeap[], after: WorkerHeap[], of: keyof WorkerHeap): number[] =>
  after.map((heap, index) => heap[of] - (before[index]?.[of] ?? 0));

/** V8 compiles anew as long as it learns; until then each round allocates some bytes. */
async function warmUp(pair: Pair): Promise<void> {
  for (let count = 0; count < WARM_UPS_MAX; count += 1) {
    const before = await pair.heaps();
    await pair.load(WARM_UP);
    const grown = growth(before, await pair.heaps(), "allocated");
    if (grown.every((bytes) => bytes < WARM_BYTES)) return;
  }
}

rootTest(
  test,
  "workers at full rate allocate nothing, however many packets there are",
  async () => {
    const pair = await Pair.start({});
    try {
      await warmUp(pair);
      const [before, sentBefore] = [await pair.heaps(), await pair.packets()];
      await pair.load(LOAD);
      const [after, sent] = [await pair.heaps(), await pair.packets()];
      for (const [index, packets] of sent.entries()) {
        assert.ok(packets - (sentBefore[index] ?? 0) >= PACKETS_MIN, `${packets} packets`);
      }
      for (const of of ["allocated", "used", "external", "malloced"] as const) {
        const grown = growth(before, after, of);
        assert.ok(
          Math.max(...grown) <= CONSTANT_BYTES,
          `${of} grew by ${grown.join(" and ")} bytes`,
        );
      }
      const collections = growth(before, after, "collections");
      assert.ok(Math.max(...collections) <= 1, `${collections.join(" and ")} collections`);
    } finally {
      await pair.stop();
    }
  },
);

rootTest(
  test,
  "an idle worker answers for its heap, and one that was replaced begins anew",
  async () => {
    const { a, b } = makeHostPair();
    const node = await DatapathNode.start(a.namespace, configOf(a, b, { workers: 2 }));
    try {
      const heaps = await node.ask<WorkerHeap[]>({ do: "heaps" });
      assert.is(heaps.length, 2);
      for (const heap of heaps)
        assert.ok(heap.used > 0 && heap.allocated >= 0 && heap.malloced > 0);
      await node.ask({ do: "terminate", worker: 0 });
      await node.event("worker-restarted");
      const [anew] = await node.ask<WorkerHeap[]>({ do: "heaps" });
      assert.ok(anew !== undefined && anew.used > 0);
    } finally {
      await node.stop();
    }
  },
);

test.run();
