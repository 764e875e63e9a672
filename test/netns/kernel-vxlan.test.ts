// A kernel is a peer: a Linux vxlan device, set up as flannel does, against one datapath. tcpdump
// captures the underlay and tshark judges every frame of both.
//
//   namespace A: meshd datapath, mesh0            namespace B: Linux, flannel.1 (vxlan)
//   veth 192.0.2.1  -------------- underlay --------------  veth 192.0.2.2
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Capture, plainWire, wrongFrames } from "../support/capture.js";
import { DatapathNode } from "../support/datapath-node.js";
import { iperf } from "../support/iperf.js";
import { pings, runSync, trySync } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, type Host, type HostPair, makeHostPair, selfOf } from "../support/two-hosts.js";

const DEVICE = "flannel.1";
const PORT = 8472;
const MTU = 1450;
const FULL_4 = MTU - 28;
const FULL_6 = MTU - 48;

function addKernelVxlan(kernel: Host, node: Host): void {
  const run = (argv: string) => runSync(kernel.namespace, argv.split(" "));
  const { veth, underlay } = kernel;
  const tunnel = `id 1 local ${underlay[4]} dev ${veth} dstport ${PORT} nolearning`;
  run(`ip link add ${DEVICE} address ${kernel.mac} mtu ${MTU} type vxlan ${tunnel}`);
  run(`ip address add ${kernel.overlay[4]}/32 dev ${DEVICE}`);
  run(`ip address add ${kernel.overlay[6]}/128 dev ${DEVICE} nodad`);
  run(`ip link set ${DEVICE} up`);
  for (const [index, family] of ([4, 6] as const).entries()) {
    const gateway = node.overlay[family];
    run(`ip route add ${node.prefixes[index]} via ${gateway} dev ${DEVICE} onlink`);
  }
  run(`bridge fdb append ${node.mac} dev ${DEVICE} dst ${node.underlay[4]}`);
}

function addStaticNeighbours(kernel: Host, node: Host): void {
  for (const address of [node.overlay[4], node.overlay[6]]) {
    const argv = ["ip", "neighbour", "replace", address, "lladdr", node.mac, "dev", DEVICE];
    runSync(kernel.namespace, [...argv, "nud", "permanent"]);
  }
}

interface Scene extends HostPair {
  node: DatapathNode;
  capture: Capture;
}

async function withKernelPeer(
  prepare: (pair: HostPair) => void,
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  const pair = makeHostPair();
  for (const { namespace, veth } of [pair.a, pair.b]) plainWire(namespace, veth);
  addKernelVxlan(pair.b, pair.a);
  prepare(pair);
  const node = await DatapathNode.start(pair.a.namespace, configOf(pair.a, pair.b));
  const capture = new Capture(pair.a.namespace, pair.a.veth);
  try {
    await capture.started();
    await body({ ...pair, node, capture });
  } finally {
    await node.stop();
    capture.remove();
  }
}

const withStaticPeer = (body: (scene: Scene) => Promise<void>) =>
  withKernelPeer(({ a, b }) => addStaticNeighbours(b, a), body);

async function assertCleanCapture({ b, capture }: Scene): Promise<void> {
  await capture.stop();
  assert.ok(capture.size() > 1000, "something was captured");
  assert.equal(capture.frames(wrongFrames(b.underlay[4])), []);
}

rootTest(test, "ping between a kernel and a node, small and full-size, IPv4 and IPv6", async () => {
  await withStaticPeer(async (scene) => {
    const { a, b, capture } = scene;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const size of [8, FULL_4]) assert.ok(pings(from.namespace, to.overlay[4], size));
      for (const size of [8, FULL_6]) assert.ok(pings(from.namespace, to.overlay[6], size));
    }
    await assertCleanCapture(scene);
    assert.ok(capture.frames(`icmp && vxlan.vni == 1 && ip.len == ${MTU}`).length >= 4);
    assert.ok(capture.frames("icmpv6.type == 128 && vxlan.vni == 1").length >= 4);
  });
});

rootTest(test, "TCP flows both ways between a kernel and a node without a bad byte", async () => {
  await withStaticPeer(async (scene) => {
    const { a, b, capture } = scene;
    for (const family of [4, 6] as const) {
      const transfer = { server: b.namespace, client: a.namespace, address: b.overlay[family] };
      const argv = ["-t", "1", "-b", "50M"];
      const there = await iperf({ ...transfer, argv });
      const back = await iperf({ ...transfer, argv: [...argv, "-R"] });
      assert.ok(there.bytes > 3_000_000, `${there.bytes} bytes to the kernel`);
      assert.ok(back.bytes > 3_000_000, `${back.bytes} bytes from the kernel`);
    }
    await assertCleanCapture(scene);
    assert.ok(capture.frames(`tcp && ip.len == ${MTU}`).length > 1000);
  });
});

rootTest(test, "UDP of small and full size flows both ways and none is lost", async () => {
  await withStaticPeer(async (scene) => {
    const { a, b, node } = scene;
    for (const [family, length] of [
      [4, 16],
      [4, FULL_4],
      [6, 16],
      [6, FULL_6],
    ] as const) {
      const transfer = { server: b.namespace, client: a.namespace, address: b.overlay[family] };
      const argv = ["-u", "-b", length < 100 ? "200K" : "10M", "-l", `${length}`, "-t", "1"];
      for (const direction of [[], ["-R"]]) {
        const udp = await iperf({ ...transfer, argv: [...argv, ...direction] });
        assert.ok(udp.packets > 100, `${udp.packets} packets`);
        assert.is(udp.lostPackets, 0);
      }
    }
    await assertCleanCapture(scene);
    await node.settledCounters();
  });
});

rootTest(test, "a node answers a kernel that asks for its address by ARP and NDP", async () => {
  const askEverywhere = ({ a, b }: HostPair) => {
    const all = ["00:00:00:00:00:00", "dev", DEVICE, "dst", a.underlay[4]];
    runSync(b.namespace, ["bridge", "fdb", "append", ...all]);
  };
  await withKernelPeer(askEverywhere, async (scene) => {
    const { a, b } = scene;
    assert.ok(pings(b.namespace, a.overlay[4]));
    assert.ok(pings(b.namespace, a.overlay[6]));
    const neighbours = trySync(b.namespace, ["ip", "neighbour", "show", "dev", DEVICE]).stdout;
    assert.is(neighbours.split(selfOf(a, {}).mac).length - 1, 2, neighbours);
    await assertCleanCapture(scene);
  });
});

test.run();
