// Two real agents with a real nats-server and controller, joined by tokens:
//
//   ns one --192.168.77.1/24-- hub (router, nats-server, controller) --192.168.78.1/24-- ns two
//   pods p1, p2 behind one and two; VXLAN crosses the hub as ordinary UDP
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentOptions, AgentStatus } from "../../src/agent/index.js";
import type { Pod } from "../../src/pods/index.js";
import {
  adoptNamespace,
  createNamespace,
  deleteNamespace,
  joinByVeth,
  pings,
  runSync,
  spawnIn,
  trySync,
  uniqueDevice,
  uniqueName,
  until,
} from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { DrivenAgent, DrivenController } from "./driven.js";

const NATS_PORT = 4222;
const config = {
  clusterPoolIPv6PodCIDR: "fd00:244::/48",
  clusterPoolIPv6MaskSize: 64,
  leaseQuarantine: 600,
};
const directory = mkdtempSync(join(tmpdir(), "meshd-e2e-"));
let hub = "";
let controller: DrivenController;
const agents: DrivenAgent[] = [];
const pods: Pod[] = [];
const podNames: string[] = [];

function optionsOf(name: string, token?: string): AgentOptions {
  return {
    stateDir: join(directory, name, "state"),
    runDir: join(directory, name, "run"),
    name,
    version: "0.1.0",
    // One node with one worker, one with two: both kinds of device are opened and taken up again.
    workers: name === "n2" ? 2 : 1,
    ...(token === undefined ? {} : { token }),
  };
}

/** A host at the hub: `subnet`.1, default route by `subnet`.254. */
function makeHost(subnet: string): string {
  const device = uniqueDevice("hub");
  const namespace = createNamespace("node");
  joinByVeth(
    { namespace, device: "eth0", addresses: [`${subnet}.1/24`] },
    { namespace: hub, device, addresses: [`${subnet}.254/24`] },
  );
  runSync(namespace, ["ip", "route", "add", "default", "via", `${subnet}.254`]);
  return namespace;
}

async function startAgent(namespace: string, options: AgentOptions): Promise<DrivenAgent> {
  const agent = new DrivenAgent(namespace, options);
  await agent.started();
  return agent;
}

async function addPod(agent: DrivenAgent, name: string): Promise<Pod> {
  const unique = uniqueName(name);
  adoptNamespace(unique);
  const answer = await agent.ask("POST", "/pods", { name, netns: unique });
  assert.is(answer.status, 200, JSON.stringify(answer.json));
  podNames.push(name);
  return answer.json as Pod;
}

/** Binds the UDP port there; resolves when it is taken, to what frees it. */
async function holdPort(namespace: string, port: number): Promise<() => void> {
  const script = `require("dgram").createSocket("udp4").bind(${port}, () => console.log("held"))`;
  const holder = spawnIn(namespace, [process.execPath, "-e", script]);
  await new Promise((resolve) => holder.stdout?.once("data", resolve));
  return () => holder.kill();
}

function agent(index: number): DrivenAgent {
  return agents[index] as DrivenAgent;
}

function pod(index: number): Pod {
  return pods[index] as Pod;
}

function everyPairPings(size = 56): void {
  for (const [from, to] of [
    [0, 1],
    [1, 0],
  ] as const) {
    for (const address of pod(to).addresses) {
      const reached = pings(pod(from).netns, address, size);
      assert.ok(reached, `${pod(from).name} -> ${address} (${size} bytes)`);
    }
  }
}

