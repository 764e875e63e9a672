// Two real agents end to end: joining, traffic, settings changed live, what the socket answers.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { pings, runSync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { TwoHosts } from "./two-hosts.js";

let hosts: TwoHosts;
const both = () => [hosts.agent(0), hosts.agent(1)];

test.before(async () => {
  if (isRoot) hosts = await TwoHosts.start();
});
test.after(async () => {
  // Not there when the start failed, whose error is the one to show.
  await (hosts as TwoHosts | undefined)?.stop();
});

rootTest(
  test,
  "both nodes join with a token, get a PodCIDR each and reach each other",
  async () => {
    const seen = await Promise.all(
      both().map((one) =>
        one.statusThat("peer reachable", (s) => s.ready && s.peersReachable === 1),
      ),
    );
    const cidrs = seen.flatMap((status) => status.lease.podCIDRs);
    assert.is(new Set(cidrs).size, 4);
    for (const status of seen) {
      assert.is(status.mtu, 1450);
      assert.is(status.nats.connected, true);
      assert.equal(status.refused, []);
      assert.equal(status.warnings, []);
      assert.ok((status.peers[0]?.rtt_us ?? 0) > 0);
    }
  },
);

rootTest(
  test,
  "pods on different nodes ping each other in IPv4 and IPv6, full size too",
  async () => {
    await hosts.addPods();
    hosts.everyPairPings();
    hosts.everyPairPings(1450 - 48);
  },
);

rootTest(test, "node and pod reach each other, and the node speaks with its node address", () => {
  const one = hosts.agent(0).namespace;
  for (const address of hosts.pod(1).addresses) assert.ok(pings(one, address), address);
  for (const address of hosts.pod(0).addresses) assert.ok(pings(one, address), address);
  const four = hosts.pod(1).addresses.find((text) => text.includes(".")) ?? "";
  const route = runSync(one, ["ip", "route", "get", four]);
  assert.match(route, /dev mesh0 src 10\.244\.\d+\.0 /);
});

rootTest(
  test,
  "a pod reaches the outside by masquerade, and pods keep their address inside",
  () => {
    assert.ok(pings(hosts.pod(0).netns, "192.168.78.254"));
  },
);

rootTest(test, "a round without a change writes nothing", async () => {
  const before = await hosts.agent(0).statusThat("churn known", (s) => s.churn.reconciles > 0);
  await hosts.controller.ask({ do: "config", name: "leaseQuarantine", value: 601 });
  const after = await hosts
    .agent(0)
    .statusThat("another round", (s) => s.churn.reconciles > before.churn.reconciles);
  assert.is(after.churn.published, before.churn.published);
  assert.is(after.churn.hostChanges, before.churn.hostChanges);
});

rootTest(test, "status, counters, fib, routes, drops and metrics are answered", async () => {
  const get = async (path: string) => (await hosts.agent(0).ask("GET", path)).json;
  const fib = (await get("/fib")) as { prefix: string; peer: string }[];
  assert.is(fib.length, 2);
  assert.ok(fib.every((row) => row.peer === "n2"));
  assert.is(((await get("/routes")) as unknown[]).length, 6);
  assert.is(((await get("/pods")) as unknown[]).length, 1);
  assert.ok(Array.isArray(await get("/drops")));
  const overNats = (await hosts.controller.ask({ do: "status", name: "n1" })) as AgentStatus;
  assert.is(overNats.pid, (await hosts.agent(0).status()).pid);
  const metrics = String(await get("/metrics"));
  assert.match(metrics, /meshd_peer_reachable\{peer="n2"\} 1/);
  assert.match(metrics, /meshd_peer_mtu_bytes\{peer="n2"\} 1450/);
  const asked = 'fetch("http://127.0.0.1:9477/metrics").then((r) => r.text()).then(console.log)';
  const overTcp = runSync(hosts.agent(0).namespace, [process.execPath, "-e", asked]);
  assert.match(overTcp, /meshd_up 1/);
  assert.match(metrics, /meshd_forwarded_packets_total\{worker="0",direction="egress"\} [1-9]/);
});

rootTest(test, "malformed records are reported in status and not applied", async () => {
  const id = (await hosts.agent(1).status()).node.id;
  // A member's record is mended by controllers, a stray one stays until somebody removes it.
  await hosts.controller.ask({ do: "spoil", key: `members.${id}`, value: '{"nodeId":7}' });
  await hosts.controller.ask({ do: "spoil", key: "peers.stray", value: "no record" });
  const seen = await hosts
    .agent(0)
    .statusThat("refused record", (s) =>
      s.refused.some((refusal) => refusal.key === "peers.stray"),
    );
  assert.is(seen.peersTotal, 1);
  hosts.everyPairPings();
});

rootTest(
  test,
  "config set mtu changes device and pods of every node without a restart",
  async () => {
    const pids = await Promise.all(both().map(async (one) => (await one.status()).pid));
    await hosts.controller.ask({ do: "config", name: "mtu", value: 1390 });
    for (const [index, one] of both().entries()) {
      const status = await one.statusThat("mtu 1390", (s) => s.mtu === 1390);
      assert.is(status.pid, pids[index]);
      const link = (namespace: string, device: string) =>
        runSync(namespace, ["ip", "link", "show", "dev", device]);
      await until("device and pod have it", () => {
        const pair = link(one.namespace, "mesh0") + link(hosts.pod(index).netns, "eth0");
        return (pair.match(/mtu 1390/g) ?? []).length === 2;
      });
    }
    hosts.everyPairPings(1390 - 48);
  },
);

rootTest(test, "another tunnel port is taken by running agents", async () => {
  await hosts.controller.ask({ do: "config", name: "tunnelPort", value: 8499 });
  for (const one of both()) {
    await one.statusThat("port 8499", (s) => s.underlay.port === 8499 && s.tunnelPort === 8499);
  }
  await until("pods reach each other on the new port", () => hosts.reaches());
  hosts.everyPairPings();
});

rootTest(test, "a device that somebody deleted comes back with everything on it", async () => {
  const { namespace } = hosts.agent(0);
  runSync(namespace, ["ip", "link", "delete", "mesh0"]);
  await until("pods reach each other again", () => hosts.reaches(), 20_000);
  hosts.everyPairPings();
  // Not every thread that has just come answers within the time for it.
  const { workers } = await hosts
    .agent(0)
    .statusThat("heaps of all", (s) =>
      s.workers.every(({ heap }) => heap !== null && heap.used > 0),
    );
  assert.ok(workers.some((worker) => worker.restarts > 0));
});

rootTest(test, "what holds secrets is for root alone", () => {
  const { stateDir, runDir } = hosts.agent(0).options;
  for (const name of readdirSync(stateDir)) {
    assert.is(statSync(join(stateDir, name)).mode & 0o077, 0, name);
  }
  assert.is(statSync(join(runDir, "agent.sock")).mode & 0o777, 0o600);
});

test.run();
