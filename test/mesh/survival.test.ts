// What a mesh lives through: agents killed under traffic, a control plane that is away, a device
// that somebody deletes; and what it leaves of a host that leaves.
//
//   <lab>-n1, -n2 (meshd, default route to the bridge) --- bridge --- host (joins and leaves)
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, FibRow } from "../../src/agent/index.js";
import { Capture } from "../support/capture.js";
import {
  adoptNamespace,
  deleteNamespace,
  hostChanges,
  pings,
  runIn,
  runSync,
  trySync,
  until,
} from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { assertCommandsWork, assertRunsOnDisk } from "./away.js";
import { LongPing } from "./long-ping.js";
import { assertPings, type Guest, MeshLab, meshdAt } from "./mesh-lab.js";

const test = suite("survival");
const lab = new MeshLab("sv");
const LEAK = "(net 10.244.0.0/16 or net fd00:10:244::/48) and not udp port 8472";
const ROUTER = "192.168.77.254";

/** Gives a node a way out for everything the mesh does not take. */
function addDefaultRoutes(name: string): void {
  const { namespace } = lab.node(name);
  runSync(namespace, ["ip", "route", "add", "default", "via", ROUTER]);
  const shown = runSync(lab.networkSpace, ["ip", "-6", "-o", "address", "show", "dev", "br0"]);
  const router = /inet6 (fe80::[0-9a-f:]+)/.exec(shown)?.[1];
  assert.ok(router, shown);
  const argv = ["ip", "-6", "route", "add", "default", "via", router, "dev", "eth0"];
  runSync(namespace, argv);
}

/** Packets of the pools that left the node's underlay interface bare while `body` ran. */
async function leaksDuring(name: string, body: () => Promise<void>): Promise<string[]> {
  const capture = new Capture(lab.node(name).namespace, "eth0", LEAK);
  try {
    await capture.started();
    await body();
    await capture.stop();
    return capture.frames("");
  } finally {
    capture.remove();
  }
}

/** Packets of a pod to pods of another node and to nobody: none of them can arrive now. */
async function knockEverywhere(): Promise<void> {
  const targets = ["10.244.99.9", "fd00:10:244:99::9"];
  for (const family of [4, 6] as const) targets.push(lab.address("n2", "p1", family));
  const pod = lab.podSpace("n1", "p1");
  const knock = (target: string) => runIn(pod, ["ping", "-n", "-c", "2", "-W", "1", target]);
  const results = await Promise.all(targets.map(knock));
  assert.ok(results.every(({ code }) => code !== 0));
}

function kill(name: string): AgentStatus {
  const status = lab.agent(name);
  process.kill(status.pid, "SIGKILL");
  return status;
}

const podsOf = (name: string) => lab.ask<unknown[]>(name, ["pod", "list"]);

if (isRoot) {
  test.before(() => {
    lab.up("--nodes", "2", "--pods", "2");
    for (const name of ["n1", "n2"]) addDefaultRoutes(name);
  });
}

rootTest(
  test,
  "a killed agent loses what was in flight and nothing else; nothing leaks",
  async () => {
    const before = podsOf("n1");
    const ping = new LongPing(lab.podSpace("n2", "p1"), lab.address("n1", "p1", 4));
    await ping.answers(20);
    let killed: AgentStatus | undefined;
    const leaks = await leaksDuring("n1", async () => {
      killed = kill("n1");
      await ping.misses();
      await knockEverywhere();
      assertPings(lab.podSpace("n1", "p1"), lab.address("n1", "p2", 4), 84);
    });
    assert.equal(leaks, []);
    const again = lab.ask<AgentStatus>("n1", ["join"]);
    assert.is.not(again.pid, killed?.pid);
    assert.equal([again.lease, again.node], [killed?.lease, killed?.node]);
    assert.equal(podsOf("n1"), before);
    const known = ping.answered().length;
    await ping.answers(50);
    const lost = await ping.end();
    assert.ok(lost.length > 0);
    const [first = 0, last = 0] = [lost[0], lost.at(-1)];
    assert.is(last - first + 1, lost.length, `one gap, not several: ${lost}`);
    assert.ok(last <= known + lost.length + 3, "the gap ends when join returns");
  },
);

