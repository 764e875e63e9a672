// What an administrator changes while the mesh runs, from the control host or from outside through
// `lab env`, and what it does to packets.
//
//   <lab>-n1, -n2, -n3 (meshd, two pods each) --- bridge --- outside (no node)
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { connect, credsAuthenticator, type NatsConnection } from "nats";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { Capture } from "../support/capture.js";
import { pings, runSync, trySync, until } from "../support/netns.js";
import { geneveDatagram, vxlanDatagram } from "../support/nodes.js";
import { buildPacket, concat, setBe16, UDP } from "../support/packets.js";
import { isRoot, rootTest } from "../support/root.js";
import { assertPings, type Guest, MeshLab, meshdAt } from "./mesh-lab.js";

const test = suite("settings");
const lab = new MeshLab("st");
const NODES = ["n1", "n2", "n3"];
const OUTSIDE = ["192.168.77.101", "fd77::101"];
let outside: Guest;

interface Lease {
  cidr: string;
  state: string;
  name: string | null;
  until: string | null;
}

interface Shown {
  name: string;
  nodeId: string;
  state: string;
}

const leases = () => lab.admin<Lease[]>("lease", "list");
const pod = (node: string) => lab.podSpace(node, "p1");

/** Device MTU as the kernel has it. */
function mtuOf(namespace: string, device: string): number {
  const [link] = JSON.parse(runSync(namespace, ["ip", "-j", "link", "show", "dev", device])) as {
    mtu: number;
  }[];
  return link?.mtu ?? 0;
}

async function set(name: string, value: string, seen: (status: AgentStatus) => boolean) {
  lab.admin("config", "set", name, value);
  for (const node of NODES) await lab.untilAgent(node, `${name} is ${value}`, seen);
}

function assertAllReach(size = 84): void {
  for (const family of [4, 6] as const) {
    for (const [from, to] of [
      ["n1", "n2"],
      ["n2", "n3"],
      ["n3", "n1"],
    ] as const) {
      assertPings(pod(from), lab.address(to, "p1", family), size);
    }
  }
}

/** Frames on a device that match, while `body` runs. */
async function framesDuring(
  at: { namespace: string; device: string },
  tcpdump: string,
  body: () => void,
  tshark = "",
): Promise<string[]> {
  const capture = new Capture(at.namespace, at.device, tcpdump);
  try {
    await capture.started();
    body();
    await capture.stop();
    return capture.frames(tshark);
  } finally {
    capture.remove();
  }
}

if (isRoot) {
  test.before(() => {
    lab.up("--nodes", "3", "--pods", "2");
    outside = lab.addGuest("outside", ["192.168.77.101/24", "fd77::101/64"]);
    for (const [index, name] of NODES.entries()) {
      const address = `fd77::${index + 1}/64`;
      const { namespace } = lab.node(name);
      runSync(namespace, ["ip", "address", "add", address, "dev", "eth0", "nodad"]);
    }
  });
}

rootTest(test, "config set mtu reaches tunnel devices and pods of all nodes live", async () => {
  const pids = NODES.map((name) => lab.agent(name).pid);
  await set("mtu", "1400", ({ mtu }) => mtu === 1400);
  for (const name of NODES) {
    await until("devices have it", () => mtuOf(lab.node(name).namespace, "mesh0") === 1400);
    for (const one of ["p1", "p2"]) {
      await until("pods have it", () => mtuOf(lab.podSpace(name, one), "eth0") === 1400);
    }
  }
  assertAllReach(1400);
  const ping = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1373"];
  const tooBig = trySync(pod("n1"), [...ping, lab.address("n2", "p1", 4)]);
  assert.match(`${tooBig.stdout}${tooBig.stderr}`, /message too long|mtu[ =]*1400/i);
  assert.equal(
    NODES.map((name) => lab.agent(name).pid),
    pids,
  );
  const { warnings } = lab.admin<{ warnings: string[] }>("config", "set", "mtu", "9000");
  const carries = "eth0 (mtu 1500) carries 1450: full packets of 9000 get lost; set mtu auto";
  assert.equal(
    warnings,
    NODES.map((name) => `${name}: ${carries}`),
  );
  await set("mtu", "auto", ({ mtu }) => mtu === 1450);
  assertAllReach(1450);
});

