// Without an outer header where the underlay allows it: crossSubnet and native routing between real
// agents, changed live, with forged sources, and a node that moves to another subnet.
//
//   <lab>-n1, <lab>-n3, guest --- br0 --- router --- br1 --- <lab>-n2
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import type { CheckReport } from "../../src/lab/index.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { adoptNamespace, pings, runIn, runSync, trySync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { assertPings, type Guest, MeshLab } from "./mesh-lab.js";

const test = suite("native");
const lab = new MeshLab("na");
const NODES = ["n1", "n2", "n3"];
const FAMILIES = [4, 6] as const;

const pod = (node: string) => lab.podSpace(node, "p1");
const ip = (namespace: string, argv: string) => runSync(namespace, ["ip", ...argv.split(" ")]);

/** "n2 tunnel tunnel": ways of a node's peers. */
const waysOf = ({ peers }: AgentStatus) =>
  peers.map(({ name, ways }) => `${name} ${ways.ipv4} ${ways.ipv6}`).sort();

async function untilWays(node: string, ...ways: string[]): Promise<void> {
  let seen: string[] = [];
  const holds = () => {
    seen = waysOf(lab.agent(node));
    return seen.join() === ways.join();
  };
  await until(`${node} has ways ${ways.join()}`, holds, 15_000).catch((error: Error) => {
    throw new Error(`${error.message}: ${seen.join()}`);
  });
}

function assertAllPairs(): void {
  const report = JSON.parse(lab.lab("check", "--json").stdout) as CheckReport;
  assert.equal(report.failures, []);
  assert.is(report.pairsReachable, report.pairs);
}

/** What nftables counted of packets that came from a peer, and the hot path forwarded inwards. */
function received(node: string, peer: string): { bare: number; tunnel: number } {
  const { peers, packets } = lab.agent(node);
  const found = peers.find(({ name }) => name === peer);
  return { bare: found?.direct?.ingress.packets ?? 0, tunnel: packets.ingress };
}

/** 50 MB of TCP in each family, whole by hash. */
async function assertTcp(from: string, to: string): Promise<void> {
  for (const family of FAMILIES) {
    const path = { from: pod(from), to: pod(to), address: lab.address(to, "p1", family) };
    const { sent, received } = await hashedStreams(path, 1, 50_000_000);
    assert.equal(received, sent, `${from} -> ${to} IPv${family}`);
  }
}

/** Sum of a drop reason on a node. */
const drops = (node: string, reason: string) =>
  lab.drops(node).reduce((sum, row) => sum + (row.reason === reason ? row.packets : 0), 0);

if (isRoot) {
  test.before(() => {
    lab.up("--nodes", "3", "--pods", "1", "--subnets", "2", "--set", "encapMode=crossSubnet");
  });
}

rootTest(
  test,
  "crossSubnet: neighbours are routed directly, the other subnet by tunnel",
  async () => {
    await untilWays("n1", "n2 tunnel tunnel", "n3 direct direct");
    await untilWays("n2", "n1 tunnel tunnel", "n3 tunnel tunnel");
    await lab.untilReachable(...NODES);
    assertAllPairs();
    const before = received("n3", "n1");
    for (const family of FAMILIES) {
      const argv = ["ping", "-n", "-q", "-c", "50", "-i", "0.002", lab.address("n3", "p1", family)];
      assert.match(trySync(pod("n1"), argv).stdout, / 50 received/);
    }
    const after = received("n3", "n1");
    assert.ok(after.bare - before.bare >= 100, `${after.bare - before.bare} bare`);
    assert.ok(after.tunnel - before.tunnel < 50, `${after.tunnel - before.tunnel} by tunnel`);
    const routes = ip(lab.node("n1").namespace, "route") + ip(lab.node("n1").namespace, "-6 route");
    assert.match(routes, /via 192\.168\.77\.3 dev eth0 proto 157 src 10\.244\./);
    assert.match(routes, /via fe80::\S+ dev eth0 proto 157 src fd00:10:244:/);
    for (const name of NODES) assert.equal(lab.agent(name).warnings, [], name);
  },
);

rootTest(test, "TCP arrives by either way, and metrics tell directly routed bytes", async () => {
  await assertTcp("n1", "n3");
  await assertTcp("n1", "n2");
  const metrics = await lab.metrics("n3");
  const line = /meshd_direct_bytes_total\{peer="n1",direction="ingress"\} (\d+)/.exec(metrics);
  assert.ok(Number(line?.[1]) > 100_000_000, metrics.match(/^meshd_direct.*/gm)?.join("\n"));
});