rootTest(
  test,
  "a device deleted while the agent is down leaks nothing and comes back",
  async () => {
    const leaks = await leaksDuring("n1", async () => {
      kill("n1");
      runSync(lab.node("n1").namespace, ["ip", "link", "delete", "mesh0"]);
      await knockEverywhere();
    });
    assert.equal(leaks, []);
    lab.ask("n1", ["join"]);
    for (const family of [4, 6] as const) {
      assertPings(lab.podSpace("n2", "p1"), lab.address("n1", "p1", family), 1450);
    }
  },
);

rootTest(test, "a device deleted under a running agent is made again", async () => {
  const { pid } = lab.agent("n1");
  runSync(lab.node("n1").namespace, ["ip", "link", "delete", "mesh0"]);
  await until("traffic goes again", () =>
    pings(lab.podSpace("n2", "p1"), lab.address("n1", "p1", 4), 56, 1),
  );
  assert.is(lab.agent("n1").pid, pid);
});

/** Pings of 1 kHz both ways between pods of n1 and n2, each family. */
function pingAllWays(): LongPing[] {
  return ([4, 6] as const).flatMap((family) => [
    new LongPing(lab.podSpace("n1", "p1"), lab.address("n2", "p1", family), 0.001),
    new LongPing(lab.podSpace("n2", "p1"), lab.address("n1", "p1", family), 0.001),
  ]);
}

rootTest(test, "the control plane goes and comes back without one lost packet", async () => {
  const pinging = pingAllWays();
  const begun = performance.now();
  let count = 0;
  for (const one of pinging) await one.answers(200);
  lab.admin("down");
  await lab.untilAgent("n2", "NATS is away", ({ nats }) => !nats.connected, 30_000);
  await assertCommandsWork(lab, "n1");
  lab.admin("up");
  for (const name of ["n1", "n2"]) {
    await lab.untilAgent(name, "NATS is back", ({ nats }) => nats.connected, 30_000);
  }
  for (const one of pinging) await one.answers(200);
  for (const one of pinging) {
    const lost = await one.end();
    const all = one.answered().length;
    count += all;
    assert.equal(lost, [], `${one.from} -> ${one.to}: ${lost.length} of ${all}`);
  }
  const rate = (count / (performance.now() - begun)).toFixed(1);
  console.log(`    ${count} pings, ${rate} a millisecond, none lost`);
});

/** What a reboot takes from a host: processes, devices, addresses, routes, tables, namespaces. */
function reboot(name: string, ownPods: string[]): AgentStatus {
  const status = kill(name);
  const { namespace, runDir } = lab.node(name);
  for (const pod of ownPods) {
    deleteNamespace(pod);
    adoptNamespace(pod);
  }
  const links = JSON.parse(runSync(namespace, ["ip", "-j", "link"])) as { ifname: string }[];
  for (const { ifname } of links) {
    if (!["lo", "eth0"].includes(ifname)) trySync(namespace, ["ip", "link", "delete", ifname]);
  }
  for (const family of ["-4", "-6"]) {
    for (const protocol of ["157", "158"]) {
      trySync(namespace, ["ip", family, "route", "flush", "proto", protocol]);
    }
  }
  runSync(namespace, ["nft", "flush", "ruleset"]);
  runSync(namespace, ["sysctl", "-qw", "net.ipv4.ip_forward=0"]);
  rmSync(runDir, { recursive: true });
  return status;
}

