// Two datapaths with static tables, each in a process inside its own namespace: real TUN, real UDP,
// the real hot path. The topology is drawn in test/support/two-hosts.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type DirectionCounters, droppedPackets } from "../../src/datapath/index.js";
import { DatapathNode } from "../support/datapath-node.js";
import { iperf } from "../support/iperf.js";
import { pings } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import {
  configOf,
  type Host,
  makeHostPair,
  overlayMtu,
  type PairOptions,
} from "../support/two-hosts.js";

const IP4_ICMP = 28;
const IP6_ICMP = 48;

interface Mesh {
  a: Host;
  b: Host;
  nodes: [DatapathNode, DatapathNode];
  mtu: number;
}

async function withMesh(options: PairOptions, body: (mesh: Mesh) => Promise<void>): Promise<void> {
  const { a, b } = makeHostPair(options.underlayMtu);
  const left = await DatapathNode.start(a.namespace, configOf(a, b, options));
  const right = await DatapathNode.start(b.namespace, configOf(b, a, options));
  try {
    await body({ a, b, nodes: [left, right], mtu: overlayMtu(options) });
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
}

function assertAllSizesPing(from: Host, to: Host, mtu: number): void {
  for (const [address, headers] of [
    [to.overlay[4], IP4_ICMP],
    [to.overlay[6], IP6_ICMP],
  ] as const) {
    assert.ok(pings(from.namespace, address), `small ping to ${address}`);
    assert.ok(pings(from.namespace, address, mtu - headers), `full-size ping to ${address}`);
  }
}

/** Names and packets of all drops of a node. */
async function dropsOf(node: DatapathNode): Promise<Record<string, number>> {
  const drops: Record<string, number> = {};
  for (const worker of await node.settledCounters()) {
    for (const direction of [worker.egress, worker.ingress]) {
      for (const [name, drop] of Object.entries(direction.drops)) {
        drops[name] = (drops[name] ?? 0) + drop.packets;
      }
    }
  }
  return drops;
}

/** The kernel sends multicast (router solicitations, reports) into any device: dropped by rule. */
async function assertOnlyMulticastDropped(mesh: Mesh): Promise<void> {
  for (const node of mesh.nodes) {
    const { MULTICAST: _multicast, ...others } = await dropsOf(node);
    assert.equal(others, {});
  }
}

const sum = (list: DirectionCounters[], field: "forwarded" | "received") =>
  list.reduce((total, direction) => total + direction[field], 0);

rootTest(test, "ping goes both ways in IPv4 and IPv6, small and full-size", async () => {
  await withMesh({}, async (mesh) => {
    assertAllSizesPing(mesh.a, mesh.b, mesh.mtu);
    assertAllSizesPing(mesh.b, mesh.a, mesh.mtu);
    await assertOnlyMulticastDropped(mesh);
  });
});

rootTest(test, "an IPv6 underlay carries both families", async () => {
  await withMesh({ family: 6 }, async (mesh) => {
    assertAllSizesPing(mesh.a, mesh.b, mesh.mtu);
    assertAllSizesPing(mesh.b, mesh.a, mesh.mtu);
    await assertOnlyMulticastDropped(mesh);
  });
});

rootTest(test, "TCP and UDP arrive whole, and what one sends the other receives", async () => {
  await withMesh({}, async (mesh) => {
    const [a, b] = [mesh.a, mesh.b];
    for (const address of [b.overlay[4], b.overlay[6]]) {
      const transfer = { server: b.namespace, client: a.namespace, address };
      const tcp = await iperf({ ...transfer, argv: ["-t", "1"] });
      assert.ok(tcp.bytes > 1_000_000, `TCP to ${address} moved ${tcp.bytes} bytes`);
      for (const length of ["64", "1200"]) {
        const argv = ["-u", "-b", length === "64" ? "1M" : "5M", "-l", length, "-t", "1"];
        const udp = await iperf({ ...transfer, argv });
        assert.ok(udp.packets > 100, `UDP ${length} to ${address}: ${udp.packets} packets`);
        assert.is(udp.lostPackets, 0);
      }
    }
    await assertOnlyMulticastDropped(mesh);
    const [left, right] = await Promise.all(mesh.nodes.map((node) => node.settledCounters()));
    const sent = sum(left?.map((worker) => worker.egress) ?? [], "forwarded");
    const got = sum(right?.map((worker) => worker.ingress) ?? [], "received");
    assert.is(sent, got);
    assert.ok(
      left?.every((worker) => worker.egress.super > 0),
      "TSO super-packets were read",
    );
    assert.ok(
      right?.every((worker) => worker.ingress.super > 0),
      "super-packets were written",
    );
  });
});

rootTest(test, "two workers share the traffic of many flows and lose none of it", async () => {
  await withMesh({ workers: 2 }, async (mesh) => {
    const [a, b] = [mesh.a, mesh.b];
    const transfer = { server: b.namespace, client: a.namespace, address: b.overlay[4] };
    const tcp = await iperf({ ...transfer, argv: ["-t", "1", "-P", "8"] });
    assert.ok(tcp.bytes > 1_000_000);
    assertAllSizesPing(a, b, mesh.mtu);
    await assertOnlyMulticastDropped(mesh);
    const workers = await mesh.nodes[0].settledCounters();
    assert.is(workers.length, 2);
    assert.ok(workers.every((worker) => worker.egress.forwarded > 0));
    assert.ok(workers.every((worker) => droppedPackets(worker.ingress) === 0));
  });
});

test.run();
