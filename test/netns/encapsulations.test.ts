// Each encapsulation between two datapaths in namespaces, over either underlay family: pings of all
// sizes, TCP compared by hash, and tshark on what was on the wire. Topology: support/two-hosts.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { GreOptions, ProtocolName } from "../../src/datapath/index.js";
import { Capture, plainWire, wrongFrames } from "../support/capture.js";
import { DatapathNode } from "../support/datapath-node.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import {
  configOf,
  type Host,
  type HostPair,
  makeHostPair,
  overlayMtu,
  type PairOptions,
} from "../support/two-hosts.js";

const IP4_ICMP = 28;
const IP6_ICMP = 48;
const STREAM_BYTES = 50 << 20;

interface Mesh extends HostPair {
  nodes: [DatapathNode, DatapathNode];
}

async function withMesh(
  options: PairOptions,
  prepare: (pair: HostPair) => void,
  body: (mesh: Mesh) => Promise<void>,
): Promise<void> {
  const pair = makeHostPair();
  prepare(pair);
  const { a, b } = pair;
  const left = await DatapathNode.start(a.namespace, configOf(a, b, options));
  const right = await DatapathNode.start(b.namespace, configOf(b, a, options));
  try {
    await body({ ...pair, nodes: [left, right] });
    for (const node of [left, right]) await assertOnlyMulticastDropped(node);
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
}

/** The kernel sends multicast (router solicitations, reports) into any device: dropped by rule. */
async function assertOnlyMulticastDropped(node: DatapathNode): Promise<void> {
  for (const worker of await node.settledCounters()) {
    const reasons = [worker.egress, worker.ingress].flatMap(({ drops }) => Object.keys(drops));
    assert.equal(
      reasons.filter((name) => name !== "MULTICAST"),
      [],
    );
  }
}

function assertAllSizesPing(from: Host, to: Host, mtu: number): void {
  for (const [family, headers] of [
    [4, IP4_ICMP],
    [6, IP6_ICMP],
  ] as const) {
    const address = to.overlay[family];
    assert.ok(pings(from.namespace, address), `small ping to ${address}`);
    assert.ok(pings(from.namespace, address, mtu - headers), `full-size ping to ${address}`);
  }
}

async function assertSameBytes(from: Host, to: Host, family: 4 | 6, bytes: number): Promise<void> {
  const path = { from: from.namespace, to: to.namespace, address: to.overlay[family] };
  const { sent, received } = await hashedStreams(path, 1, bytes);
  assert.equal(received, sent, `IPv${family} from side ${from.side}`);
}

/** What tshark must find inside, by encapsulation and inner family. */
const INSIDE: Readonly<Record<ProtocolName, string>> = {
  vxlan: "vxlan.vni == 1",
  geneve: "geneve.vni == 1 && geneve.version == 0 && geneve.proto_type == 0x6558",
  udp: "udp.port == 8285",
  ipip: "(ip.proto == 4 || ip.proto == 41 || ipv6.nxt == 4 || ipv6.nxt == 41)",
  gre: "gre",
  pptp: "gre.flags.version == 1",
};

/** What tcpdump records, where it is not UDP. */
const RECORDED: Readonly<Partial<Record<ProtocolName, string>>> = {
  ipip: "ip proto 4 or ip proto 41 or ip6 proto 4 or ip6 proto 41",
  gre: "ip proto 47 or ip6 proto 47",
  pptp: "ip proto 47 or ip6 proto 47",
};

async function assertCleanWire(mesh: Mesh, options: PairOptions): Promise<void> {
  const { a, b } = mesh;
  const { protocol = "vxlan" } = options;
  const wire = new Capture(a.namespace, a.veth, RECORDED[protocol] ?? "udp");
  try {
    await wire.started();
    assertAllSizesPing(a, b, overlayMtu(options));
    for (const family of [4, 6] as const) {
      await assertSameBytes(a, b, family, 4 << 20);
      await assertSameBytes(b, a, family, 4 << 20);
    }
    await wire.stop();
    const senders = [a, b].flatMap(({ overlay }) => [overlay[4], overlay[6]]);
    const inside = INSIDE[protocol];
    const header = options.family === 6 ? 40 : 20;
    const outer = options.family === 6 ? `ipv6.plen == ${1500 - header}` : "ip.len == 1500";
    const wrong = [wrongFrames(...senders)];
    if (RECORDED[protocol] === undefined) {
      wrong.push("udp.checksum.status == 0 || udp.checksum == 0");
    }
    const [full = 0, ...others] = wire.counts([`${inside} && tcp && ${outer}`, ...wrong]);
    wire.assertNone(wrong, others);
    assert.ok(full > 1000, `${full} full-size segments`);
  } finally {
    wire.remove();
  }
}

const ALL_WORDS: GreOptions = { key: 0xfedcba98, checksum: true, sequence: true };

/** Ways to run an encapsulation, by name. */
const WAYS: Readonly<Record<string, PairOptions>> = {
  ...{ vxlan: { protocol: "vxlan" }, geneve: { protocol: "geneve" }, udp: { protocol: "udp" } },
  ...{ ipip: { protocol: "ipip" }, gre: { protocol: "gre" } },
  "gre with all words": { protocol: "gre", gre: ALL_WORDS },
  "gre with all words and frames": { protocol: "gre", gre: { ...ALL_WORDS, frames: true } },
};

for (const [way, wayOptions] of Object.entries(WAYS)) {
  for (const family of [4, 6] as const) {
    const options = { ...wayOptions, family };
    const name = `${way} over IPv${family}`;

    rootTest(test, `${name}: pings of all sizes, and 50 MB over TCP the same`, async () => {
      await withMesh(
        options,
        () => undefined,
        async ({ a, b, nodes }) => {
          assertAllSizesPing(a, b, overlayMtu(options));
          assertAllSizesPing(b, a, overlayMtu(options));
          await assertSameBytes(a, b, 4, STREAM_BYTES);
          await assertSameBytes(b, a, 6, STREAM_BYTES);
          for (const node of nodes) {
            const workers = await node.settledCounters();
            for (const way of ["egress", "ingress"] as const) {
              assert.ok(
                workers.some((worker) => worker[way].super > 50),
                way,
              );
            }
          }
        },
      );
    });

    rootTest(test, `${name}: tshark finds nothing wrong on the wire`, async () => {
      await withMesh(
        options,
        ({ a, b }) => {
          plainWire(a.namespace, a.veth);
          plainWire(b.namespace, b.veth);
        },
        (mesh) => assertCleanWire(mesh, options),
      );
    });
  }
}

test.run();