rootTest(test, "without nats-server a rebooted node is what it was, its pods too", async () => {
  const own = `${lab.name}-own`;
  adoptNamespace(own);
  lab.ask("n1", ["pod", "add", "own", "--netns", own]);
  const pods = podsOf("n1");
  lab.admin("down");
  const away = Date.now();
  const before = reboot("n1", [own]);
  const again = lab.ask<AgentStatus>("n1", ["join"]);
  assert.equal([again.ready, again.nats.connected], [true, false]);
  assert.equal([again.lease, again.node], [before.lease, before.node]);
  assert.equal(podsOf("n1"), pods);
  assertRunsOnDisk(lab, away);
  for (const [from, to] of [
    ["n1", "n2"],
    ["n2", "n1"],
  ] as const) {
    for (const family of [4, 6] as const) {
      assertPings(lab.podSpace(from, "p1"), lab.address(to, "p2", family), 1450);
    }
  }
  const addresses = (pods as { name: string; addresses: string[] }[]).find((p) => p.name === "own");
  for (const one of addresses?.addresses ?? []) assertPings(lab.podSpace("n2", "p1"), one, 1450);
  lab.ask("n1", ["pod", "remove", "own"]);
  lab.ask("n1", ["pod", "add", "late", "--netns", lab.podSpace("n1", "late")]);
  lab.admin("up");
  for (const name of ["n1", "n2"]) {
    const isBack = ({ nats }: AgentStatus) => nats.connected && nats.viewFrom === "nats";
    await lab.untilAgent(name, "NATS is back", isBack, 30_000);
  }
  await until("the pod is known to the mesh", () => {
    const { endpoints } = lab.admin<{ endpoints: { pod: string }[] }>("node", "show", "n1");
    return endpoints.some(({ pod }) => pod === "late");
  });
  lab.ask("n1", ["pod", "remove", "late"]);
  await until("its end, too", () => {
    const { endpoints } = lab.admin<{ endpoints: { pod: string }[] }>("node", "show", "n1");
    return endpoints.every(({ pod }) => pod !== "late");
  });
});

const CHURN_MS = 11_000;
/** Heartbeats of the controllers are 5 s apart, and the only writes. */
const BEAT_MIN_MS = 3_000;

rootTest(test, "right after restarts of everything nothing is written or changed", async () => {
  for (const name of ["n1", "n2"]) await lab.untilReachable(name);
  const names = ["n1", "n2"];
  const churn = async () =>
    JSON.stringify(
      (await Promise.all(names.map((name) => lab.statusOf(name)))).map(
        ({ churn: { published, hostChanges } }) => [published, hostChanges],
      ),
    );
  const said = names.map((name) => hostChanges(lab.node(name).namespace));
  const before = await churn();
  let revision = (await lab.statusOf("n2")).nats.revision;
  const begun = performance.now();
  let written = Number.NEGATIVE_INFINITY;
  while (performance.now() < begun + CHURN_MS) {
    const now = (await lab.statusOf("n2")).nats.revision;
    assert.ok(now - revision <= 1, `${now - revision} writes at once`);
    if (now !== revision) {
      const pause_ms = performance.now() - written;
      assert.ok(pause_ms > BEAT_MIN_MS, `a write ${pause_ms} ms after another one`);
      written = performance.now();
    }
    revision = now;
    await sleep(100);
  }
  assert.ok(written > 0, "heartbeats are written");
  assert.is(await churn(), before);
  assert.equal(
    said.map((output) => output()),
    ["", ""],
  );
});

/** Kills the processes of the control host whose command line holds the word. */
function killControl(word: string): void {
  const { namespace } = lab.control;
  const pids = runSync(lab.networkSpace, ["ip", "netns", "pids", namespace]).trim().split("\n");
  const found = pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(word));
  assert.is(found.length, 1, `${word}: ${found}`);
  process.kill(Number(found[0]), "SIGKILL");
}

rootTest(
  test,
  "a killed nats-server is started again, and up replaces a killed controller",
  async () => {
    const online = () =>
      meshdAt(lab.control, ["node", "list", "--json"]).stdout.split('"online": true').length - 1;
    killControl("nats-server.conf");
    await until("the nodes are back", () => online() === 2, 30_000);
    killControl("--foreground");
    assert.is(meshdAt(lab.control, ["node", "list"]).code, 1);
    lab.admin("up");
    await until("the new one hears the nodes", () => online() === 2, 30_000);
    assertPings(lab.podSpace("n1", "p1"), lab.address("n2", "p1", 4), 1450);
  },
);

/** What an agent could change of a host, without what the kernel changes by itself. */
function hostState(host: Guest): string {
  const run = (argv: string) => trySync(host.namespace, argv.split(" ")).stdout;
  const sysctls = trySync(host.namespace, ["sysctl", "-a", "-r", "^net.ipv[46].(ip_f|conf.*ing$)"]);
  const parts = [
    run("ip -br link").replace(/@\S+/g, ""),
    run("ip -4 -o address"),
    run("ip -4 route show table all"),
    run("ip -6 route show table all").replace(/^.*(local|multicast|anycast).*\n/gm, ""),
    run("ip -4 rule"),
    run("nft list ruleset"),
    sysctls.stdout,
  ];
  return parts.join("\n--\n");
}

