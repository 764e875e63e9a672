// Underlays of 1,280 bytes under a device that must not go below 1,280: IPv6 gets through in outer
// fragments, IPv4 is told the real size, over both underlay families and by UDP and raw sockets.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { ProtocolName, TableContents } from "../../src/datapath/index.js";
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
  mtu: number;
  nodes: [DatapathNode, DatapathNode];
  configs: [HostConfig, HostConfig];
}

async function withNarrow(
  options: PairOptions,
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  const pair = makeHostPair(UNDERLAY_MTU);
  const { a, b } = pair;
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

for (const family of [4, 6] as const) {
  for (const protocol of ["vxlan", "ipip"] as const satisfies ProtocolName[]) {
    rootTest(
      test,
      `IPv6 keeps 1280 bytes in outer fragments by ${protocol} over IPv${family}, IPv4 does not`,
      async () => {
        await withNarrow({ family, protocol }, async ({ a, b, mtu, nodes }) => {
          assert.ok(pings(a.namespace, b.overlay[6], mtu - 48));
          assert.is(counter(a, family, "FragCreates"), 0, "what fits is sent whole");
          assert.ok(pings(a.namespace, b.overlay[6], IPV6_MIN - 48));
          assert.ok(pings(b.namespace, a.overlay[6], IPV6_MIN - 48));
          assert.ok(counter(a, family, "FragCreates") >= 2);
          assert.ok(counter(b, family, "ReasmOKs") >= 1);
          const ping = ["ping", "-n", "-c", "1", "-W", "2", "-M", "do"];
          const big = [...ping, "-s", `${IPV6_MIN - 28}`, b.overlay[4]];
          const told = trySync(a.namespace, big).stdout;
          assert.match(told, new RegExp(`mtu ?= ?${mtu}\\b`));
          assert.ok(pings(a.namespace, b.overlay[4], mtu - 28));
          const before = counter(a, family, "FragCreates");
          for (const inner of [4, 6] as const) {
            const path = { from: a.namespace, to: b.namespace, address: b.overlay[inner] };
            const { sent, received } = await hashedStreams(path, 1, 20 << 20);
            assert.equal(received, sent);
          }
          assert.is(counter(a, family, "FragCreates"), before, "TCP is cut to the path");
          for (const node of nodes) await node.settledCounters();
        });
      },
    );
  }
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

test.run();
