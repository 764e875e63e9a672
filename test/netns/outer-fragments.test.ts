// Underlays of 1,280 bytes under a device that must not go below 1,280: IPv6 gets through in outer
// fragments, IPv4 is told the real size. Over IPv4 the kernel fragments, over IPv6 the hot path,
// which needs no word of how narrow the path is.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { ProtocolName, TableContents } from "../../src/datapath/index.js";
import { plainWire } from "../support/capture.js";
import type { HostConfig } from "../support/datapath-host.js";
import { DatapathNode } from "../support/datapath-node.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings, runSync, trySync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import {
  configOf,
  type Host,
  type HostPair,
  makeHostPair,
  overlayMtu,
  type PairOptions,
} from "../support/two-hosts.js";

const UNDERLAY_MTU = 1280;
const IPV6_MIN = 1280;

/** The device has 1,280 bytes, the path less; `fragments` as the agent would set it. */
function narrowed(config: HostConfig, mtu: number, fragments: boolean): HostConfig {
  const { datapath, contents } = config;
  const peers = contents.peers.map((peer) => ({ ...peer, mtu, fragments }));
  const narrow: TableContents = { self: { ...contents.self, mtu: IPV6_MIN }, peers };
  return {
    ...config,
    datapath: { ...datapath, underlay: { ...datapath.underlay, fragments } },
    contents: narrow,
  };
}

interface Scene extends HostPair {
  /** Inner bytes that the path carries whole. */
  mtu: number;
  nodes: [DatapathNode, DatapathNode];
  configs: [HostConfig, HostConfig];
}

/** Takes what is larger than the path from the wire, where no host can know of it. */
function narrowInTheMiddle({ a, b }: HostPair): void {
  const rules = `table inet narrow { chain wire { type filter hook prerouting priority -500;
    iifname != "mesh0" meta length > ${UNDERLAY_MTU} counter drop
  }
  }`;
  for (const { namespace, veth } of [a, b]) {
    plainWire(namespace, veth);
    runSync(namespace, ["nft", "-f", "-"], { input: rules });
  }
}

/** Makes a host track connections, for which its kernel joins fragments, also on their way out. */
function track({ namespace }: Host): void {
  const rules = `table inet tracked { chain out { type filter hook output priority 0;
    ct state new counter
  }
  }`;
  runSync(namespace, ["nft", "-f", "-"], { input: rules });
}

/** What is narrow: both ends' interfaces, or the wire between wide ones. */
type Narrow = "interfaces" | "wire";

