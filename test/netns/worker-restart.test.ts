// A worker thread that dies under traffic: it is restarted on the handles it had, said so, and the
// traffic goes on. Topology: test/support/two-hosts.ts; the deaths are made by test/support only.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { WorkerStatus } from "../../src/datapath/index.js";
import { DatapathNode } from "../support/datapath-node.js";
import { pings, runIn, runSync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, type HostPair, makeHostPair } from "../support/two-hosts.js";

interface Scene extends HostPair {
  node: DatapathNode;
}

async function withMesh(workers: number, body: (scene: Scene) => Promise<void>): Promise<void> {
  const pair = makeHostPair();
  const node = await DatapathNode.start(pair.a.namespace, configOf(pair.a, pair.b, { workers }));
  const other = await DatapathNode.start(pair.b.namespace, configOf(pair.b, pair.a));
  try {
    await body({ ...pair, node });
  } finally {
    await Promise.all([node.stop(), other.stop()]);
  }
}

const statusOf = (node: DatapathNode) => node.ask<WorkerStatus[]>({ do: "workers" });

/** Pings every 10 ms while `during` runs, and gives how many were sent and answered. */
async function pingWhile(scene: Scene, during: () => Promise<void>): Promise<[number, number]> {
  const argv = ["ping", "-n", "-i", "0.01", "-c", "150", "-W", "1", scene.b.overlay[4]];
  const pinging = runIn(scene.a.namespace, argv);
  await until("ping is under way", async () => {
    const [worker] = await scene.node.counters();
    return (worker?.ingress.forwarded ?? 0) > 5;
  });
  await during();
  const counts = /(\d+) packets transmitted, (\d+) received/.exec((await pinging).stdout);
  return [Number(counts?.[1]), Number(counts?.[2])];
}

rootTest(
  test,
  "a worker that is ended under a running ping is restarted and the ping goes on",
  async () => {
    await withMesh(1, async (scene) => {
      const { node } = scene;
      const [before] = await statusOf(node);
      const [sent, answered] = await pingWhile(scene, async () => {
        await node.ask({ do: "terminate", worker: 0 });
        const restarted = await node.event("worker-restarted");
        assert.is(restarted.worker, 0);
        assert.is(restarted.restarts, 1);
      });
      assert.is(sent, 150);
      assert.ok(answered > 100, `${answered} of ${sent} answered`);
      const [after] = await statusOf(node);
      assert.is(after?.restarts, 1);
      assert.is.not(after?.threadId, before?.threadId);
      const [worker] = await node.settledCounters();
      assert.ok((worker?.egress.forwarded ?? 0) >= answered, "counters outlive the thread");
    });
  },
);

rootTest(
  test,
  "a trap in the hot path ends one thread, is reported with its reason, and is mended",
  async () => {
    await withMesh(1, async (scene) => {
      const { node, a, b } = scene;
      assert.ok(pings(a.namespace, b.overlay[4]));
      await node.ask({ do: "trap", worker: 0 });
      pings(a.namespace, b.overlay[4]);
      const restarted = await node.event("worker-restarted");
      assert.match(String(restarted.reason), /out of bounds/);
      assert.ok(pings(a.namespace, b.overlay[4]));
      const [worker] = await node.settledCounters();
      assert.ok((worker?.egress.drops.WORKER_DIED?.packets ?? 0) <= 64);
    });
  },
);

rootTest(test, "the death of one of two workers leaves the other one alone", async () => {
  await withMesh(2, async ({ node, a, b }) => {
    await node.ask({ do: "terminate", worker: 1 });
    await node.event("worker-restarted");
    const status = await statusOf(node);
    assert.equal(
      status.map((worker) => worker.restarts),
      [0, 1],
    );
    assert.ok(pings(a.namespace, b.overlay[4]) && pings(b.namespace, a.overlay[6]));
    await node.settledCounters();
  });
});

rootTest(test, "tables published while a worker is down reach it when it is back", async () => {
  await withMesh(1, async ({ node, a, b }) => {
    const config = configOf(a, b);
    await node.ask({ do: "terminate", worker: 0 });
    await node.ask({ do: "publish", contents: { ...config.contents, peers: [] } });
    await node.ask({ do: "publish", contents: config.contents });
    await node.event("worker-restarted");
    assert.ok(pings(a.namespace, b.overlay[4]));
    const { live } = await node.ask<{ live: number }>({ do: "generation" });
    await until("the worker reports the live generation", async () => {
      const [worker] = await statusOf(node);
      return worker?.generation === live;
    });
  });
});

rootTest(test, "a device that somebody deletes is made anew and said so", async () => {
  await withMesh(1, async ({ node, a, b }) => {
    runSync(a.namespace, ["ip", "link", "delete", "mesh0"]);
    await node.event("device-recreated");
    await node.event("worker-restarted");
    await until("the ping answers again", () => pings(a.namespace, b.overlay[4]));
    await node.settledCounters();
  });
});

rootTest(test, "of all workers whose device is gone, the first makes it anew for all", async () => {
  await withMesh(3, async ({ node, a, b }) => {
    runSync(a.namespace, ["ip", "link", "delete", "mesh0"]);
    await node.event("worker-restarted", 3);
    await until("the ping answers again", () => pings(a.namespace, b.overlay[4]));
    const named = (name: string) => node.events.filter(({ event }) => event === name);
    assert.is(named("device-recreated").length, 1);
    assert.equal(
      named("worker-restarted").map(({ restarts }) => restarts),
      [1, 1, 1],
    );
    for (const { reason } of named("worker-died")) assert.match(String(reason), /EBADFD/);
  });
});

rootTest(test, "a datapath whose device is gone closes all the same", async () => {
  await withMesh(1, async ({ node, a }) => {
    runSync(a.namespace, ["ip", "link", "delete", "mesh0"]);
    await node.ask({ do: "close" });
  });
});

test.run();
