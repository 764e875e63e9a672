// Hosts that differ from the lab's own: a smaller underlay MTU, an IPv6 underlay, an address that
// moves, two meshes on one host, a host that was rebooted.
//
//   <lab>-n1 (meshd) --- bridge --- guests, one or two a test
import { rmSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { iperf } from "../support/iperf.js";
import { adoptNamespace, pings, runSync, trySync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { assertPings, type Guest, MeshLab, meshdAt, type Place } from "./mesh-lab.js";

const test = suite("hosts");
const lab = new MeshLab("ho");

interface Pod {
  namespace: string;
  addresses: string[];
}

function join(host: Guest, name: string, ...words: string[]): AgentStatus {
  return lab.ask<AgentStatus>(host.place, ["join", "-", "--name", name, ...words], lab.token());
}

function addPod(place: Place, name: string): Pod {
  const namespace = `${lab.name}-${name}`;
  adoptNamespace(namespace);
  return lab.ask<Pod>(place, ["pod", "add", name, "--netns", namespace]);
}

const ip = (host: Guest, argv: string) => runSync(host.namespace, ["ip", ...argv.split(" ")]);
const pod1 = () => lab.podSpace("n1", "p1");

async function untilPings(from: string, to: string): Promise<void> {
  await until(`${from} reaches ${to}`, () => pings(from, to, 56, 1));
}

if (isRoot) test.before(() => lab.up("--nodes", "1", "--pods", "1"));

rootTest(
  test,
  "packets too big for a peer with a smaller underlay are answered by ICMP",
  async () => {
    const host = lab.addGuest("small");
    ip(host, "link set dev eth0 mtu 1400");
    assert.is(join(host, "small").mtu, 1350);
    const { addresses, namespace } = addPod(host.place, "small");
    for (const address of addresses) {
      await untilPings(pod1(), address);
      const payload = 1450 - (address.includes(":") ? 48 : 28);
      const ping = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", `${payload}`, address];
      const { code, stdout } = trySync(pod1(), ping);
      assert.is.not(code, 0);
      assert.match(stdout, /^From (10\.244|fd00).*(Frag needed.*mtu = 1350|too big: mtu=1350)/m);
      assertPings(pod1(), address, 1350);
      for (const direction of [[], ["-R"]]) {
        const transfer = { server: namespace, client: pod1(), address };
        const { bytes } = await iperf({ ...transfer, argv: ["-n", "20M", ...direction] });
        assert.ok(bytes > 5_000_000, `${bytes} bytes`);
      }
    }
    lab.ask(host.place, ["leave", "--force"]);
  },
);

rootTest(test, "an underlay address that changes is followed by the whole mesh", async () => {
  const host = lab.addGuest("roams");
  const { lease } = join(host, "roams");
  const { addresses } = addPod(host.place, "roams");
  await untilPings(pod1(), addresses[0] ?? "");
  ip(host, `address delete ${host.address}/24 dev eth0`);
  ip(host, "address add 192.168.77.180/24 dev eth0");
  const status = () => lab.ask<AgentStatus>(host.place, ["status"]);
  await until(
    "the agent has seen it",
    () => status().underlay.address === "192.168.77.180",
    45_000,
  );
  assert.equal(status().lease, lease);
  for (const address of addresses) await untilPings(pod1(), address);
  const [peer] = lab.agent("n1").peers;
  assert.equal([peer?.name, peer?.underlay], ["roams", "192.168.77.180"]);
  lab.ask(host.place, ["leave", "--force"]);
});

rootTest(test, "after a reboot a plain join brings node and pods back as they were", async () => {
  const host = lab.addGuest("boots");
  const before = join(host, "boots", "--device-name", "over0");
  const pod = addPod(host.place, "boots");
  process.kill(before.pid, "SIGKILL");
  await until("it ended", () => !isAlive(before.pid));
  ip(host, "link delete over0");
  for (const version of ["-4", "-6"])
    trySync(host.namespace, ["ip", version, "route", "flush", "proto", "157"]);
  runSync(host.namespace, ["nft", "flush", "ruleset"]);
  runSync(host.namespace, ["sysctl", "-qw", "net.ipv4.ip_forward=0"]);
  runSync(lab.networkSpace, ["ip", "netns", "delete", pod.namespace]);
  rmSync(host.place.runDir, { recursive: true });
  const after = lab.ask<AgentStatus>(host.place, ["join"]);
  assert.equal([after.lease, after.device], [before.lease, "over0"]);
  assert.equal(lab.ask(host.place, ["pod", "list"]), [pod]);
  for (const address of pod.addresses) await untilPings(pod1(), address);
  lab.ask(host.place, ["leave", "--force"]);
});

rootTest(test, "nodes with IPv6 underlays carry both families", async () => {
  const hosts = ["six1", "six2"].map((name, index) => {
    const host = lab.addGuest(name);
    const address = `fd77::${index + 1}`;
    runSync(host.namespace, ["ip", "address", "add", `${address}/64`, "dev", "eth0", "nodad"]);
    const status = join(host, name, "--underlay-address", address);
    assert.equal([status.underlay.address, status.mtu], [address, 1430]);
    return { host, pod: addPod(host.place, name) };
  });
  const [one, two] = hosts.map(({ pod }) => pod);
  for (const [index, address] of (two?.addresses ?? []).entries()) {
    await untilPings(one?.namespace ?? "", address);
    assertPings(one?.namespace ?? "", address, 1430);
    assertPings(two?.namespace ?? "", one?.addresses[index] ?? "", 1430);
  }
  const { warnings } = lab.agent("n1");
  assert.is(warnings.filter((line) => /six[12]: no IPv4 underlay address/.test(line)).length, 2);
  for (const { host } of hosts) lab.ask(host.place, ["leave", "--force"]);
});

rootTest(
  test,
  "two agents of two meshes live on one host, and one leaves without the other",
  async () => {
    const host = lab.addGuest("both");
    const first = join(host, "both");
    const pod = addPod(host.place, "both");
    const other = {
      ...host.place,
      stateDir: `${lab.folder}/other-s`,
      runDir: `${lab.folder}/other-r`,
    };
    const mine = ["--device-name", "mesh1", "--tunnel-port", "9472"];
    const pool = ["--cluster-pool-ipv4-pod-cidr", "10.99.0.0/16"];
    lab.ask(other, ["up", "--name", "other", "--port", "4333", "--listen", host.address, ...pool]);
    const token = lab.ask<{ token: string }>(other, ["token", "create"]).token;
    const taken = meshdAt(other, ["join", "-", "--device-name", "mesh1", "--json"], token);
    assert.match(taken.stdout, /MESHD_PORT_IN_USE/);
    const second = lab.ask<AgentStatus>(other, ["join", "-", "--name", "second", ...mine], token);
    assert.equal([second.mesh.name, second.device, second.underlay.port], ["other", "mesh1", 9472]);
    const otherPod = addPod(other, "other");
    await untilPings(pod1(), pod.addresses[0] ?? "");
    assertPings(pod.namespace, otherPod.addresses[0] ?? "", 84);
    lab.ask(other, ["leave", "--force"]);
    lab.ask(other, ["down"]);
    assert.not.match(ip(host, "route"), /10\.99\.|mesh1/);
    assert.equal(lab.ask<AgentStatus>(host.place, ["status"]).pid, first.pid);
    for (const address of pod.addresses) assertPings(pod1(), address, 1450);
    lab.ask(host.place, ["leave", "--force"]);
  },
);

/** What its administrator reads there is what is so. */
function assertSaysRemoved(text: string): void {
  assert.match(text, /^node +twice \(removed\)$/m);
  assert.match(text, /^nats +not connected, .*this node was removed, so its credentials are/m);
  assert.match(text, /^lease +none$/m);
  assert.match(
    text,
    /^ends +(server's certificate \S+, )?CA /m,
    "its credentials are worth nothing",
  );
  assert.match(text, /^warning +this node is removed: .*'meshd leave --force'/m);
}

rootTest(test, "a node that was removed leaves and joins again under its name", async () => {
  const host = lab.addGuest("twice");
  const before = join(host, "twice");
  addPod(host.place, "twice");
  lab.admin("node", "remove", "twice");
  const status = () => lab.ask<AgentStatus>(host.place, ["status"]);
  await until("it knows", () => status().node.state === "removed" && !status().nats.connected);
  assertSaysRemoved(meshdAt(host.place, ["status"]).stdout);
  lab.ask(host.place, ["down", "--agent"]);
  const again = meshdAt(host.place, ["join"]);
  assert.match(again.stdout, /^node twice of mesh \S+ is removed\nwarning +this node is removed: /);
  assertSaysRemoved(meshdAt(host.place, ["status"]).stdout);
  lab.ask(host.place, ["leave", "--force"]);
  const after = join(host, "twice");
  assert.is.not(after.node.id, before.node.id);
  assert.ok(after.lease.podCIDRs.every((cidr) => !before.lease.podCIDRs.includes(cidr)));
  const { addresses } = addPod(host.place, "twice");
  for (const address of addresses) await untilPings(pod1(), address);
  lab.ask(host.place, ["leave", "--force"]);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test.run();