rootTest(test, "port, network number and DSCP of the tunnel change live", async () => {
  const wire = { namespace: lab.node("n1").namespace, device: "eth0" };
  await set(
    "tunnelPort",
    "8999",
    ({ tunnelPort, change }) => tunnelPort === 8999 && change === null,
  );
  const moved = await framesDuring(wire, "udp port 8999", () => assertAllReach());
  assert.ok(moved.length > 8);
  await set("tunnelPort", "0", ({ tunnelPort, change }) => tunnelPort === 8472 && change === null);
  lab.admin("config", "set", "vni", "77");
  lab.admin("config", "set", "dscp", "46");
  const marked = "vxlan.vni == 77 && ip.dsfield.dscp == 46 && icmp.type == 8";
  await until("the new number is on the wire, and all reach each other", async () => {
    const answers = () => void pings(pod("n1"), lab.address("n2", "p1", 4), 56, 1);
    return (await framesDuring(wire, "udp port 8472", answers, marked)).length > 0;
  });
  assertAllReach(1450);
  lab.admin("config", "set", "vni", "1");
  lab.admin("config", "set", "dscp", "inherit");
  await lab.untilReachable(...NODES);
});

rootTest(
  test,
  "outer UDP checksums go off and on live, and status says what that costs",
  async () => {
    const wire = { namespace: lab.node("n1").namespace, device: "eth0" };
    await set("udpChecksum", "false", ({ offloads }) => !offloads.socket.checksums);
    const tunnel = "udp port 8472";
    const framesWith = (filter: string) =>
      framesDuring(wire, tunnel, () => assertAllReach(1450), filter);
    assert.equal(await framesWith("udp.checksum != 0"), []);
    const text = meshdAt(lab.node("n1"), ["status"]).stdout;
    assert.match(text, /without UDP_SEGMENT.*: udpChecksum is false, so datagrams go one by one/);
    await set("udpChecksum", "true", ({ offloads }) => offloads.socket.checksums);
    assert.equal(await framesWith("udp.checksum == 0"), []);
    assert.not.match(meshdAt(lab.node("n1"), ["status"]).stdout, /udpChecksum/);
  },
);

/** A datagram of a tunnel in UDP, as a raw socket sends it: without a checksum. */
function inUdp(port: number, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(8);
  for (const [at, value] of [port, port, 8 + payload.length].entries()) {
    setBe16(header, 2 * at, value);
  }
  return concat(header, payload);
}

/** n2 sends a packet of its pod to n1's under another node's identity. */
function lie(port: number, datagram: Uint8Array): void {
  const script = fileURLToPath(new URL("../support/raw-send.js", import.meta.url));
  const ends = ["n2", "n1"].map((node) => lab.agent(node).underlay.address);
  const input = `${Buffer.from(inUdp(port, datagram)).toString("hex")}\n`;
  runSync(lab.node("n2").namespace, [process.execPath, script, "4", "17", ...ends], { input });
}

function ipv4Bytes(address: string): Uint8Array {
  return Uint8Array.from(address.split("."), Number);
}

rootTest(test, "vni identity: numbers say who sent, and nobody speaks for another", async () => {
  const wire = { namespace: lab.node("n1").namespace, device: "eth0" };
  await set("vni", "identity", ({ identity, change }) => identity !== null && change === null);
  const identities = new Map(NODES.map((node) => [node, lab.agent(node).identity ?? 0]));
  assert.is(new Set(identities.values()).size, NODES.length);
  for (const [protocol, port] of [
    ["vxlan", 8472],
    ["geneve", 6081],
  ] as const) {
    const isOver = ({ tunnelProtocol, change }: AgentStatus) =>
      tunnelProtocol === protocol && change === null;
    await set("tunnelProtocol", protocol, isOver);
    const capture = new Capture(wire.namespace, wire.device, `udp port ${port}`);
    try {
      await capture.started();
      assertAllReach(1450);
      assert.ok(pings(wire.namespace, lab.address("n2", "p1", 4)), "from the node itself");
      await capture.stop();
      const number = `${protocol}.vni`;
      const from = (node: string) =>
        `(ip.src == ${lab.address(node, "p1", 4)} || ipv6.src == ${lab.address(node, "p1", 6)})`;
      for (const [node, identity] of identities) {
        assert.ok(capture.frames(`${from(node)} && ${number} == ${identity}`).length >= 4, node);
        assert.equal(capture.frames(`${from(node)} && ${number} != ${identity}`), []);
      }
      const own = lab.agent("n1").node.addresses.find((address) => address.includes("."));
      assert.ok(capture.frames(`ip.src == ${own} && ${number} == 6`).length > 0);
      assert.equal(capture.frames(`ip.src == ${own} && ${number} != 6`), []);
    } finally {
      capture.remove();
    }
    const [source, destination] = [lab.address("n2", "p1", 4), lab.address("n1", "p1", 4)];
    const ends = { source: ipv4Bytes(source), destination: ipv4Bytes(destination) };
    const inner = buildPacket({ version: 4, protocol: UDP, payload: new Uint8Array(8), ...ends });
    const vni = identities.get("n3") ?? 0;
    const wrap = { vxlan: vxlanDatagram(inner, { vni }), geneve: geneveDatagram(inner, { vni }) };
    const before = refusals()?.packets ?? 0;
    lie(port, wrap[protocol]);
    await until("the lie is counted", () => (refusals()?.packets ?? 0) === before + 1);
    const last = refusals()?.last;
    assert.equal([last?.peer, last?.identity, last?.protocol], ["n2", vni, protocol]);
    if (protocol === "vxlan")
      assert.equal([last?.source, last?.destination], [source, destination]);
  }
  const said = meshdAt(lab.node("n1"), ["drops"]).stdout;
  assert.match(said, /last \d+ s ago: .*from n2 \(.*\), identity \d+/);
  assert.match(meshdAt(lab.node("n1"), ["status"]).stdout, /security identity \d+/);
  lab.admin("config", "set", "tunnelProtocol", "vxlan");
  await set("vni", "1", ({ identity, tunnelProtocol, change }) => {
    return identity === null && tunnelProtocol === "vxlan" && change === null;
  });
  assertAllReach(1450);
});

