// A kernel is a peer, introduced by `meshd peer add`: this machine's with a vxlan device, set up as
// flannel does, and Debian's in a virtual machine with the devices of other encapsulations.
//
//   <lab>-n1, -n2 (meshd) --- bridge --- kernel (flannel.1, vxlan)
//                                   \--- guest  (geneve, ipip and sit, gre, gretap, fou)
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, PeerStatus } from "../../src/agent/index.js";
import { checkPing, checkTcp, DIRECTIONS } from "../interop/traffic.js";
import { KernelPeer, peerTest, whyAbsent } from "../peers/index.js";
import { Capture, plainWire, wrongFrames } from "../support/capture.js";
import { iperf } from "../support/iperf.js";
import { runSync, trySync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import {
  devicesOf,
  KERNEL,
  KERNEL_SIDES,
  type KernelSide,
  type Remote,
  remoteOf,
  type ShownNode,
} from "./kernel-sides.js";
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

const GUEST = { name: "rack8", tap: "rack8", address: "192.168.77.120" };
const FULL = 1450;
const TCP_BYTES = 2_000_000;
let booting: Promise<KernelPeer>;
let guest: KernelPeer | undefined;
let remotes: Remote[] = [];

/** While the first tests run. */
function bootGuest(): void {
  const wire = { addresses: [`${GUEST.address}/24`], tapAddresses: [] };
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
    assert.ok(capture.frames("vxlan.vni == 1").length > 20, "the tunnel was captured");
    assert.equal(capture.frames(wrongFrames(at.address)), []);
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
          const tcp = await iperf({ ...transfer, argv: ["-n", "10M", ...direction] });
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

/** Pings of both nodes' pods, and streams with the first one's, the last family inside. */
async function crossing(
  { inner: families }: KernelSide,
  peer: KernelPeer,
  capture: Capture,
): Promise<void> {
  for (const inner of families) {
    for (const name of NODES) {
      const address = { node: lab.address(name, "p1", inner), kernel: KERNEL.overlay[inner] };
      const namespace = lab.podSpace(name, "p1");
      const sizes = { mtu: FULL, tcpBytes: TCP_BYTES };
      const connected = { guest: peer, namespace, inner, address, capture, ...sizes };
      const hasStreams = name === "n1" && inner === families.at(-1);
      for (const direction of DIRECTIONS) {
        await checkPing(connected, direction);
        if (hasStreams) await checkTcp(connected, direction);
      }
    }
  }
}

/** Makes the devices and introduces the kernel so; a peer that is there already is replaced. */
async function withSide(
  side: KernelSide,
  peer: KernelPeer,
  body: () => Promise<void>,
): Promise<void> {
  const made = remotes.flatMap((remote) => side.each(remote, GUEST.address));
  const cidrs = side.inner.flatMap((family) => ["--cidr", KERNEL.cidrs[family]]);
  const who = [GUEST.name, "--endpoint", GUEST.address, ...cidrs];
  await peer.sh([...(side.once ?? []), ...made, ""].join("\n"));
  lab.admin("peer", "add", ...who, "--protocol", side.protocol, ...side.words);
  for (const name of NODES) {
    await lab.untilAgent(name, `${side.title} answers`, ({ peers }) => {
      const found = peers.find((one) => one.name === GUEST.name);
      return found?.protocol === side.protocol && found.reachable === "reachable";
    });
  }
  await body();
  await peer.sh(
    devicesOf(made)
      .map((device) => `ip link del ${device}\n`)
      .join(""),
  );
}

for (const side of KERNEL_SIDES) {
  peerTest(test, `a kernel's ${side.title} and the pods reach each other`, async () => {
    const capture = new Capture(lab.networkSpace, GUEST.tap, side.captured);
    try {
      await capture.started();
      assert.ok(guest, "the kernel runs");
      const peer = guest;
      await withSide(side, peer, () => crossing(side, peer, capture));
      await capture.stop();
      const right = capture.frames(`${side.decoded} && tcp`).length;
      const least = (2 * TCP_BYTES) / 2000;
      assert.ok(right > least, `${right} frames are what they ought to be`);
      const underlay = [GUEST.address, ...remotes.map((remote) => remote.underlay)];
      assert.equal(capture.frames(wrongFrames(...underlay)).slice(0, 5), []);
    } finally {
      capture.remove();
    }
    for (const name of NODES) assert.equal(lab.agent(name).warnings, []);
  });
}

test.run();
