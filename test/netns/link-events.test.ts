// Links and addresses that go and come back under a running datapath: nothing dies, nothing spins,
// what cannot be sent is a counted drop, and packets flow again. See test/support/two-hosts.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { WorkerStatus } from "../../src/datapath/index.js";
import type { HostConfig } from "../support/datapath-host.js";
import { DatapathNode } from "../support/datapath-node.js";
import { pings, runSync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, type HostPair, makeHostPair } from "../support/two-hosts.js";

/** A worker that spins makes hundreds of thousands of rounds in the second of a failed ping. */
const ROUNDS_MAX = 1000;

interface Scene extends HostPair {
  node: DatapathNode;
  config: HostConfig;
  /** `ip` in the namespace of host A. */
  ip: (...argv: string[]) => void;
}

async function withMesh(family: 4 | 6, body: (scene: Scene) => Promise<void>): Promise<void> {
  const pair = makeHostPair();
  const config = configOf(pair.a, pair.b, { family });
  const node = await DatapathNode.start(pair.a.namespace, config);
  const other = await DatapathNode.start(pair.b.namespace, configOf(pair.b, pair.a, { family }));
  try {
    const ip = (...argv: string[]) => void runSync(pair.a.namespace, ["ip", ...argv]);
    await body({ ...pair, node, config, ip });
  } finally {
    await Promise.all([node.stop(), other.stop()]);
  }
}

async function statusOf(node: DatapathNode): Promise<WorkerStatus> {
  const [worker] = await node.ask<WorkerStatus[]>({ do: "workers" });
  if (worker === undefined) throw new Error("no worker");
  return worker;
}

/** Nothing gets through, and the worker neither dies of it nor runs in circles. */
async function assertCalmOutage({ node, a, b }: Scene): Promise<void> {
  const before = await statusOf(node);
  assert.not(pings(a.namespace, b.overlay[4], 56, 1));
  assert.not(pings(b.namespace, a.overlay[4], 56, 1));
  const after = await statusOf(node);
  assert.is(after.restarts, 0);
  const rounds = (after.rounds - before.rounds) >>> 0;
  assert.ok(rounds < ROUNDS_MAX, `${rounds} rounds in an outage`);
}

async function assertRecovered({ node, a, b }: Scene): Promise<void> {
  await until("ping after the outage", () => pings(a.namespace, b.overlay[4]));
  await until("ping after the outage", () => pings(b.namespace, a.overlay[6]));
  assert.is((await statusOf(node)).restarts, 0);
  await node.settledCounters();
}

async function dropsOf(node: DatapathNode): Promise<string[]> {
  const [worker] = await node.settledCounters();
  return [...Object.keys(worker?.egress.drops ?? {}), ...Object.keys(worker?.ingress.drops ?? {})];
}

rootTest(
  test,
  "a device that is set down drops what comes in, and works when up again",
  async () => {
    await withMesh(4, async (scene) => {
      const { ip, node, config } = scene;
      ip("link", "set", "mesh0", "down");
      await assertCalmOutage(scene);
      assert.ok((await dropsOf(node)).includes("TUN_WRITE_FAILED"));
      ip("link", "set", "mesh0", "up");
      // The kernel took the routes and the IPv6 address away: mending that is the host's job.
      for (const address of config.addresses) ip("address", "replace", address, "dev", "mesh0");
      for (const route of config.routes) ip("route", "replace", route, "dev", "mesh0");
      await assertRecovered(scene);
    });
  },
);

for (const family of [4, 6] as const) {
  rootTest(test, `an IPv${family} underlay link that goes down and up`, async () => {
    await withMesh(family, async (scene) => {
      const { ip, node, a } = scene;
      ip("link", "set", a.veth, "down");
      await assertCalmOutage(scene);
      assert.ok((await dropsOf(node)).includes("SEND_FAILED"));
      ip("link", "set", a.veth, "up");
      ip("address", "replace", `${a.underlay[6]}/64`, "dev", a.veth, "nodad");
      await assertRecovered(scene);
    });
  });

  rootTest(test, `an IPv${family} underlay address that is removed and given again`, async () => {
    await withMesh(family, async (scene) => {
      const { ip, node, a } = scene;
      const address = `${a.underlay[family]}/${family === 4 ? 24 : 64}`;
      ip("address", "delete", address, "dev", a.veth);
      await assertCalmOutage(scene);
      assert.ok((await dropsOf(node)).includes("SEND_FAILED"));
      ip("address", "add", address, "dev", a.veth, ...(family === 6 ? ["nodad"] : []));
      await assertRecovered(scene);
    });
  });
}

test.run();
