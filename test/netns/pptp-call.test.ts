// Two datapaths and one PPTP call between them, over real raw sockets: IPv4 and IPv6 inside, bulk
// TCP both ways, clean and over a wire that loses, doubles and reorders; a worker that dies.
//
//   mesh0 - datapath - veth, or the impaired wire - datapath - mesh0
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CallMesh, type CallMeshOptions } from "../support/call-nodes.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { bothWays } from "../support/wire.js";

const STATELESS = { bits: 128, stateful: false } as const;

/** The whole sums of both ends; the identity of counters holds at both. */
async function assertIntact(mesh: CallMesh, bytes: number): Promise<void> {
  const { a, b } = mesh.pair;
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const family of [4, 6] as const) {
      const path = { from: from.namespace, to: to.namespace, address: to.overlay[family] };
      const { sent, received } = await hashedStreams(path, 1, bytes);
      assert.equal(received, sent, `IPv${family} from side ${from.side}`);
    }
  }
  for (const { node } of mesh.sides) await node.settledCounters();
}

function assertPings({ pair: { a, b } }: CallMesh): void {
  for (const family of [4, 6] as const) {
    assert.ok(pings(a.namespace, b.overlay[family]), `IPv${family} from a`);
    assert.ok(pings(b.namespace, a.overlay[family], 1400), `IPv${family}, large, from b`);
  }
}

async function withMesh(
  options: CallMeshOptions,
  work: (mesh: CallMesh) => Promise<void>,
): Promise<void> {
  const mesh = await CallMesh.start(options);
  try {
    await work(mesh);
  } finally {
    await mesh.stop();
  }
}

for (const [name, options] of [
  ["in clear text", {}],
  ["with MPPE-128, stateless, and three workers", { mppe: STATELESS, workers: 3 }],
] as const) {
  rootTest(test, `a call carries IPv4 and IPv6 intact, ${name}`, async () => {
    await withMesh(options, async (mesh) => {
      assertPings(mesh);
      await assertIntact(mesh, 4 << 20);
      const { sentPackets, acksReceived, windowDrops, rtt_us } = await mesh.statistics(0);
      assert.ok(sentPackets > 5900 && acksReceived > 50, `${sentPackets}, ${acksReceived}`);
      assert.ok(rtt_us !== null && rtt_us > 0);
      assert.type(windowDrops, "number");
    });
  });
}

rootTest(test, "a wire that loses, doubles and reorders spoils nothing", async () => {
  const wire = bothWays({ loss_ppm: 10_000, reorder_ppm: 50_000, duplicate_ppm: 10_000 }, 7);
  await withMesh({ mppe: STATELESS, wire }, async (mesh) => {
    await until("a ping comes through", () => pings(mesh.pair.a.namespace, mesh.pair.b.overlay[4]));
    await assertIntact(mesh, 1 << 20);
    const { lost, reordered, duplicates } = await mesh.statistics(1);
    assert.ok(lost > 0 && reordered > 0 && duplicates > 0, `${lost} ${reordered} ${duplicates}`);
  });
});

rootTest(test, "a call outlives the worker's thread", async () => {
  await withMesh({ mppe: STATELESS }, async (mesh) => {
    assertPings(mesh);
    const [{ node }] = mesh.sides;
    await node.ask({ do: "terminate", worker: 0 });
    await node.event("worker-restarted");
    await until("a ping comes through", () => pings(mesh.pair.a.namespace, mesh.pair.b.overlay[4]));
    await assertIntact(mesh, 1 << 20);
  });
});

test.run();
