// A node's life end to end: killed, stopped, drained, without NATS, refused, removed, left.
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { deleteNamespace, pings, runSync, spawnIn, trySync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { DrivenAgent } from "./driven.js";
import { TwoHosts, WITHOUT_RAW } from "./two-hosts.js";

const RAW_SEND = fileURLToPath(new URL("../support/raw-send.js", import.meta.url));
const FLOOD = join(tmpdir(), `meshd-flood-${process.pid}`);

let hosts: TwoHosts;
const both = () => [hosts.agent(0), hosts.agent(1)];

test.before(async () => {
  if (isRoot) hosts = await TwoHosts.start();
  if (isRoot) await hosts.addPods();
});
test.after(async () => {
  // Not there when the start failed, whose error is the one to show.
  await (hosts as TwoHosts | undefined)?.stop();
});

/** Binds the UDP port there; resolves when it is taken, to what frees it. */
async function holdPort(namespace: string, port: number): Promise<() => void> {
  const script = `require("dgram").createSocket("udp4").bind(${port}, () => console.log("held"))`;
  const holder = spawnIn(namespace, [process.execPath, "-e", script]);
  await new Promise((resolve) => holder.stdout?.once("data", resolve));
  return () => holder.kill();
}

rootTest(
  test,
  "SIGKILL and restart without a token: same lease, same pod, traffic again",
  async () => {
    const before = await hosts.agent(1).status();
    await hosts.agent(1).end("SIGKILL");
    // As if it had been killed while it saved: gone when the node leaves, at the end.
    const { stateDir } = hosts.agent(1).options;
    for (const left of ["snapshot.json.4711.0011aabb", "membership.json.4711-0011aabb.new"]) {
      writeFileSync(join(stateDir, left), "{");
    }
    const kept = runSync(hosts.agent(1).namespace, ["ip", "route"]);
    assert.match(kept, /unreachable 10\.244\.0\.0\/16/);
    await hosts.restart(1);
    const after = await hosts.agent(1).status();
    assert.equal(after.lease, before.lease);
    assert.equal(after.node, before.node);
    assert.is(after.pods, 1);
    assert.is(after.workers.length, before.workers.length);
    await until("pods reach each other again", () => hosts.reaches());
    hosts.everyPairPings();
  },
);

rootTest(test, "SIGTERM leaves device, routes and pods, so that nothing leaks", async () => {
  assert.is(await hosts.agent(1).end("SIGTERM"), 0);
  const namespace = hosts.agent(1).namespace;
  assert.match(runSync(namespace, ["ip", "link", "show", "mesh0"]), /mesh0/);
  assert.match(runSync(namespace, ["ip", "route"]), /dev mesh0 proto 157/);
  assert.not.ok(pings(hosts.pod(1).netns, hosts.pod(0).addresses[0] ?? "", 56, 1));
  runSync(namespace, ["nft", "add", "table", "inet", "strict"]);
  const chain = "{ type filter hook forward priority 0; policy drop; }";
  runSync(namespace, ["nft", `add chain inet strict forward ${chain}`]);
  await hosts.restart(1);
  const { warnings } = await hosts.agent(1).status();
  assert.match(warnings.join("\n"), /firewall nftables inet strict forward drops forwarded/);
  runSync(namespace, ["nft", "delete", "table", "inet", "strict"]);
  await until("back again", () => hosts.reaches());
});

rootTest(test, "a draining node keeps its traffic and takes no new pods", async () => {
  await hosts.controller.ask({ do: "drain", name: "n1", value: true });
  await hosts.agent(0).statusThat("draining", (s) => s.node.state === "draining");
  const refused = await hosts.agent(0).ask("POST", "/pods", { name: "late" });
  assert.is(refused.status, 409);
  assert.match(JSON.stringify(refused.json), /MESHD_DRAINING/);
  hosts.everyPairPings();
  await hosts.controller.ask({ do: "drain", name: "n1", value: false });
  await hosts.agent(0).statusThat("active again", (s) => s.node.state === "active");
});

/** A static peer that nobody runs: what is open for it is what counts. */
const peerOf = (protocol: string, port: number, last: number) => ({
  ...{ name: `${protocol}-peer`, endpoint: `192.0.2.${last}`, podCIDRs: [`10.9.${last}.0/24`] },
  ...{ protocol, port, vtepMac: port === 0 ? null : "02:00:00:00:00:09" },
  vni: port === 0 ? null : 9,
});
/** A host of no mesh sends packets of IP in IP there, until `body` is over. */
async function floodOf(namespace: string, to: string, body: () => Promise<void>): Promise<void> {
  const argv = [process.execPath, RAW_SEND, "4", "4", "192.168.95.1", to, FLOOD];
  const packet = `4500001c000000004011${"00".repeat(10)}0001000200080000`;
  writeFileSync(FLOOD, `${packet}\n`.repeat(200_000));
  const sender = spawnIn(namespace, argv);
  try {
    await body();
  } finally {
    sender.kill();
    rmSync(FLOOD);
  }
}

const REFUSAL =
  /raw socket for IP protocol 4 on 192\.168\.78\.1 .*: run as root or with CAP_NET_RAW/;

rootTest(
  test,
  "without CAP_NET_RAW UDP goes on and raw sockets are refused; with it floods are filtered",
  async () => {
    const { namespace } = hosts.agent(1);
    const change = (name: string, value: unknown) =>
      hosts.controller.ask({ do: "config", name, value });
    const isRefused = (status: AgentStatus) => status.warnings.some((line) => REFUSAL.test(line));
    await hosts.agent(1).end("SIGTERM");
    await hosts.begin(1, undefined, "n2", WITHOUT_RAW).started();
    await until("pods reach each other again", () => hosts.reaches());
    await hosts.controller.ask({ do: "add-peer", value: peerOf("ipip", 0, 4) });
    await hosts.agent(1).statusThat("it is said", isRefused);
    await hosts.agent(0).statusThat("the other node has raw sockets", ({ raw }) => raw !== null);
    await hosts.controller.ask({ do: "add-peer", value: peerOf("geneve", 6081, 5) });
    await until("what comes by UDP is opened all the same", () =>
      /:6081 /.test(runSync(namespace, ["ss", "-lun"])),
    );
    hosts.everyPairPings();
    await floodOf(hosts.makeHost("192.168.95"), "192.168.77.1", async () => {
      await hosts.agent(0).statusThat("filters", ({ raw }) => raw?.strangers.active === true);
    });
    for (const name of ["ipip-peer", "geneve-peer"]) {
      await hosts.controller.ask({ do: "remove-peer", name });
    }
    await hosts.agent(1).statusThat("all is well", (status) => !isRefused(status));
    await change("tunnelProtocol", "ipip");
    await hosts.agent(1).statusThat("it is said", isRefused);
    const changed = ({ change: now }: AgentStatus) => now?.waiting.join() === "n2";
    await hosts.agent(0).statusThat("the other knows whom it waits for", changed);
    hosts.everyPairPings();
    await hosts.agent(1).end("SIGTERM");
    const first = await hosts.begin(1, undefined, "n2", WITHOUT_RAW).first();
    assert.match(first, /^refused MESHD_NOT_PERMITTED /);
    assert.match(first, REFUSAL);
    await change("tunnelProtocol", "vxlan");
    await hosts.restart(1);
    await until("pods reach each other again", () => hosts.reaches());
  },
);

rootTest(test, "without NATS the agents forward, and one that restarts does too", async () => {
  await hosts.controller.ask({ do: "stop-nats" });
  await hosts.agent(0).statusThat("NATS is missed", (s) => !s.nats.connected);
  hosts.everyPairPings();
  const before = await hosts.agent(1).status();
  await hosts.agent(1).end("SIGKILL");
  await hosts.restart(1);
  const after = await hosts.agent(1).status();
  assert.is(after.nats.connected, false);
  assert.equal(after.lease, before.lease);
  await until("pods reach each other", () => hosts.reaches());
  hosts.everyPairPings();
  await hosts.controller.ask({ do: "start-nats" });
  for (const one of both()) await one.statusThat("NATS is back", (s) => s.nats.connected);
  const answers = () =>
    hosts.controller.ask({ do: "nodes" }).then(
      () => true,
      () => false,
    );
  await until("the controller answers again", answers, 40_000);
});

rootTest(test, "a host that got another address is found there by the others", async () => {
  const { namespace } = hosts.agent(1);
  const ip = (words: string) => runSync(namespace, ["ip", ...words.split(" ")]);
  ip("address flush dev eth0 scope global");
  ip("address add 192.168.78.2/24 dev eth0");
  ip("route add default via 192.168.78.254");
  await until("pods reach each other again", () => hosts.reaches(), 30_000);
  const seen = await hosts
    .agent(0)
    .statusThat("its new address", (s) => s.peers[0]?.underlay === "192.168.78.2");
  assert.is(seen.peersTotal, 1);
  hosts.everyPairPings();
});

rootTest(test, "a second agent on the same state directory is refused with one line", async () => {
  const second = new DrivenAgent(hosts.agent(0).namespace, hosts.optionsOf("n1"));
  assert.match(await second.first(), /^refused MESHD_STATE_LOCKED /);
});

async function heldLeases(): Promise<string[]> {
  const leases = (await hosts.controller.ask({ do: "leases" })) as {
    cidr: string;
    state: string;
  }[];
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
    const namespace = hosts.makeHost(`192.168.${79 + number}`);
    for (const words of commands) runSync(namespace, ["ip", ...words.split(" ")]);
    const free = name === "port" ? await holdPort(namespace, 8472) : () => undefined;
    const pool = name === "pool" ? { underlayAddress: "10.244.7.1" } : {};
    const options = { ...hosts.optionsOf(`x-${name}`, await hosts.controller.token()), ...pool };
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
  const before = await hosts.agent(1).status();
  await hosts.controller.ask({ do: "remove", name: "n2" });
  const removed = await hosts.agent(1).statusThat("removed", (s) => s.node.state === "removed");
  assert.match(removed.warnings.join(), /this node is removed/);
  await hosts.agent(0).statusThat("the other forgets it", (s) => s.peersTotal === 0);
  const routes = () => runSync(hosts.agent(1).namespace, ["ip", "route"]);
  await until("its routes are gone", () => !/dev mesh0 proto 157/.test(routes()));
  assert.match(routes(), /unreachable 10\.244\.0\.0\/16/);
  await hosts.agent(1).end("SIGTERM");
  await hosts.restart(1, await hosts.controller.token());
  const after = await hosts.agent(1).status();
  assert.is(after.node.state, "active");
  assert.ok(after.lease.epoch > before.lease.epoch, "a lease given anew has a new epoch");
  await hosts.agent(0).statusThat("reached again", (s) => s.peersReachable === 1);
});

