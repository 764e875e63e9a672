// Sequence numbers with several workers: while they are on, one worker has all packets, so that
// none is dropped for having been overtaken; without them the others work again, on one device.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { GreOptions, WorkerCounters, WorkerStatus } from "../../src/datapath/index.js";
import { DatapathNode } from "../support/datapath-node.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import {
  configOf,
  type Host,
  type HostPair,
  makeHostPair,
  type PairOptions,
} from "../support/two-hosts.js";

const WORKERS = 4;
const STREAMS = 8;
const BYTES = 4 << 20;
const NUMBERED: GreOptions = { key: null, checksum: false, sequence: true };

const optionsOf = (isNumbered: boolean): PairOptions => ({
  ...{ protocol: "gre", workers: WORKERS },
  // Less than both need, so that the tunnel's MTU stays what the device has.
  underlayMtu: 1400,
  gre: { ...NUMBERED, sequence: isNumbered },
});

/** Tells a node of the other, with numbers or without. */
async function change(node: DatapathNode, own: Host, other: Host, isOn: boolean): Promise<void> {
  const { contents, datapath } = configOf(own, other, optionsOf(isOn));
  await node.ask({ do: "publish", contents });
  await node.ask({ do: "rebind", underlay: { others: [], ordered: false, ...datapath.underlay } });
}

async function streams({ a, b }: HostPair): Promise<void> {
  for (const family of [4, 6] as const) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const path = { from: from.namespace, to: to.namespace, address: to.overlay[family] };
      const { sent, received } = await hashedStreams(path, STREAMS, BYTES);
      const hashes = (ends: typeof sent) => ends.map(({ sha256 }) => sha256).sort();
      assert.equal(hashes(received), hashes(sent));
    }
  }
}

/** Workers that packets of the streams went through, each way, since these counters. */
async function busySince(node: DatapathNode, before: WorkerCounters[]): Promise<number[][]> {
  const now = await node.settledCounters();
  return (["egress", "ingress"] as const).map((way) =>
    now.flatMap((worker, i) => {
      const more = worker[way].received - (before[i]?.[way].received ?? 0);
      return more > 100 ? [i] : [];
    }),
  );
}

async function assertNoneOvertaken(nodes: readonly DatapathNode[]): Promise<void> {
  for (const node of nodes) {
    for (const { egress, ingress } of await node.settledCounters()) {
      const reasons = [...Object.keys(egress.drops), ...Object.keys(ingress.drops)];
      assert.not(reasons.includes("OLD_SEQUENCE"));
    }
  }
}

rootTest(
  test,
  "numbered packets keep their order with four workers, on and off and on",
  async () => {
    const pair = makeHostPair();
    const { a, b } = pair;
    const start = (own: Host, other: Host) =>
      DatapathNode.start(own.namespace, configOf(own, other, optionsOf(true)));
    const nodes = [await start(a, b), await start(b, a)] as const;
    const [left, right] = nodes;
    try {
      const whole = [WORKERS - 1];
      const at = async () => (await left.settledCounters()) ?? [];
      let before = await at();
      await streams(pair);
      assert.equal(await busySince(left, before), [whole, whole]);
      await change(left, a, b, false);
      await change(right, b, a, false);
      before = await at();
      await streams(pair);
      for (const busy of await busySince(left, before)) {
        assert.ok(busy.length > 1, `only workers ${busy}`);
      }
      await change(left, a, b, true);
      await change(right, b, a, true);
      before = await at();
      assert.ok(pings(a.namespace, b.overlay[4]));
      await streams(pair);
      assert.equal(await busySince(left, before), [whole, whole]);
      await assertNoneOvertaken(nodes);
    } finally {
      await Promise.all(nodes.map((node) => node.stop()));
    }
  },
);

rootTest(test, "workers without a queue rest, and one that dies changes nothing", async () => {
  const { a, b } = makeHostPair();
  const node = await DatapathNode.start(a.namespace, configOf(a, b, optionsOf(true)));
  const other = await DatapathNode.start(b.namespace, configOf(b, a, optionsOf(true)));
  try {
    const rounds = async () =>
      (await node.ask<WorkerStatus[]>({ do: "workers" })).map((worker) => worker.rounds);
    assert.ok(pings(a.namespace, b.overlay[4]));
    const before = await rounds();
    for (let i = 0; i < 5; i++) assert.ok(pings(a.namespace, b.overlay[6]));
    const resting = (await rounds()).slice(0, -1);
    assert.equal(resting, before.slice(0, -1), "no round without a packet");
    for (const worker of [0, WORKERS - 1]) {
      await node.ask({ do: "terminate", worker });
      await node.event("worker-restarted", worker === 0 ? 1 : 2);
      assert.ok(pings(a.namespace, b.overlay[4]));
    }
    assert.not(node.events.some(({ event }) => event === "device-recreated"));
    await assertNoneOvertaken([node, other]);
  } finally {
    await Promise.all([node.stop(), other.stop()]);
  }
});

test.run();