async function withNarrow(
  options: PairOptions,
  body: (scene: Scene) => Promise<void>,
  where: Narrow = "interfaces",
): Promise<void> {
  const pair = makeHostPair(where === "wire" ? 1500 : UNDERLAY_MTU);
  const { a, b } = pair;
  if (where === "wire") narrowInTheMiddle(pair);
  const mtu = overlayMtu({ ...options, underlayMtu: UNDERLAY_MTU });
  const configs = [
    narrowed(configOf(a, b, options), mtu, true),
    narrowed(configOf(b, a, options), mtu, true),
  ] as [HostConfig, HostConfig];
  const left = await DatapathNode.start(a.namespace, configs[0]);
  const right = await DatapathNode.start(b.namespace, configs[1]);
  try {
    await body({ ...pair, mtu, nodes: [left, right], configs });
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
}

/** A counter of the namespace's IP stack. */
function counter(host: Host, family: 4 | 6, name: string): number {
  const file = family === 4 ? "/proc/net/snmp" : "/proc/net/snmp6";
  const text = runSync(host.namespace, ["cat", file]);
  if (family === 6) return Number(new RegExp(`^Ip6${name}\\s+(\\d+)`, "m").exec(text)?.[1]);
  const [names, values] = text.split("\n").filter((line) => line.startsWith("Ip:"));
  const index = (names ?? "").split(" ").indexOf(name);
  return Number((values ?? "").split(" ")[index]);
}

/** IPv6 of the largest size gets through both ways, as fragments, and what fits is sent whole. */
function assertPieced(scene: Scene, family: 4 | 6): void {
  const { a, b, mtu } = scene;
  assert.ok(pings(a.namespace, b.overlay[6], mtu - 48));
  assert.is(counter(b, family, "ReasmReqds"), 0, "what fits is sent whole");
  assertReached(scene);
  for (const host of [a, b]) assert.ok(counter(host, family, "ReasmOKs") >= 6);
}

function assertReached({ a, b, mtu }: Scene): void {
  for (const size of [mtu + 1, IPV6_MIN - 1, IPV6_MIN]) {
    assert.ok(pings(a.namespace, b.overlay[6], size - 48), `${size} bytes there`);
    assert.ok(pings(b.namespace, a.overlay[6], size - 48), `${size} bytes back`);
  }
}

async function assertWhole({ a, b, mtu }: Scene, family: 4 | 6): Promise<void> {
  const ping = ["ping", "-n", "-c", "1", "-W", "2", "-M", "do"];
  const big = [...ping, "-s", `${IPV6_MIN - 28}`, b.overlay[4]];
  const told = trySync(a.namespace, big).stdout;
  assert.match(told, new RegExp(`mtu ?= ?${mtu}\\b`));
  assert.ok(pings(a.namespace, b.overlay[4], mtu - 28));
  const before = counter(b, family, "ReasmReqds");
  for (const inner of [4, 6] as const) {
    const path = { from: a.namespace, to: b.namespace, address: b.overlay[inner] };
    const { sent, received } = await hashedStreams(path, 1, 20 << 20);
    assert.equal(received, sent);
  }
  assert.is(counter(b, family, "ReasmReqds"), before, "TCP is cut to the path");
}

for (const family of [4, 6] as const) {
  for (const protocol of ["vxlan", "ipip"] as const satisfies ProtocolName[]) {
    const name = `IPv6 keeps 1280 bytes in outer fragments by ${protocol} over IPv${family}`;
    rootTest(test, `${name}, IPv4 does not`, async () => {
      const body = async (scene: Scene) => {
        assertPieced(scene, family);
        const made = counter(scene.a, family, "FragCreates");
        assert.ok(family === 4 ? made >= 6 : made === 0, `the kernel made ${made} fragments`);
        await assertWhole(scene, family);
        for (const node of scene.nodes) await node.settledCounters();
      };
      await withNarrow({ family, protocol }, body, family === 6 ? "wire" : "interfaces");
    });
  }
}

for (const protocol of ["geneve", "udp", "gre"] as const satisfies ProtocolName[]) {
  rootTest(test, `IPv6 keeps 1280 bytes over IPv6 by ${protocol} as well`, async () => {
    const body = async (scene: Scene) => assertPieced(scene, 6);
    await withNarrow({ family: 6, protocol }, body, "wire");
  });
}

for (const where of ["wire", "interfaces"] as const) {
  rootTest(test, `fragments pass a host that tracks connections: narrow ${where}`, async () => {
    const body = async (scene: Scene) => {
      for (const host of [scene.a, scene.b]) track(host);
      assertReached(scene);
      // Joined and cut anew: the kernel has seen them as one packet.
      assert.ok(counter(scene.a, 6, "FragCreates") >= 12);
    };
    await withNarrow({ family: 6 }, body, where);
  });
}

rootTest(
  test,
  "sockets for fragments open with the first peer that needs them and close",
  async () => {
    await withNarrow({ family: 4 }, async ({ a, b, nodes, configs }) => {
      const [node] = nodes;
      const pid = await node.ask<number>({ do: "pid" });
      const sockets = () =>
        Number(runSync(a.namespace, ["sh", "-c", `ls /proc/${pid}/fd | wc -l`]));
      const many = sockets();
      const { underlay } = configs[0].datapath;
      await node.ask({ do: "rebind", underlay: { ...underlay, fragments: false } });
      await until("they are closed", () => sockets() === many - 7);
      assert.not.ok(pings(a.namespace, b.overlay[6], IPV6_MIN - 48, 1));
      await node.ask({ do: "rebind", underlay });
      assert.is(sockets(), many);
      assert.ok(pings(a.namespace, b.overlay[6], IPV6_MIN - 48));
    });
  },
);

rootTest(test, "over IPv6 one raw socket more serves every encapsulation", async () => {
  await withNarrow({ family: 6, workers: 2 }, async ({ a, nodes, configs }) => {
    const [node] = nodes;
    const pid = await node.ask<number>({ do: "pid" });
    const raw = () => runSync(a.namespace, ["cat", "/proc/net/raw6"]);
    const sockets = () => Number(runSync(a.namespace, ["sh", "-c", `ls /proc/${pid}/fd | wc -l`]));
    const many = sockets();
    assert.is(raw().trim().split("\n").length, 1 + 2, "a heading and one for each worker");
    const { underlay } = configs[0].datapath;
    await node.ask({ do: "rebind", underlay: { ...underlay, fragments: false } });
    await until("they are closed", () => sockets() === many - 2);
  });
});

test.run();