test.before(async () => {
  if (!isRoot) return;
  hub = createNamespace("hub");
  runSync(hub, ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
  const one = makeHost("192.168.77");
  const two = makeHost("192.168.78");
  const mesh = join(directory, "mesh");
  controller = new DrivenController(hub, mesh, "192.168.77.254", NATS_PORT, config);
  await controller.started();
  for (const [index, namespace] of [one, two].entries()) {
    const name = `n${index + 1}`;
    agents.push(await startAgent(namespace, optionsOf(name, await controller.token())));
  }
});

test.after(async () => {
  if (isRoot) {
    for (const one of agents) if (one.child.exitCode === null) await one.end("SIGKILL");
    await controller?.stop();
    for (const one of pods) deleteNamespace(one.netns);
  }
  rmSync(directory, { recursive: true, force: true });
});

rootTest(
  test,
  "both nodes join with a token, get a PodCIDR each and reach each other",
  async () => {
    const seen = await Promise.all(
      agents.map((one) =>
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
    pods.push(await addPod(agent(0), "p1"), await addPod(agent(1), "p2"));
    everyPairPings();
    everyPairPings(1450 - 48);
  },
);

rootTest(test, "node and pod reach each other, and the node speaks with its node address", () => {
  const one = agent(0).namespace;
  for (const address of pod(1).addresses) assert.ok(pings(one, address), address);
  for (const address of pod(0).addresses) assert.ok(pings(one, address), address);
  const four = pod(1).addresses.find((text) => text.includes(".")) ?? "";
  const route = runSync(one, ["ip", "route", "get", four]);
  assert.match(route, /dev mesh0 src 10\.244\.\d+\.0 /);
});

rootTest(
  test,
  "a pod reaches the outside by masquerade, and pods keep their address inside",
  () => {
    assert.ok(pings(pod(0).netns, "192.168.78.254"));
  },
);

rootTest(test, "a round without a change writes nothing", async () => {
  const before = await agent(0).statusThat("churn known", (s) => s.churn.reconciles > 0);
  await controller.ask({ do: "config", name: "leaseQuarantine", value: 601 });
  const after = await agent(0).statusThat(
    "another round",
    (s) => s.churn.reconciles > before.churn.reconciles,
  );
  assert.is(after.churn.published, before.churn.published);
  assert.is(after.churn.hostChanges, before.churn.hostChanges);
});

rootTest(test, "status, counters, fib, routes, drops and metrics are answered", async () => {
  const get = async (path: string) => (await agent(0).ask("GET", path)).json;
  const fib = (await get("/fib")) as { prefix: string; peer: string }[];
  assert.is(fib.length, 2);
  assert.ok(fib.every((row) => row.peer === "n2"));
  assert.is(((await get("/routes")) as unknown[]).length, 6);
  assert.is(((await get("/pods")) as unknown[]).length, 1);
  assert.ok(Array.isArray(await get("/drops")));
  const overNats = (await controller.ask({ do: "status", name: "n1" })) as AgentStatus;
  assert.is(overNats.pid, (await agent(0).status()).pid);
  const metrics = String(await get("/metrics"));
  assert.match(metrics, /meshd_peer_reachable\{peer="n2"\} 1/);
  assert.match(metrics, /meshd_forwarded_packets_total\{worker="0",direction="egress"\} [1-9]/);
});

rootTest(test, "malformed records are reported in status and not applied", async () => {
  const id = (await agent(1).status()).node.id;
  // A member's record is mended by controllers, a stray one stays until somebody removes it.
  await controller.ask({ do: "spoil", key: `members.${id}`, value: '{"nodeId":7}' });
  await controller.ask({ do: "spoil", key: "peers.stray", value: "no record" });
  const seen = await agent(0).statusThat("refused record", (s) =>
    s.refused.some((refusal) => refusal.key === "peers.stray"),
  );
  assert.is(seen.peersTotal, 1);
  everyPairPings();
});

rootTest(
  test,
  "config set mtu changes device and pods of every node without a restart",
  async () => {
    const pids = await Promise.all(agents.map(async (one) => (await one.status()).pid));
    await controller.ask({ do: "config", name: "mtu", value: 1390 });
    for (const [index, one] of agents.entries()) {
      const status = await one.statusThat("mtu 1390", (s) => s.mtu === 1390);
      assert.is(status.pid, pids[index]);
      const link = (namespace: string, device: string) =>
        runSync(namespace, ["ip", "link", "show", "dev", device]);
      await until("device and pod have it", () => {
        const pair = link(one.namespace, "mesh0") + link(pod(index).netns, "eth0");
        return (pair.match(/mtu 1390/g) ?? []).length === 2;
      });
    }
    everyPairPings(1390 - 48);
  },
);

rootTest(test, "another tunnel port is taken by running agents", async () => {
  await controller.ask({ do: "config", name: "tunnelPort", value: 8499 });
  for (const one of agents) {
    await one.statusThat("port 8499", (s) => s.underlay.port === 8499 && s.tunnelPort === 8499);
  }
  await until("pods reach each other on the new port", () =>
    pings(pod(0).netns, pod(1).addresses[0] ?? ""),
  );
  everyPairPings();
});

rootTest(test, "a device that somebody deleted comes back with everything on it", async () => {
  const { namespace } = agent(0);
  runSync(namespace, ["ip", "link", "delete", "mesh0"]);
  const reached = () => pings(pod(0).netns, pod(1).addresses[0] ?? "", 56, 1);
  await until("pods reach each other again", reached, 20_000);
  everyPairPings();
  const workers = (await agent(0).status()).workers;
  assert.ok(workers.some((worker) => worker.restarts > 0));
});

rootTest(
  test,
  "SIGKILL and restart without a token: same lease, same pod, traffic again",
  async () => {
    const before = await agent(1).status();
    await agent(1).end("SIGKILL");
    const kept = runSync(agent(1).namespace, ["ip", "route"]);
    assert.match(kept, /unreachable 10\.244\.0\.0\/16/);
    agents[1] = await startAgent(agent(1).namespace, optionsOf("n2"));
    const after = await agent(1).status();
    assert.equal(after.lease, before.lease);
    assert.equal(after.node, before.node);
    assert.is(after.pods, 1);
    assert.is(after.workers.length, 2);
    await until("pods reach each other again", () =>
      pings(pod(0).netns, pod(1).addresses[0] ?? ""),
    );
    everyPairPings();
  },
);

rootTest(test, "SIGTERM leaves device, routes and pods, so that nothing leaks", async () => {
  assert.is(await agent(1).end("SIGTERM"), 0);
  const namespace = agent(1).namespace;
  assert.match(runSync(namespace, ["ip", "link", "show", "mesh0"]), /mesh0/);
  assert.match(runSync(namespace, ["ip", "route"]), /dev mesh0 proto 157/);
  assert.not.ok(pings(pod(1).netns, pod(0).addresses[0] ?? "", 56, 1));
  runSync(namespace, ["nft", "add", "table", "inet", "strict"]);
  const chain = "{ type filter hook forward priority 0; policy drop; }";
  runSync(namespace, ["nft", `add chain inet strict forward ${chain}`]);
  agents[1] = await startAgent(namespace, optionsOf("n2"));
  const { warnings } = await agent(1).status();
  assert.match(warnings.join("\n"), /firewall nftables inet strict forward drops forwarded/);
  runSync(namespace, ["nft", "delete", "table", "inet", "strict"]);
  await until("back again", () => pings(pod(0).netns, pod(1).addresses[0] ?? ""));
});

rootTest(test, "a draining node keeps its traffic and takes no new pods", async () => {
  await controller.ask({ do: "drain", name: "n1", value: true });
  await agent(0).statusThat("draining", (s) => s.node.state === "draining");
  const refused = await agent(0).ask("POST", "/pods", { name: "late" });
  assert.is(refused.status, 409);
  assert.match(JSON.stringify(refused.json), /MESHD_DRAINING/);
  everyPairPings();
  await controller.ask({ do: "drain", name: "n1", value: false });
  await agent(0).statusThat("active again", (s) => s.node.state === "active");
});

rootTest(test, "without NATS the agents forward, and one that restarts does too", async () => {
  await controller.ask({ do: "stop-nats" });
  await agent(0).statusThat("NATS is missed", (s) => !s.nats.connected);
  everyPairPings();
  const before = await agent(1).status();
  await agent(1).end("SIGKILL");
  agents[1] = await startAgent(agent(1).namespace, optionsOf("n2"));
  const after = await agent(1).status();
  assert.is(after.nats.connected, false);
  assert.equal(after.lease, before.lease);
  await until("pods reach each other", () => pings(pod(0).netns, pod(1).addresses[0] ?? ""));
  everyPairPings();
  await controller.ask({ do: "start-nats" });
  for (const one of agents) await one.statusThat("NATS is back", (s) => s.nats.connected);
  const answers = () =>
    controller.ask({ do: "nodes" }).then(
      () => true,
      () => false,
    );
  await until("the controller answers again", answers, 40_000);
});

rootTest(test, "a second agent on the same state directory is refused with one line", async () => {
  const second = new DrivenAgent(agent(0).namespace, optionsOf("n1"));
  assert.match(await second.first(), /^refused MESHD_STATE_LOCKED /);
});

async function heldLeases(): Promise<string[]> {
  const leases = (await controller.ask({ do: "leases" })) as { cidr: string; state: string }[];
  return leases.filter((lease) => lease.state === "held").map((lease) => lease.cidr);
}

const conflicts: { name: string; commands: string[]; code: string }[] = [
  { name: "route", commands: ["route add 10.244.9.0/24 dev eth0"], code: "ROUTE_CONFLICT" },
  { name: "device", commands: ["tuntap add mesh0 mode tap"], code: "DEVICE_BUSY" },
  { name: "veth", commands: ["link add mesh0 type veth peer name other"], code: "DEVICE_BUSY" },
  {
    name: "pool",
    commands: ["address add 10.244.7.1/32 dev eth0"],
    code: "(UNDERLAY_IN_POOL|BAD_REQUEST)",
  },
  { name: "port", commands: [], code: "PORT_IN_USE" },
];

for (const [number, { name, commands, code }] of conflicts.entries()) {
  rootTest(test, `a conflict (${name}) is refused with one line and leaves no lease`, async () => {
    const before = await heldLeases();
    const namespace = makeHost(`192.168.${79 + number}`);
    for (const words of commands) runSync(namespace, ["ip", ...words.split(" ")]);
    const free = name === "port" ? await holdPort(namespace, 8472) : () => undefined;
    const pool = name === "pool" ? { underlayAddress: "10.244.7.1" } : {};
    const options = { ...optionsOf(`x-${name}`, await controller.token()), ...pool };
    const refused = new DrivenAgent(namespace, options);
    const line = await refused.first();
    free();
    assert.match(
      line,
      new RegExp(`^refused MESHD_${code} `),
      `${line}\n${refused.errors.join("\n")}`,
    );
    assert.equal(await heldLeases(), before);
    assert.not.match(runSync(namespace, ["ip", "route"]), /proto 157/);
    deleteNamespace(namespace);
  });
}

rootTest(test, "a removed node carries nothing, says so, and can be joined again", async () => {
  const before = await agent(1).status();
  await controller.ask({ do: "remove", name: "n2" });
  const removed = await agent(1).statusThat("removed", (s) => s.node.state === "removed");
  assert.match(removed.warnings.join(), /this node is removed/);
  await agent(0).statusThat("the other forgets it", (s) => s.peersTotal === 0);
  const routes = () => runSync(agent(1).namespace, ["ip", "route"]);
  await until("its routes are gone", () => !/dev mesh0 proto 157/.test(routes()));
  assert.match(routes(), /unreachable 10\.244\.0\.0\/16/);
  await agent(1).end("SIGTERM");
  const options = optionsOf("n2", await controller.token());
  agents[1] = await startAgent(agent(1).namespace, options);
  const after = await agent(1).status();
  assert.is(after.node.state, "active");
  assert.ok(after.lease.epoch > before.lease.epoch, "a lease given anew has a new epoch");
  await agent(0).statusThat("reached again", (s) => s.peersReachable === 1);
});

rootTest(
  test,
  "leave is refused while pods exist, and with force takes everything out",
  async () => {
    const refused = await agent(1).ask("POST", "/leave", {});
    assert.is(refused.status, 409);
    const { namespace, options } = agent(1);
    const gone = new Promise((resolve) => agent(1).child.once("exit", resolve));
    const left = await agent(1).ask("POST", "/leave", { force: true });
    assert.equal(left, { status: 200, json: { left: true } });
    assert.is(await gone, 0);
    assert.is(trySync(namespace, ["ip", "link", "show", "mesh0"]).code, 1);
    assert.not.match(runSync(namespace, ["ip", "route"]), /10\.244/);
    assert.not.match(runSync(namespace, ["ip", "-6", "route"]), /fd00:244/);
    assert.is(runSync(namespace, ["nft", "list", "tables"]).trim(), "");
    assert.equal(readdirSync(options.stateDir), ["agent.lock"]);
    const nodes = (await controller.ask({ do: "nodes" })) as { name: string; state: string }[];
    assert.not.ok(nodes.some((node) => node.name === "n2" && node.state === "active"));
    await agent(0).statusThat("the other forgets it", (s: AgentStatus) => s.peersTotal === 0);
  },
);

rootTest(test, "what holds secrets is for root alone", () => {
  const { stateDir, runDir } = agent(0).options;
  for (const name of readdirSync(stateDir)) {
    assert.is(statSync(join(stateDir, name)).mode & 0o077, 0, name);
  }
  assert.is(statSync(join(runDir, "agent.sock")).mode & 0o777, 0o600);
});

test.run();