rootTest(
  test,
  "leave is refused while pods exist, and with force takes everything out",
  async () => {
    const refused = await hosts.agent(1).ask("POST", "/leave", {});
    assert.is(refused.status, 409);
    const { namespace, options } = hosts.agent(1);
    const gone = new Promise((resolve) => hosts.agent(1).child.once("exit", resolve));
    const ask = () => hosts.agent(1).ask("POST", "/leave", { force: true });
    const both = await Promise.all([ask(), ask()]);
    const [left, second] = both.sort((a, b) => a.status - b.status);
    assert.equal(left, { status: 200, json: { left: true } });
    assert.is(second?.status, 503, "one at a time");
    assert.is(await gone, 0);
    assert.is(trySync(namespace, ["ip", "link", "show", "mesh0"]).code, 1);
    assert.not.match(runSync(namespace, ["ip", "route"]), /10\.244/);
    assert.not.match(runSync(namespace, ["ip", "-6", "route"]), /fd00:244/);
    assert.is(runSync(namespace, ["nft", "list", "tables"]).trim(), "");
    assert.equal(readdirSync(options.stateDir), ["agent.lock"]);
    const nodes = (await hosts.controller.ask({ do: "nodes" })) as {
      name: string;
      state: string;
    }[];
    assert.not.ok(nodes.some((node) => node.name === "n2" && node.state === "active"));
    await hosts.agent(0).statusThat("the other forgets it", (s: AgentStatus) => s.peersTotal === 0);
  },
);

test.run();
