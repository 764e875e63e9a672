// An IPv6 underlay that shrinks to its least, 1,280 bytes, in the middle, with every ICMP error
// filtered: 70 bytes of headers leave 1,210, and IPv6 inside keeps its 1,280 in outer fragments.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, MtuExplanation } from "../../src/agent/index.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings, runSync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { TwoHosts, WITHOUT_RAW } from "./two-hosts.js";

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
  "IPv6 inside keeps 1280 bytes, and nobody heard how narrow the path is",
  async () => {
    for (const index of [0, 1]) hosts.narrow(index, 1280);
    for (const index of [0, 1]) await settled(index, REDUCED);
    const [from, to] = [hosts.pod(0), hosts.pod(1)];
    const six = to.addresses.find((one) => one.includes(":")) ?? "";
    await until("fragments outside", () => pings(from.netns, six, 1280 - 48, 1));
    const sizes = Array.from({ length: 1280 - REDUCED }, (_, index) => REDUCED + 1 + index);
    for (const size of sizes) {
      // The answer has that size as well.
      assert.ok(pings(from.netns, six, size - 48), `${size} bytes there and back`);
    }
    const four = to.addresses.find((one) => one.includes(".")) ?? "";
    assert.not.ok(pings(from.netns, four, 1280 - 28, 1), "IPv4 is told the real size");
    for (const index of [0, 1]) {
      const heard = ["ip", "-6", "route", "show", "cache"];
      assert.not.match(runSync(hosts.agent(index).namespace, heard), /mtu/);
    }
  },
);

rootTest(
  test,
  "without CAP_NET_RAW fragments are refused by name, and all else goes on",
  async () => {
    const refusal =
      /^outer fragments: raw socket for IP protocol 44 on fd77::1 .* as root or with CAP_NET_RAW/;
    await hosts.agent(0).end("SIGTERM");
    await hosts.begin(0, undefined, "n1", WITHOUT_RAW).started();
    await settled(0, REDUCED);
    await hosts.agent(0).statusThat("it is said", ({ warnings }) => {
      return warnings.some((line) => refusal.test(line));
    });
    hosts.everyPairPings();
    const six = hosts.pod(1).addresses.find((one) => one.includes(":")) ?? "";
    assert.not.ok(pings(hosts.pod(0).netns, six, 1280 - 48, 1));
    hosts.narrow(0, null);
    hosts.narrow(1, null);
    await hosts.agent(0).end("SIGTERM");
    await hosts.restart(0);
    await settled(0, FULL);
    await hosts.agent(0).statusThat("nothing is left to say", ({ warnings }) => {
      return !warnings.some((line) => refusal.test(line));
    });
  },
);

test.run();
