// Outer UDP checksums switched off: what is on the wire, who takes it, and what a change costs.
// Topology: support/two-hosts.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { GrantedOffloads } from "../../src/datapath/index.js";
import { Capture, plainWire, wrongTcp } from "../support/capture.js";
import { DatapathNode } from "../support/datapath-node.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings, runIn, runSync } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import {
  configOf,
  type Host,
  type HostPair,
  makeHostPair,
  overlayMtu,
  type PairOptions,
  underlayOf,
} from "../support/two-hosts.js";

const ON = { send: true, zeroes: false };
const OFF = { send: false, zeroes: true };

async function withNodes(
  { a, b }: HostPair,
  options: readonly [PairOptions, PairOptions],
  body: (nodes: [DatapathNode, DatapathNode]) => Promise<void>,
): Promise<void> {
  const left = await DatapathNode.start(a.namespace, configOf(a, b, options[0]));
  const right = await DatapathNode.start(b.namespace, configOf(b, a, options[1]));
  try {
    await body([left, right]);
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
}

function pair(): HostPair {
  const made = makeHostPair();
  for (const { namespace, veth } of [made.a, made.b]) plainWire(namespace, veth);
  return made;
}

for (const [protocol, family] of [
  ["vxlan", 4],
  ["geneve", 6],
  ["udp", 6],
] as const) {
  rootTest(test, `${protocol} over IPv${family}: all checksums are 0, TCP is whole`, async () => {
    const { a, b } = pair();
    const options = { protocol, family, checksums: OFF };
    await withNodes({ a, b }, [options, options], async ([left]) => {
      const { socket } = await left.ask<GrantedOffloads>({ do: "offloads" });
      assert.equal([socket.segmentation, socket.checksums], [false, false]);
      const wire = new Capture(a.namespace, a.veth, "udp");
      try {
        await wire.started();
        const full = overlayMtu(options) - 28;
        assert.ok(pings(a.namespace, b.overlay[4], full), "full-size ping");
        const path = { from: b.namespace, to: a.namespace, address: a.overlay[6] };
        const { sent, received } = await hashedStreams(path, 1, 4 << 20);
        assert.equal(received, sent);
        await wire.stop();
        const wrong = wrongTcp(a.overlay[6], b.overlay[6]);
        assert.equal(wire.frames(`udp.checksum != 0 || (${wrong})`), []);
        assert.ok(wire.frames("udp.checksum == 0 && tcp").length > 2000);
      } finally {
        wire.remove();
      }
    });
  });
}

rootTest(test, "over IPv6 what has no checksum is taken by those alone that say so", async () => {
  const { a, b } = pair();
  const sender = { family: 6, checksums: OFF } as const;
  await withNodes({ a, b }, [sender, { family: 6 }], async ([left, right]) => {
    assert.not.ok(pings(a.namespace, b.overlay[4], 56, 1), "dropped by the kernel");
    const taking = { family: 6, checksums: { send: true, zeroes: true } } as const;
    await right.ask({ do: "rebind", underlay: underlayOf(b, taking) });
    assert.ok(pings(a.namespace, b.overlay[4]), "one zero, the other not");
    for (const node of [left, right]) await node.settledCounters();
  });
});

/** What the agent does for the setting: tables first, then sockets. */
async function change(node: DatapathNode, own: Host, other: Host, options: PairOptions) {
  const { contents } = configOf(own, other, options);
  await node.ask({ do: "publish", contents });
  await node.ask({ do: "rebind", underlay: underlayOf(own, options) });
}

rootTest(test, "switched off and on under traffic nothing is lost", async () => {
  const { a, b } = pair();
  await withNodes({ a, b }, [{}, {}], async (nodes) => {
    const flood = ["ping", "-n", "-q", "-i", "0.001", "-c", "1500", "-s", "1400", b.overlay[4]];
    const pinged = runIn(a.namespace, flood);
    const path = { from: b.namespace, to: a.namespace, address: a.overlay[4] };
    const stream = hashedStreams(path, 1, 8 << 20);
    for (const checksums of [OFF, ON, OFF, ON]) {
      await change(nodes[0], a, b, { checksums });
      await change(nodes[1], b, a, { checksums });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const { sent, received } = await stream;
    assert.equal(received, sent);
    assert.match((await pinged).stdout, /1500 packets transmitted, 1500 received/);
    for (const node of nodes) await node.settledCounters();
  });
});

rootTest(test, "a kernel's vxlan device without checksums, over IPv6, both ways", async () => {
  const { a, b } = pair();
  const run = (argv: string) => runSync(b.namespace, argv.split(" "));
  const place = `id 1 local ${b.underlay[6]} dev ${b.veth} dstport 8472 nolearning`;
  const zero = "udp6zerocsumtx udp6zerocsumrx";
  run(`ip link add vx0 address ${b.mac} mtu 1430 type vxlan ${place} ${zero}`);
  run(`ip address add ${b.overlay[4]}/32 dev vx0`);
  run("ip link set vx0 up");
  run(`ip route add ${a.prefixes[0]} via ${a.overlay[4]} dev vx0 onlink`);
  run(`bridge fdb append ${a.mac} dev vx0 dst ${a.underlay[6]}`);
  run(`ip neighbour replace ${a.overlay[4]} lladdr ${a.mac} dev vx0 nud permanent`);
  const options = { family: 6, checksums: OFF } as const;
  const node = await DatapathNode.start(a.namespace, configOf(a, b, options));
  try {
    assert.ok(pings(a.namespace, b.overlay[4], 1402));
    assert.ok(pings(b.namespace, a.overlay[4], 1402));
    const path = { from: b.namespace, to: a.namespace, address: a.overlay[4] };
    const { sent, received } = await hashedStreams(path, 1, 4 << 20);
    assert.equal(received, sent);
  } finally {
    await node.stop();
  }
});

test.run();