const refusals = () => lab.drops("n1").find(({ reason }) => reason === "FOREIGN_IDENTITY");

rootTest(test, "a setting that cannot change live is refused and nothing changes", () => {
  const before = lab.admin("config", "get");
  for (const [name, value] of [
    ["workers", "2"],
    ["clusterPoolIPv4PodCIDR", "10.99.0.0/16"],
    ["clusterPoolIPv4MaskSize", "26"],
    ["underlayProtocol", "ipv6"],
  ] as const) {
    const done = meshdAt(lab.control, ["config", "set", name, value, "--json"]);
    assert.is(done.code, 1, `${name}: ${done.stdout}`);
    assert.match(done.stderr, /^meshd: [^\n]+nothing was changed[^\n]*\n$/);
    assert.match(done.stdout, /MESHD_SETTING_NOT_LIVE/);
  }
  assert.equal(lab.admin("config", "get"), before);
  assertAllReach();
});

/** Sources of the pings that arrive outside when a pod of n1 sends one of each family. */
async function sourcesSeenOutside(): Promise<(string | undefined)[]> {
  const at = { namespace: outside.namespace, device: outside.device };
  const knock = () => {
    for (const target of OUTSIDE) trySync(pod("n1"), ["ping", "-n", "-c", "1", "-W", "1", target]);
  };
  const filter = "icmp[0] == 8 or (icmp6 and ip6[40] == 128)";
  const lines = await framesDuring(at, filter, knock);
  return [...new Set(lines.map((line) => line.trim().split(/\s+/)[2]))];
}

rootTest(
  test,
  "masquerade hides pods from the outside while it is on, never from pods",
  async () => {
    const rules = () => trySync(lab.node("n1").namespace, ["nft", "list", "ruleset"]).stdout;
    const own = ([4, 6] as const).map((family) => lab.address("n1", "p1", family));
    assert.equal(await sourcesSeenOutside(), ["192.168.77.1", "fd77::1"]);
    for (const target of OUTSIDE) assert.ok(pings(pod("n1"), target), "and gets an answer");
    lab.admin("config", "set", "masquerade", "false");
    await until("the rules are gone", () => !rules().includes("masquerade"));
    assert.equal(await sourcesSeenOutside(), own);
    lab.admin("config", "set", "masquerade", "true");
    await until("the rules are back", () => rules().includes("masquerade"));
    const inner = { namespace: pod("n2"), device: "eth0" };
    const ping = () => assertPings(pod("n1"), lab.address("n2", "p1", 4), 84);
    const lines = await framesDuring(inner, "icmp[0] == 8", ping);
    assert.ok(lines.length > 0 && lines.every((line) => line.includes(` ${own[0]} `)));
  },
);

rootTest(test, "a renamed node keeps its key, addresses and traffic", async () => {
  const before = lab.admin<Shown>("node", "show", "n3");
  lab.admin("node", "rename", "n3", "web-1");
  const after = lab.admin<Shown>("node", "show", "web-1");
  assert.equal({ ...after, name: "n3", lastSeen: 0 }, { ...before, lastSeen: 0 });
  await lab.untilAgent("n3", "it knows its name", ({ node }) => node.name === "web-1");
  await lab.untilAgent("n1", "others know it", ({ peers }) =>
    peers.some(({ name, reachable }) => name === "web-1" && reachable === "reachable"),
  );
  const taken = meshdAt(lab.control, ["node", "rename", "web-1", "n1", "--json"]);
  assert.is(taken.code, 1);
  assert.match(taken.stdout, /MESHD_NAME_TAKEN/);
  assertAllReach();
});

rootTest(test, "a drained node takes no pods, and its traffic goes on", async () => {
  lab.admin("node", "drain", "web-1");
  await lab.untilAgent("n3", "it drains", ({ node }) => node.state === "draining");
  const refused = meshdAt(lab.node("n3"), ["pod", "add", "more", "--json"]);
  assert.is(refused.code, 1);
  assert.match(refused.stdout, /MESHD_DRAINING/);
  assertAllReach();
});