rootTest(
  test,
  "forged sources are dropped on the way in and out, and counted by name",
  async () => {
    const liar = lab.addGuest("liar");
    const [target, behind] = [lab.address("n1", "p1", 4), lab.address("n2", "p1", 4)];
    const prefix = target.replace(/\d+$/, "0/24");
    ip(liar.namespace, `route add ${prefix} via 192.168.77.1`);
    assert.ok(pings(liar.namespace, target), "with an address of the underlay it may");
    // An address of a pod on n2: its packets come by the tunnel alone.
    ip(liar.namespace, `address add ${behind}/32 dev lo`);
    const ping = (source: string, to: string) => [
      "ping",
      "-n",
      "-c",
      "4",
      "-i",
      "0.02",
      "-W",
      "1",
      "-I",
      source,
      to,
    ];
    const before = drops("n1", "NFT_SPOOFED_SOURCE");
    assert.is.not(trySync(liar.namespace, ping(behind, target)).code, 0);
    assert.is(drops("n1", "NFT_SPOOFED_SOURCE") - before, 4);
    ip(pod("n1"), "address add 10.244.222.1/32 dev lo");
    trySync(pod("n1"), ping("10.244.222.1", lab.address("n3", "p1", 4)));
    assert.is(drops("n1", "NFT_FOREIGN_SOURCE"), 4);
    assert.ok(lab.agent("n1").drops >= 8);
  },
);

/** Pings every 2 ms from n1's pod while something happens; how many were lost. */
async function lostWhile(target: string, change: () => Promise<void>): Promise<number> {
  const argv = ["ping", "-n", "-q", "-i", "0.002", "-c", "3000", "-W", "1", target];
  const pinging = runIn(pod("n1"), argv);
  await change();
  const { stdout } = await pinging;
  const [, sent, back] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? [];
  assert.is(Number(sent), 3000, stdout);
  return Number(sent) - Number(back);
}

const set = (name: string, value: string) => lab.admin("config", "set", name, value);

rootTest(test, "tunnel, native and back while pings run: hardly one is lost", async () => {
  for (const family of FAMILIES) {
    const lost = await lostWhile(lab.address("n3", "p1", family), async () => {
      await set("encapMode", "always");
      await untilWays("n1", "n2 tunnel tunnel", "n3 tunnel tunnel");
      await set("autoDirectNodeRoutes", "true");
      await set("routingMode", "native");
      await untilWays("n1", "n2 none none", "n3 direct direct");
      await set("routingMode", "tunnel");
      await untilWays("n1", "n2 tunnel tunnel", "n3 tunnel tunnel");
    });
    assert.ok(lost <= 10, `${lost} pings lost over IPv${family}`);
  }
  const tables = runSync(lab.node("n1").namespace, ["nft", "list", "tables"]);
  assert.not.match(tables, /_direct/, "nothing is left of admission");
});

rootTest(test, "native: full packets of the underlay, and who is not reached is said", async () => {
  await set("routingMode", "native");
  await untilWays("n1", "n2 none none", "n3 direct direct");
  await lab.untilAgent("n1", "its MTU is the underlay's", ({ mtu }) => mtu === 1500);
  await lab.untilAgent("n3", "its MTU is the underlay's", ({ mtu }) => mtu === 1500);
  for (const family of FAMILIES) assertPings(pod("n1"), lab.address("n3", "p1", family), 1500);
  await assertTcp("n3", "n1");
  await lab.untilAgent("n1", "n2 is unreachable", (s) => s.peersReachable === 1);
  const { warnings } = lab.agent("n1");
  assert.is(warnings.length, 1, warnings.join("\n"));
  assert.match(warnings[0] ?? "", /node n2: .*192\.168\.78\.2 is on another subnet/);
  const to = lab.address("n2", "p1", 4);
  const { code, stdout } = trySync(pod("n1"), ["ping", "-n", "-c", "1", "-W", "1", to]);
  assert.is.not(code, 0);
  assert.match(stdout, /Unreachable/, "a wall, not silence or the default route");
});

rootTest(test, "an agent that dies and starts again loses no directly routed packet", async () => {
  const before = lab.agent("n1");
  const lost = await lostWhile(lab.address("n3", "p1", 4), async () => {
    process.kill(before.pid, "SIGKILL");
    lab.up();
    await untilWays("n1", "n2 none none", "n3 direct direct");
  });
  assert.is(lost, 0);
  const after = lab.agent("n1");
  assert.is.not(after.pid, before.pid);
  assert.is(after.warnings.length, 1, after.warnings.join("\n"));
  const counted = (status: AgentStatus) =>
    status.peers.find(({ name }) => name === "n3")?.direct?.egress.packets ?? 0;
  assert.ok(counted(after) >= counted(before) + 3000, "counts went on");
});