function fibOf(name: string): FibRow[] {
  return lab.ask<FibRow[]>(name, ["route", "list", "--here"]);
}

rootTest(test, "leave takes everything out, and the others drop their routes", async () => {
  const host = lab.addGuest("host");
  const before = hostState(host);
  const words = ["join", "-", "--name", "host"];
  const joined = lab.ask<AgentStatus>(host.place, words, lab.token());
  const pod = `${lab.name}-host-web`;
  adoptNamespace(pod);
  const added = lab.ask<{ addresses: string[] }>(host.place, ["pod", "add", "web", "--netns", pod]);
  await lab.untilAgent("n1", "the host is a peer", ({ peers }) =>
    peers.some(({ name, reachable }) => name === "host" && reachable === "reachable"),
  );
  for (const one of added.addresses) assertPings(lab.podSpace("n1", "p1"), one, 1450);
  const refused = meshdAt(host.place, ["leave", "--json"]);
  assert.is(refused.code, 1);
  assert.match(refused.stdout, /MESHD_PODS_EXIST/);
  lab.ask(host.place, ["leave", "--force"]);
  assert.is(hostState(host), before);
  assert.not.ok(existsSync(`/run/netns/${pod}`), "the pod's namespace is gone");
  const files = existsSync(host.place.stateDir) ? readdirSync(host.place.stateDir) : [];
  assert.equal(
    files.filter((file) => file !== "agent.log" && file !== "agent.lock"),
    [],
  );
  for (const name of ["n1", "n2"]) {
    await lab.untilAgent(name, "the host is no peer", ({ peers }) => peers.length === 1);
    const routes = () =>
      [4, 6].map((v) => runSync(lab.node(name).namespace, ["ip", `-${v}`, "route"])).join("");
    await until("its routes are gone", () =>
      joined.lease.podCIDRs.every((cidr) => !routes().includes(cidr)),
    );
    assert.ok(fibOf(name).every(({ prefix }) => !joined.lease.podCIDRs.includes(prefix)));
  }
});

rootTest(test, "a host with two underlay addresses sends from the advertised one", async () => {
  const host = lab.addGuest("two", ["192.168.77.151/24", "192.168.77.152/24"]);
  const words = ["join", "-", "--name", "two", "--underlay-address", "192.168.77.152"];
  lab.ask(host.place, words, lab.token());
  const pod = `${lab.name}-two-web`;
  adoptNamespace(pod);
  lab.ask(host.place, ["pod", "add", "web", "--netns", pod]);
  const capture = new Capture(host.namespace, host.device);
  try {
    await capture.started();
    await lab.untilAgent("n1", "the host is reachable", ({ peers }) =>
      peers.some(({ name, reachable }) => name === "two" && reachable === "reachable"),
    );
    for (const family of [4, 6] as const) assertPings(pod, lab.address("n1", "p1", family), 1450);
    await capture.stop();
    const sent = "udp.dstport == 8472 && ip.dst == 192.168.77.1";
    assert.ok(capture.frames(`${sent} && ip.src == 192.168.77.152`).length >= 4);
    assert.equal(capture.frames("ip.addr == 192.168.77.151"), []);
  } finally {
    capture.remove();
  }
  lab.ask(host.place, ["leave", "--force"]);
});

rootTest(test, "a firewall that drops what is forwarded is said in status", () => {
  const host = lab.addGuest("wall");
  const rules =
    "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }";
  runSync(host.namespace, ["nft", "-f", "-"], { input: rules });
  const status = lab.ask<AgentStatus>(host.place, ["join", "-", "--name", "wall"], lab.token());
  assert.match(status.warnings.join("\n"), /firewall nftables ip filter FORWARD drops forwarded/);
  assert.match(meshdAt(host.place, ["status"]).stdout, /^warning +firewall nftables ip filter/m);
  lab.ask(host.place, ["leave"]);
});

test.run();
