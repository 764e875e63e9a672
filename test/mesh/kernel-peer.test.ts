// A kernel is a peer, introduced by `meshd peer add`: this machine's with a vxlan device, set up as
// flannel does, and Debian's in a virtual machine with the devices of other encapsulations.
//
//   <lab>-n1, -n2 (meshd) --- bridge --- kernel (flannel.1, vxlan)
//   six (meshd, over IPv6) ----------/ \--- guest (geneve, ipip and sit, gre, gretap, fou; over
//                                           IPv6 vxlan, geneve, ip6tnl, ip6gre, ip6gretap, fou)
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, PeerStatus } from "../../src/agent/index.js";
import { KernelPeer, peerTest, whyAbsent } from "../peers/index.js";
import { Capture, plainWire, wrongFrames } from "../support/capture.js";
import { iperf } from "../support/iperf.js";
import { adoptNamespace, runSync, trySync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { type CrossingNode, crossKernel } from "./kernel-crossing.js";
import { KERNEL, KERNEL_SIDES, type Remote, remoteOf, type ShownNode } from "./kernel-sides.js";
import { KERNEL_SIDES_6 } from "./kernel-sides-6.js";
import { assertPings, type Guest, MeshLab, unexpectedDrops } from "./mesh-lab.js";

const test = suite("a kernel as a peer");
const lab = new MeshLab("kp");
const DEVICE = "flannel.1";
const MAC = "02:00:00:00:77:01";
const MTU = 1450;
/** Overlay addresses of the kernel host: the first of its networks, as flannel has it. */
const OVERLAY = { 4: "10.9.0.0", 6: "fd00:9::" } as const;
const CIDRS = ["10.9.0.0/24", "fd00:9::/64"];
const NODES = ["n1", "n2"];
let kernel: Guest;

const GUEST = { name: "rack8", tap: "rack8", address: "192.168.77.120", address6: "fd77::120" };
/** VXLAN's MTU over IPv4 and over IPv6. */
const FULL = 1450;
const FULL_6 = 1430;
const sixes: CrossingNode[] = [];
let booting: Promise<KernelPeer>;
let guest: KernelPeer | undefined;
let remotes: Remote[] = [];

/** While the first tests run. */
function bootGuest(): void {
  const wire = { addresses: [`${GUEST.address}/24`, `${GUEST.address6}/64`], tapAddresses: [] };
  const card = { namespace: lab.networkSpace, tap: GUEST.tap, ...wire };
  booting = KernelPeer.start({ name: GUEST.name, cards: [card] });
  // Without this a boot that fails first would end the process.
  booting.catch(() => undefined);
}

function addDevice(): void {
  const run = (argv: string) => runSync(kernel.namespace, argv.split(" "));
  const tunnel = `id 1 local ${kernel.address} dev ${kernel.device} dstport 8472 nolearning`;
  run(`ip link add ${DEVICE} address ${MAC} mtu ${MTU} type vxlan ${tunnel}`);
  run(`ip address add ${OVERLAY[4]}/32 dev ${DEVICE}`);
  run(`ip address add ${OVERLAY[6]}/128 dev ${DEVICE} nodad`);
  run(`ip link set ${DEVICE} up`);
}

/** One route, one neighbour and one FDB entry a node: all that flannel knows of it. */
function learnNode(name: string): void {
  const run = (argv: string) => runSync(kernel.namespace, argv.split(" "));
  const { podCIDRs, node } = lab.admin<ShownNode>("node", "show", name);
  for (const cidr of podCIDRs) {
    const gateway = cidr.split("/")[0] ?? "";
    const at = `${gateway} lladdr ${node.vtepMac} dev ${DEVICE}`;
    run(`ip neighbour replace ${at} nud permanent`);
    run(`ip route add ${cidr} via ${gateway} dev ${DEVICE} onlink`);
  }
  const underlay = node.underlay.addresses[0] ?? "";
  run(`bridge fdb append ${node.vtepMac} dev ${DEVICE} dst ${underlay}`);
}

function peerOf(status: AgentStatus): PeerStatus | undefined {
  return status.peers.find((peer) => peer.name === "rack7");
}

async function captured(at: Guest, body: () => Promise<void> | void): Promise<void> {
  const capture = new Capture(at.namespace, at.device);
  try {
    await capture.started();
    await body();
    await capture.stop();
    const wrong = wrongFrames(at.address);
    const [tunnel = 0, faulty] = capture.counts(["vxlan.vni == 1", wrong]);
    assert.ok(tunnel > 20, "the tunnel was captured");
    capture.assertNone([wrong], [faulty]);
  } finally {
    capture.remove();
  }
}

rootTest(test, "peer add brings a route to every node and the peer is reachable", async () => {
  lab.up("--nodes", "2", "--pods", "1");
  kernel = lab.addGuest("kernel");
  if (whyAbsent() === undefined) bootGuest();
  plainWire(kernel.namespace, kernel.device);
  for (const name of NODES) plainWire(lab.node(name).namespace, "eth0");
  addDevice();
  for (const name of NODES) learnNode(name);
  const cidrs = CIDRS.flatMap((cidr) => ["--cidr", cidr]);
  lab.admin("peer", "add", "rack7", "--endpoint", kernel.address, "--mac", MAC, ...cidrs);
  for (const name of NODES) {
    await lab.untilAgent(name, "rack7 answers", (status) => {
      const peer = peerOf(status);
      return peer?.reachable === "reachable" && (peer.rtt_us ?? 0) > 0;
    });
    const peer = peerOf(lab.agent(name));
    assert.equal([peer?.kind, peer?.underlay, peer?.podCIDRs], ["static", kernel.address, CIDRS]);
  }
});

rootTest(test, "pods and kernel ping each other, small and full-size, both families", async () => {
  await captured(kernel, () => {
    for (const family of [4, 6] as const) {
      for (const name of NODES) {
        const [pod, address] = [lab.podSpace(name, "p1"), lab.address(name, "p1", family)];
        for (const size of [family === 4 ? 36 : 56, MTU]) {
          assertPings(pod, OVERLAY[family], size);
          assertPings(kernel.namespace, address, size);
        }
        assertPings(lab.node(name).namespace, OVERLAY[family], MTU);
      }
    }
  });
});

rootTest(
  test,
  "TCP and UDP flow both ways, and every frame on the wire is well-formed",
  async () => {
    const pod = lab.podSpace("n1", "p1");
    await captured(kernel, async () => {
      for (const family of [4, 6] as const) {
        const transfer = { server: kernel.namespace, client: pod, address: OVERLAY[family] };
        for (const direction of [[], ["-R"]]) {
          const tcp = await iperf({ ...transfer, argv: ["-n", "20M", ...direction] });
          assert.ok(tcp.bytes > 5_000_000, `${tcp.bytes} bytes by TCP`);
          for (const length of [16, MTU - (family === 4 ? 28 : 48)]) {
            const speed = length === 16 ? "500K" : "10M";
            const argv = ["-u", "-k", "400", "-b", speed, "-l", `${length}`, ...direction];
            const udp = await iperf({ ...transfer, argv });
            assert.ok(udp.packets > 100, `${udp.packets} packets by UDP`);
            // iperf3 sends in bursts: on a busy machine a socket's queue may lose a few of them.
            assert.ok(udp.lostPackets <= udp.packets / 20, `${udp.lostPackets} packets lost`);
          }
        }
      }
    });
  },
);

rootTest(test, "nothing was dropped but multicast, and the counters add up", async () => {
  for (const name of NODES) {
    await lab.counters(name);
    assert.equal(unexpectedDrops(lab.drops(name)), []);
  }
});

rootTest(test, "peer remove takes the route out and ends the traffic", async () => {
  lab.admin("peer", "remove", "rack7");
  for (const name of NODES) {
    await lab.untilAgent(name, "rack7 is gone", (status) => peerOf(status) === undefined);
    const listed = lab.ask<{ prefix: string }[]>(name, ["route", "list", "--here"]);
    assert.not.ok(listed.some(({ prefix }) => CIDRS.includes(prefix)));
    for (const version of ["-4", "-6"]) {
      await until("the kernel's route is gone", () => {
        const routes = runSync(lab.node(name).namespace, ["ip", version, "route"]);
        return !CIDRS.some((cidr) => routes.includes(cidr));
      });
    }
  }
  const ping = ["ping", "-n", "-c", "1", "-W", "1", lab.address("n1", "p1", 4)];
  assert.is.not(trySync(kernel.namespace, ping).code, 0);
  assert.ok(lab.drops("n1").some(({ reason }) => reason === "UNKNOWN_PEER"));
});

peerTest(test, "a Debian kernel takes its place on the underlay", async () => {
  guest = await booting;
  runSync(lab.networkSpace, ["ip", "link", "set", GUEST.tap, "master", "br0"]);
  const own = [`${KERNEL.overlay[4]}/32`, `${KERNEL.overlay[6]}/128`];
  await guest.sh(own.map((one) => `ip address add ${one} dev lo\n`).join(""));
  remotes = NODES.map((name, index) => remoteOf(lab.admin("node", "show", name), index));
  assert.is(remotes.length, NODES.length);
});
test.after(() => guest?.stop());

for (const side of KERNEL_SIDES) {
  peerTest(test, `a kernel's ${side.title} and the pods reach each other`, async () => {
    assert.ok(guest, "the kernel runs");
    const nodes = remotes.map((remote, index) => {
      const name = NODES[index] ?? "";
      const address = { 4: lab.address(name, "p1", 4), 6: lab.address(name, "p1", 6) };
      return {
        place: lab.node(name),
        pod: { namespace: lab.podSpace(name, "p1"), address },
        remote,
      };
    });
    const { name, tap, address } = GUEST;
    await crossKernel(lab, side, nodes, { guest, name, tap, underlay: address, full: FULL });
    for (const name of NODES) assert.equal(lab.agent(name).warnings, []);
  });
}

peerTest(test, "a node with an IPv6 underlay joins, where the kernel has an address, too", () => {
  lab.admin("peer", "remove", GUEST.name);
  joinSix("six");
  assert.is(sixes.length, 1);
});

/** Puts a host with an IPv6 underlay address on the bridge, which joins and has one pod. */
function joinSix(name: string): void {
  const { namespace, place } = lab.addGuest(name);
  const address = `fd77::${sixes.length + 1}`;
  runSync(namespace, ["ip", "address", "add", `${address}/64`, "dev", "eth0", "nodad"]);
  const words = ["join", "-", "--name", name, "--underlay-address", address];
  lab.ask(place, words, lab.token());
  const pod = `${lab.name}-${name}-p`;
  adoptNamespace(pod);
  const { addresses } = lab.ask<{ addresses: string[] }>(place, [
    "pod",
    "add",
    "p",
    "--netns",
    pod,
  ]);
  const of = (isSix: boolean) => addresses.find((one) => one.includes(":") === isSix) ?? "";
  const remote = remoteOf(lab.admin("node", "show", name), sixes.length);
  sixes.push({ place, pod: { namespace: pod, address: { 4: of(false), 6: of(true) } }, remote });
}

for (const side of KERNEL_SIDES_6) {
  peerTest(test, `over IPv6, a kernel's ${side.title} and the pods reach each other`, async () => {
    assert.ok(guest, "the kernel runs");
    const at = { name: "rack9", tap: GUEST.tap, underlay: GUEST.address6, full: FULL_6 };
    await crossKernel(lab, side, sixes, { guest, ...at });
    for (const { place } of sixes) {
      const { warnings } = lab.ask<AgentStatus>(place, ["status"]);
      const others = warnings.filter((line) => !/^node n[12]: no IPv6 underlay/.test(line));
      assert.equal(others, []);
    }
  });
}

test.run();