rootTest(test, "native: what the underlay routes is left to it", async () => {
  for (const name of NODES) {
    const { lease, underlay } = lab.agent(name);
    const [four] = lease.podCIDRs.filter((cidr) => !cidr.includes(":"));
    ip(lab.networkSpace, `route replace ${four} via ${underlay.address}`);
  }
  await set("ipv4NativeRoutingCIDR", "10.244.0.0/16");
  await untilWays("n1", "n2 underlay none", "n3 direct direct");
  await untilWays("n2", "n1 underlay none", "n3 underlay none");
  const target = lab.address("n2", "p1", 4);
  await until("the other subnet answers", () => pings(pod("n1"), target, 56, 1));
  assertPings(pod("n1"), target, 1500);
  const seen = lab.agent("n2").peers.find(({ name }) => name === "n1");
  assert.ok((seen?.direct?.ingress.packets ?? 0) > 0, "counted there, too");
  await lab.untilReachable("n1", "n2");
  assert.not.match(ip(lab.node("n1").namespace, "route"), /unreachable 10\.244\.0\.0\/16/);
  await set("ipv4NativeRoutingCIDR", "null");
  await set("routingMode", "tunnel");
  await lab.untilAgent("n1", "its MTU is the tunnel's", ({ mtu }) => mtu === 1450);
});

function moveTo(host: Guest, port: string, bridge: string, subnet: string): void {
  ip(lab.networkSpace, `link set ${port} master ${bridge}`);
  ip(host.namespace, "-4 address flush dev eth0");
  ip(host.namespace, `address add ${subnet}.150/24 dev eth0`);
  ip(host.namespace, `route replace default via ${subnet}.254`);
}

rootTest(test, "a node that moves to another subnet changes its way at every peer", async () => {
  await set("encapMode", "crossSubnet");
  const host = lab.addGuest("mover");
  ip(host.namespace, "route add default via 192.168.77.254");
  lab.ask(host.place, ["join", "-", "--name", "mover"], lab.token());
  const namespace = `${lab.name}-mover-p`;
  adoptNamespace(namespace);
  const words = ["pod", "add", "p", "--netns", namespace];
  const { addresses } = lab.ask<{ addresses: string[] }>(host.place, words);
  await untilWays("n1", "mover direct direct", "n2 tunnel tunnel", "n3 direct direct");
  await untilWays("n2", "mover tunnel tunnel", "n1 tunnel tunnel", "n3 tunnel tunnel");
  for (const address of addresses) assertPings(pod("n1"), address, 84);
  const status = () => lab.ask<AgentStatus>(host.place, ["status"]);
  const { lease } = status();
  moveTo(host, "guest2", "br1", "192.168.78");
  const moved = () => status().underlay.address === "192.168.78.150";
  await until("the agent has seen it", moved, 45_000);
  await untilWays("n1", "mover tunnel tunnel", "n2 tunnel tunnel", "n3 direct direct");
  await untilWays("n2", "mover direct direct", "n1 tunnel tunnel", "n3 tunnel tunnel");
  assert.equal(status().lease, lease);
  for (const from of ["n1", "n2"]) {
    for (const address of addresses) {
      await until(`${from} reaches ${address}`, () => pings(pod(from), address, 56, 1));
    }
  }
  lab.ask(host.place, ["leave", "--force"]);
  const { namespace: left } = host;
  assert.not.match(ip(left, "route") + ip(left, "-6 route"), /proto 157/);
  assert.is(runSync(left, ["nft", "list", "tables"]).trim(), "");
});

rootTest(test, "neighbours on an IPv6 underlay are routed directly in both families", async () => {
  const hosts = ["six1", "six2"].map((name, index) => {
    const host = lab.addGuest(name);
    const address = `fd77::${index + 1}`;
    ip(host.namespace, `-6 address add ${address}/64 dev eth0 nodad`);
    lab.ask(host.place, ["join", "-", "--name", name, "--underlay-address", address], lab.token());
    const namespace = `${lab.name}-${name}-p`;
    adoptNamespace(namespace);
    const words = ["pod", "add", "p", "--netns", namespace];
    return { host, pod: lab.ask<{ namespace: string; addresses: string[] }>(host.place, words) };
  });
  const [one, two] = hosts;
  const ways = () => waysOf(lab.ask<AgentStatus>(one?.host.place ?? "", ["status"])).join();
  await until("six2 is a neighbour", () => ways() === "six2 direct direct");
  for (const address of two?.pod.addresses ?? []) {
    await until(`it reaches ${address}`, () => pings(one?.pod.namespace ?? "", address, 56, 1));
  }
  const routes = ip(one?.host.namespace ?? "", "-6 route");
  assert.match(routes, /^fd00:10:244:.* via fd77::2 dev eth0 proto 157/m);
  for (const { host } of hosts) lab.ask(host.place, ["leave", "--force"]);
});

test.run();
