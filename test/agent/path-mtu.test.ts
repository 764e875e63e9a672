// An underlay that shrinks in the middle, with every ICMP error filtered: bulk TCP goes on and ends
// intact, one way is not confused with the other, and a path that widens again is found.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, MtuExplanation, PeerStatus } from "../../src/agent/index.js";
import { openSink, sendStream } from "../support/hashed-stream.js";
import { pings, runSync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { TwoHosts } from "./two-hosts.js";

const FULL = 1450;
/** What 1,280 bytes outside leave inside of VXLAN over IPv4. */
const REDUCED = 1230;
const RAISE_MS = 3000;
/** A transfer that stood still must go on within this time. */
const GO_ON_MS = 10_000;
/** More than what can be under way when the path shrinks. */
const PROGRESS = 16 << 20;
const PAUSE_MS = 20;
const MIB = 1 << 20;

const peerOf = (status: AgentStatus): PeerStatus => status.peers[0] as PeerStatus;

let hosts: TwoHosts;

test.before(async () => {
  if (!isRoot) return;
  hosts = await TwoHosts.start({ pathTimers: { raise_ms: RAISE_MS, idle_ms: RAISE_MS } });
  hosts.filterErrors();
  await hosts.addPods();
});
test.after(async () => {
  // Not there when the start failed, whose error is the one to show.
  await (hosts as TwoHosts | undefined)?.stop();
});

/** Everything as wide as at the start, and known to be so. */
async function wide(): Promise<void> {
  for (const index of [0, 1]) {
    hosts.narrow(index, null);
    hosts.resize(index, 1500);
    runSync(hosts.pod(index).netns, ["ip", "route", "flush", "cache"]);
  }
  for (const index of [0, 1]) await settled(index, FULL);
}

/** Bytes that a pod has received. */
function received(namespace: string): number {
  const line = /eth0: *(\d+)/.exec(runSync(namespace, ["cat", "/proc/net/dev"]));
  return Number(line?.[1] ?? 0);
}

/** The size that one host sends to the other at most, as its own status says. */
function settled(index: number, mtu: number): Promise<AgentStatus> {
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
      await wide();
      const [from, to] = [hosts.pod(0).netns, hosts.pod(1).netns];
      const address = hosts.pod(1).addresses.find((a) => a.includes(":") === (family === 6));
      const sink = await openSink(to, address ?? "");
      const stream = { address: address ?? "", port: sink.port, seed: family };
      const sending = sendStream(from, stream, 256 * MIB, PAUSE_MS);
      await until("it flows", () => received(to) > PROGRESS);
      hosts.narrow(0, 1280);
      hosts.narrow(1, 1280);
      const before = received(to);
      await until("it goes on", () => received(to) > before + PROGRESS, GO_ON_MS);
      const sent = await sending;
      assert.equal(await sink.ends(), [sent]);
      assert.is(sent.bytes, 256 * MIB);
      const status = await settled(0, REDUCED);
      assert.match(peerOf(status).problem ?? "", /larger than 1230/);
      assert.ok(pings(from, address ?? "", REDUCED - (family === 4 ? 28 : 48)));
    },
  );
}

rootTest(
  test,
  "one narrow way is found by its sender alone, and wide again when it is",
  async () => {
    await wide();
    hosts.narrow(1, 1400);
    await settled(0, 1350);
    const other = peerOf(await hosts.agent(1).status());
    assert.equal([other.mtu, other.pathState, other.problem], [FULL, "complete", null]);
    const [from, to] = [hosts.pod(0), hosts.pod(1)];
    const four = (pod: typeof from) => pod.addresses.find((a) => a.includes(".")) ?? "";
    // The reply of a full ping does not fit: the way there is narrow, and the sender is told.
    assert.not.ok(pings(from.netns, four(to), FULL - 28, 1));
    assert.ok(pings(from.netns, four(to), 1350 - 28));
    hosts.narrow(1, null);
    const status = await settled(0, FULL);
    assert.is(peerOf(status).problem, null);
    // Its kernel remembers what it was told.
    runSync(from.netns, ["ip", "route", "flush", "cache"]);
    assert.ok(pings(from.netns, four(to), FULL - 28));
  },
);

function podMtu(index: number): number {
  const shown = runSync(hosts.pod(index).netns, ["ip", "link", "show", "dev", "eth0"]);
  return Number(/mtu (\d+)/.exec(shown)?.[1]);
}

async function explained(index: number): Promise<MtuExplanation> {
  const peer = hosts.agent(index).options.name === "n1" ? "n2" : "n1";
  return (await hosts.agent(index).ask("GET", `/mtu/${peer}`)).json as MtuExplanation;
}

rootTest(test, "device, pods and peers follow the MTU of the underlay's interface", async () => {
  await wide();
  hosts.resize(0, 1400);
  await settled(0, 1350);
  await settled(1, 1350);
  await until("the pod follows", () => podMtu(0) === 1350);
  const text = await explained(0);
  assert.equal([text.fits, text.device.mtu, text.mtu, text.fragments], [1350, 1350, 1350, false]);
  assert.is(podMtu(1), FULL, "the other node's interface is as wide as before");
  hosts.resize(0, 1500);
  await settled(0, FULL);
  await settled(1, FULL);
});

rootTest(test, "IPv6 keeps 1280 bytes over a link that leaves less, and it is said", async () => {
  await wide();
  hosts.resize(0, 1280);
  for (const index of [0, 1]) await settled(index, REDUCED);
  await until("the pod follows", () => podMtu(0) === 1280);
  const text = await explained(0);
  assert.equal([text.fits, text.device.mtu, text.mtu], [REDUCED, 1280, REDUCED]);
  assert.is(text.fragments, true);
  const back = async () => (await explained(0)).path?.back;
  await until("the other node says what it sends", async () => (await back()) === REDUCED);
  assert.match(text.problem ?? "", /outer fragments/);
  const six = hosts.pod(1).addresses.find((one) => one.includes(":")) ?? "";
  const four = hosts.pod(1).addresses.find((one) => one.includes(".")) ?? "";
  assert.ok(pings(hosts.pod(0).netns, six, 1280 - 48));
  assert.not.ok(pings(hosts.pod(0).netns, four, 1280 - 28, 1));
  assert.ok(pings(hosts.pod(0).netns, four, REDUCED - 28));
});

rootTest(test, "a question about a peer that is not there names those that are", async () => {
  await wide();
  const { status, json } = await hosts.agent(0).ask("GET", "/mtu/nobody");
  assert.is(status, 404);
  assert.match(JSON.stringify(json), /it has n2/);
  const { terms, fits } = await explained(0);
  assert.is(
    terms.reduce((sum, { bytes }) => sum + bytes, 0),
    fits,
  );
  assert.equal(
    terms.map(({ bytes }) => bytes),
    [1500, -20, -8, -8, -14],
  );
});

test.run();