rootTest(test, "routes and leases are listed, and an audit finds nothing", () => {
  const routes = lab.admin<{ prefix: string; name: string }[]>("route", "list");
  const held = leases();
  assert.is(held.length, 6);
  assert.ok(held.every(({ state }) => state === "held"));
  assert.equal(
    routes.map(({ prefix, name }) => `${prefix} ${name}`).sort(),
    held.map(({ cidr, name }) => `${cidr} ${name}`).sort(),
  );
  assert.equal(lab.admin("lease", "audit"), []);
});

async function reply(nats: NatsConnection, subject: string): Promise<unknown> {
  const message = await nats.request(subject, "", { timeout: 5000 });
  assert.is(message.headers?.get("Nats-Service-Error") ?? "", "");
  return message.json();
}

rootTest(
  test,
  "a NATS client of one's own calls the services with the lab's credentials",
  async () => {
    const env = lab.env();
    const creds = readFileSync(env.NATS_CREDS ?? "");
    const nats = await connect({
      servers: env.NATS_URL ?? "",
      tls: { caFile: env.NATS_CA ?? "" },
      authenticator: credsAuthenticator(creds),
      inboxPrefix: "_INBOX",
    });
    try {
      const ping = (await reply(nats, "$SRV.PING.meshd")) as { name: string; type: string };
      assert.equal([ping.name, ping.type], ["meshd", "io.nats.micro.v1.ping_response"]);
      const nodes = (await reply(nats, `${lab.name}.admin.nodes.list`)) as Shown[];
      assert.equal(nodes.map(({ name }) => name).sort(), ["n1", "n2", "web-1"]);
      const { nodeId } = nodes[0] as Shown;
      const status = (await reply(nats, `${lab.name}.agent.${nodeId}.status`)) as AgentStatus;
      assert.equal([status.node.id, status.ready], [nodeId, true]);
      const wrong = await nats.request(`${lab.name}.admin.nodes.show`, '{"node":"nobody"}');
      assert.match(wrong.headers?.get("Nats-Service-Error") ?? "", /^MESHD_NOT_FOUND: /);
    } finally {
      await nats.close();
    }
  },
);

rootTest(test, "a removed node's traffic is cut both ways, and its PodCIDRs rest", async () => {
  const addresses = { n1: lab.address("n1", "p1", 4), n3: lab.address("n3", "p1", 4) };
  const cidrs = leases().filter(({ name }) => name === "web-1");
  lab.admin("node", "remove", "web-1");
  await lab.untilAgent("n1", "it is no peer", ({ peers }) => peers.length === 1);
  await lab.untilAgent("n3", "it knows", ({ node }) => node.state === "removed");
  const gone = lab.agent("n3");
  assert.equal([gone.tunnelPort, gone.underlay.port, gone.peersTotal], [8472, 8472, 0]);
  assert.match(gone.warnings.join("\n"), /removed/);
  assert.not.ok(pings(pod("n1"), addresses.n3, 56, 1));
  assert.not.ok(pings(pod("n3"), addresses.n1, 56, 1));
  const resting = leases().filter(({ state }) => state === "quarantined");
  assert.equal(resting.map(({ cidr }) => cidr).sort(), cidrs.map(({ cidr }) => cidr).sort());
  assert.ok(!lab.admin<Shown[]>("node", "list").some(({ name }) => name === "web-1"));
  assertPings(pod("n1"), lab.address("n2", "p1", 6), 1450);
});

rootTest(test, "reclaim frees a PodCIDR that rests, and ends the lease of one held", async () => {
  const resting = leases().filter(({ state }) => state === "quarantined");
  for (const { cidr } of resting) {
    const done = lab.admin<{ reclaimed: string[] }>("lease", "reclaim", cidr);
    assert.equal(done.reclaimed, [cidr]);
  }
  assert.ok(leases().every(({ until: free }) => free === null || Date.parse(free) <= Date.now()));
  const host = lab.addGuest("again");
  const join = ["join", "-", "--name", "again"];
  const { lease } = lab.ask<AgentStatus>(host.place, join, lab.token());
  const [four = "", six = ""] = lease.podCIDRs;
  lab.admin("lease", "reclaim", four);
  const left = () => lab.ask<AgentStatus>(host.place, ["status"]).lease.podCIDRs.join();
  await until("the node has lost the lease", () => left() === six);
  await until("nobody routes there", () => {
    return !runSync(lab.node("n1").namespace, ["ip", "route"]).includes(four);
  });
  assert.equal(lab.admin("lease", "audit"), []);
  lab.ask(host.place, ["leave"]);
});

test.run();
