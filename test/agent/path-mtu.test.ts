// An underlay that shrinks in the middle, with every ICMP error filtered: bulk TCP goes on and ends
// intact, one way is not confused with the other, and a path that widens again is found.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, PeerStatus } from "../../src/agent/index.js";
import { openSink, sendStream } from "../support/hashed-stream.js";
import { pings, runSync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { TwoHosts } from "./two-hosts.js";

const FULL = 1450;
/** What 1,280 bytes outside leave inside of VXLAN over IPv4. */
const REDUCED = 1230;
const RAISE_MS = 3000;
/** A transfer that stood still must go on within this time. */
const GO_ON_MS = 10_000;
/** More than what can be in buffers when the path shrinks. */
const PROGRESS = 64 << 20;
const PAUSE_MS = 20;
const MIB = 1 << 20;

const peerOf = (status: AgentStatus): PeerStatus => status.peers[0] as PeerStatus;

async function withHosts(body: (hosts: TwoHosts) => Promise<void>): Promise<void> {
  const hosts = await TwoHosts.start({ pathTimers: { raise_ms: RAISE_MS, idle_ms: RAISE_MS } });
  try {
    hosts.filterErrors();
    await hosts.addPods();
    for (const index of [0, 1]) {
      await hosts.agent(index).statusThat("the path is proven", (status) => {
        const peer = peerOf(status);
        return peer.pathState === "complete" && peer.mtu === FULL;
      });
    }
    await body(hosts);
  } finally {
    await hosts.stop();
  }
}

/** Bytes that a pod has received. */
function received(namespace: string): number {
  const line = /eth0: *(\d+)/.exec(runSync(namespace, ["cat", "/proc/net/dev"]));
  return Number(line?.[1] ?? 0);
}

/** The size that one host sends to the other at most, as its own status says. */
function settled(hosts: TwoHosts, index: number, mtu: number): Promise<AgentStatus> {
  return hosts.agent(index).statusThat(`${mtu} bytes found`, (status) => {
    const peer = peerOf(status);
    return peer.mtu === mtu && peer.pathState === "complete";
  });
}

for (const family of [4, 6] as const) {
  rootTest(
    test,
    `bulk TCP over IPv${family} goes on within ten seconds after the path shrank, and ends intact`,
    async () => {
      await withHosts(async (hosts) => {
        const [from, to] = [hosts.pod(0).netns, hosts.pod(1).netns];
        const address = hosts.pod(1).addresses.find((a) => a.includes(":") === (family === 6));
        const sink = await openSink(to, address ?? "");
        const stream = { address: address ?? "", port: sink.port, seed: family };
        const sending = sendStream(from, stream, 400 * MIB, PAUSE_MS);
        await until("it flows", () => received(to) > PROGRESS);
        hosts.narrow(0, 1280);
        hosts.narrow(1, 1280);
        const before = received(to);
        await until("it goes on", () => received(to) > before + PROGRESS, GO_ON_MS);
        const sent = await sending;
        assert.equal(await sink.ends(), [sent]);
        assert.is(sent.bytes, 400 * MIB);
        const status = await settled(hosts, 0, REDUCED);
        assert.match(peerOf(status).problem ?? "", /larger than 1230/);
        assert.ok(pings(from, address ?? "", REDUCED - (family === 4 ? 28 : 48)));
      });
    },
  );
}

rootTest(
  test,
  "one narrow way is found by its sender alone, and wide again when it is",
  async () => {
    await withHosts(async (hosts) => {
      hosts.narrow(1, 1400);
      await settled(hosts, 0, 1350);
      const other = peerOf(await hosts.agent(1).status());
      assert.equal([other.mtu, other.pathState, other.problem], [FULL, "complete", null]);
      const [from, to] = [hosts.pod(0), hosts.pod(1)];
      const four = (pod: typeof from) => pod.addresses.find((a) => a.includes(".")) ?? "";
      // The reply of a full ping does not fit: the way there is narrow, and the sender is told.
      assert.not.ok(pings(from.netns, four(to), FULL - 28, 1));
      assert.ok(pings(from.netns, four(to), 1350 - 28));
      hosts.narrow(1, null);
      const status = await settled(hosts, 0, FULL);
      assert.is(peerOf(status).problem, null);
      // Its kernel remembers what it was told.
      runSync(from.netns, ["ip", "route", "flush", "cache"]);
      assert.ok(pings(from.netns, four(to), FULL - 28));
    });
  },
);

test.run();
