// An IPv6 underlay that shrinks to its least, 1,280 bytes, in the middle, with every ICMP error
// filtered: 70 bytes of headers leave 1,210. Outer fragments are the kernel's, which makes them
// over IPv6 when its own route says how narrow the path is.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, MtuExplanation } from "../../src/agent/index.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { TwoHosts } from "./two-hosts.js";

const FULL = 1430;
const REDUCED = 1210;

let hosts: TwoHosts;

test.before(async () => {
  if (!isRoot) return;
  hosts = await TwoHosts.start({ underlayProtocol: "ipv6", pathTimers: { idle_ms: 2000 } });
  hosts.filterErrors();
  await hosts.addPods();
});
test.after(async () => {
  // Not there when the start failed, whose error is the one to show.
  await (hosts as TwoHosts | undefined)?.stop();
});

function settled(index: number, mtu: number): Promise<AgentStatus> {
  return hosts.agent(index).statusThat(`${mtu} bytes found`, ({ peers: [peer] }) => {
    return peer?.mtu === mtu && peer.pathState === "complete";
  });
}

rootTest(test, "over IPv6 the headers take 70 bytes, and a path of 1280 leaves 1210", async () => {
  for (const index of [0, 1]) await settled(index, FULL);
  const [from, to] = [hosts.pod(0), hosts.pod(1)];
  hosts.everyPairPings(FULL - 48);
  for (const index of [0, 1]) hosts.narrow(index, 1280);
  for (const index of [0, 1]) await settled(index, REDUCED);
  const explained = (await hosts.agent(0).ask("GET", "/mtu/n2")).json as MtuExplanation;
  const terms = explained.terms.map(({ bytes }) => bytes);
  assert.equal(terms, [1500, -40, -8, -8, -14]);
  assert.equal([explained.fits, explained.mtu, explained.fragments], [FULL, REDUCED, true]);
  for (const address of to.addresses) {
    const isIPv6 = address.includes(":");
    assert.ok(pings(from.netns, address, REDUCED - (isIPv6 ? 48 : 28)));
    const path = { from: from.netns, to: to.netns, address };
    const { sent, received } = await hashedStreams(path, 1, 20 << 20);
    assert.equal(received, sent);
  }
});

rootTest(
  test,
  "IPv6 inside keeps 1280 bytes as soon as the hosts hear how narrow the path is",
  async () => {
    for (const index of [0, 1]) hosts.narrow(index, 1280);
    for (const index of [0, 1]) await settled(index, REDUCED);
    hosts.allowErrors();
    const [from, to] = [hosts.pod(0), hosts.pod(1)];
    const six = to.addresses.find((one) => one.includes(":")) ?? "";
    const four = to.addresses.find((one) => one.includes(".")) ?? "";
    await until("fragments outside", () => pings(from.netns, six, 1280 - 48, 1));
    assert.not.ok(pings(from.netns, four, 1280 - 28, 1), "IPv4 is told the real size");
  },
);

test.run();
