// Under load nothing changes a byte: gigabytes over TCP compared by hash, and tshark on all that
// segmentation and coalescing made.
//
//   namespace A: mesh0  ------ underlay ------  namespace B: mesh0  ------ veth ------  a pod
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Capture, plainWire, wrongFrames } from "../support/capture.js";
import { DatapathNode } from "../support/datapath-node.js";
import { hashedStreams, type StreamEnd, type StreamPath } from "../support/hashed-stream.js";
import { iperf } from "../support/iperf.js";
import { createNamespace, joinByVeth, runSync, uniqueDevice } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, type Host, type HostPair, makeHostPair } from "../support/two-hosts.js";

const STREAMS = 2;
const STREAM_BYTES = 512 << 20;

async function withNodes(
  prepare: (pair: HostPair) => void,
  body: (pair: HostPair, nodes: [DatapathNode, DatapathNode]) => Promise<void>,
): Promise<void> {
  const pair = makeHostPair();
  prepare(pair);
  const { a, b } = pair;
  const nodes: DatapathNode[] = [];
  try {
    const left = await DatapathNode.start(a.namespace, configOf(a, b));
    nodes.push(left);
    const right = await DatapathNode.start(b.namespace, configOf(b, a));
    nodes.push(right);
    await body(pair, [left, right]);
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
  }
}

const inOrder = (ends: StreamEnd[]) => ends.map(({ sha256 }) => sha256).sort();

async function assertSameBytes(path: StreamPath): Promise<void> {
  const { sent, received } = await hashedStreams(path, STREAMS, STREAM_BYTES);
  assert.equal(
    received.map(({ bytes }) => bytes),
    Array(STREAMS).fill(STREAM_BYTES),
  );
  assert.is(new Set(inOrder(sent)).size, STREAMS, "each stream is another");
  assert.equal(inOrder(received), inOrder(sent));
}

rootTest(test, "2 GB over TCP arrive with the same hash, two streams of each family", async () => {
  await withNodes(
    () => undefined,
    async ({ a, b }, nodes) => {
      await Promise.all([
        assertSameBytes({ from: a.namespace, to: b.namespace, address: b.overlay[4] }),
        assertSameBytes({ from: b.namespace, to: a.namespace, address: a.overlay[6] }),
      ]);
      for (const node of nodes) {
        const workers = await node.settledCounters();
        const sums = ["egress", "ingress"] as const;
        for (const way of sums)
          assert.ok(
            workers.some((worker) => worker[way].super > 1000),
            way,
          );
      }
    },
  );
});

interface Pod {
  namespace: string;
  /** Its wire's end in the host. */
  port: string;
  addresses: { 4: string; 6: string };
}

/** A pod of a host, on a wire where the kernel finishes every packet before it is seen. */
function addPod(host: Host): Pod {
  const namespace = createNamespace("pod-");
  const [port, own] = [uniqueDevice("p"), "eth0"];
  const addresses = { 4: `10.244.${host.side}.9`, 6: `fd00:244:${host.side}::9` };
  joinByVeth(
    { namespace: host.namespace, device: port, addresses: ["169.254.1.1/32", "fe80::1/64"] },
    { namespace, device: own, addresses: [`${addresses[4]}/32`, `${addresses[6]}/128`] },
  );
  const inHost = (argv: string) => runSync(host.namespace, argv.split(" "));
  const inPod = (argv: string) => runSync(namespace, argv.split(" "));
  inHost("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  inHost(`ip route add ${addresses[4]}/32 dev ${port}`);
  inHost(`ip route add ${addresses[6]}/128 dev ${port}`);
  inPod(`ip route add 169.254.1.1/32 dev ${own}`);
  inPod(`ip route add default via 169.254.1.1 dev ${own}`);
  inPod(`ip route add default via fe80::1 dev ${own}`);
  inPod(`ip link set ${own} mtu 1450`);
  plainWire(host.namespace, port);
  plainWire(namespace, own);
  return { namespace, port, addresses };
}

const MOVED = ["-n", "20M"];
const ARRIVE = 4_000_000;
const DATAGRAM = 1400;
const DATAGRAMS = ["-u", "-b", "200M", "-l", `${DATAGRAM}`, "-n", "5M"];

/** Datagrams that came to a namespace's sockets and found their queues full, since it is there. */
function fullQueues(namespace: string): number {
  const six = /^Udp6RcvbufErrors\s+(\d+)/m;
  const [names = [], counts = []] = runSync(namespace, ["grep", "^Udp:", "/proc/net/snmp"])
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  const inIPv6 = six.exec(runSync(namespace, ["cat", "/proc/net/snmp6"]))?.[1];
  return Number(counts[names.indexOf("RcvbufErrors")]) + Number(inIPv6);
}

async function moveBothWays(from: Host, pod: Pod): Promise<void> {
  for (const family of [4, 6] as const) {
    const ends = { server: pod.namespace, client: from.namespace };
    const transfer = { ...ends, address: pod.addresses[family] };
    for (const argv of [MOVED, [...MOVED, "-R"]]) {
      const { bytes } = await iperf({ ...transfer, argv });
      assert.ok(bytes > ARRIVE, `${bytes} bytes over IPv${family} with ${argv.join(" ")}`);
    }
    const before = fullQueues(pod.namespace);
    const { bytes } = await iperf({ ...transfer, argv: DATAGRAMS });
    // The mesh brought them, also those for which iperf3 had no processor in time.
    const unread = DATAGRAM * (fullQueues(pod.namespace) - before);
    const what = `${bytes} bytes of UDP over IPv${family}, ${unread} in full queues`;
    assert.ok(bytes + unread > ARRIVE, what);
  }
}

rootTest(test, "every checksum of segmented and of coalesced traffic is right", async () => {
  let pod: Pod | undefined;
  await withNodes(
    ({ a, b }) => {
      plainWire(a.namespace, a.veth);
      plainWire(b.namespace, b.veth);
      pod = addPod(b);
    },
    async ({ a, b }, nodes) => {
      if (pod === undefined) throw new Error("no pod");
      const wire = new Capture(a.namespace, a.veth);
      const inside = new Capture(b.namespace, pod.port, "tcp or udp");
      try {
        await Promise.all([wire.started(), inside.started()]);
        await moveBothWays(a, pod);
        await Promise.all([wire.stop(), inside.stop()]);
        assert.ok(wire.size() > 50_000_000, `${wire.size()} bytes on the underlay`);
        assert.ok(inside.size() > 50_000_000, `${inside.size()} bytes at the pod`);
        const kernels = [pod.addresses[4], pod.addresses[6]];
        const onWire = [wrongFrames(...kernels)];
        wire.assertNone(onWire, wire.counts(onWire));
        const atPod = [wrongFrames(...kernels, a.overlay[4], a.overlay[6])];
        inside.assertNone(atPod, inside.counts(atPod));
      } finally {
        wire.remove();
        inside.remove();
      }
      const [left, right] = await Promise.all(nodes.map((node) => node.settledCounters()));
      assert.ok(
        left?.some((worker) => worker.egress.super > 100),
        "super-packets were segmented",
      );
      assert.ok(
        right?.some((worker) => worker.ingress.super > 100),
        "segments were coalesced",
      );
    },
  );
});

test.run();
