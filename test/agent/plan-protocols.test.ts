// plan and encapsulations: ports, MTU, what stands in tables, and ports beside the mesh's own.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { MeshSnapshot } from "../../control/index.js";
import { plan } from "../../src/agent/plan/plan.js";
import type { Plan } from "../../src/agent/plan/types.js";
import { facts, mesh, node, nodeIdOf, staticPeer } from "./mesh-records.js";

function planOf(snapshot: MeshSnapshot, index = 1, changes = {}): Plan {
  return plan({ snapshot, local: facts(index, changes) });
}

const codes = (made: Plan) => made.problems.map((problem) => problem.code);
const names = (made: Plan) => made.peers.map((peer) => peer.name);

for (const [tunnelProtocol, port, over4] of [
  ["geneve", 6081, 1450],
  ["udp", 8285, 1472],
  ["ipip", 0, 1480],
] as const) {
  test(`${tunnelProtocol}: port, MTU of both underlay families, and what peers need`, () => {
    const snapshot = mesh(2);
    snapshot.config.tunnelProtocol = tunnelProtocol;
    snapshot.nodes.set(nodeIdOf(2), node(2, { protocols: ["vxlan", tunnelProtocol], mtu: 9000 }));
    const made = planOf(snapshot);
    assert.equal([made.port, made.mtu, made.otherPorts], [port, over4, []]);
    const [peer] = made.tables?.peers ?? [];
    assert.is(peer?.protocol, tunnelProtocol);
    assert.is(peer?.mac, tunnelProtocol === "geneve" ? "0e:00:00:00:00:02" : undefined);
    assert.is(peer?.vni, tunnelProtocol === "geneve" ? 1 : undefined);
    const underlay = { family: 6 as const, address: "fd77::1", interface: "eth0", mtu: 1500 };
    assert.is(planOf(snapshot, 1, { underlay }).mtu, over4 - 20);
  });
}

test("static peers of other encapsulations get a port of their own beside the mesh's", () => {
  const snapshot = mesh(2);
  const at = (host: number) => ({
    endpoint: `192.168.77.${host}`,
    podCIDRs: [`10.9.${host}.0/24`],
  });
  const bare = { protocol: "udp" as const, vtepMac: null, vni: null };
  for (const peer of [
    staticPeer("a", { ...at(201), protocol: "geneve", port: 6081 }),
    staticPeer("b", { ...at(202), ...bare, port: 8285 }),
    staticPeer("c", { ...at(203), ...bare, port: 8285 }),
    staticPeer("d", at(204)),
    staticPeer("e", { ...at(205), ...bare, port: 8472 }),
    staticPeer("f", { ...at(206), ...bare, port: 6081 }),
  ]) {
    snapshot.peers.set(peer.name, peer);
  }
  const made = planOf(snapshot);
  assert.equal(made.otherPorts, [
    { protocol: "geneve", port: 6081 },
    { protocol: "udp", port: 8285 },
  ]);
  assert.equal(names(made), ["n2", "a", "b", "c", "d"]);
  assert.equal(codes(made), ["MESHD_PORT_SHARED", "MESHD_PORT_SHARED"]);
  const rows = made.tables?.peers.map(({ protocol, vni, mtu }) => [protocol, vni, mtu]);
  assert.equal(rows, [
    ["vxlan", 1, 1450],
    ["geneve", 7, 1450],
    ["udp", undefined, 1450],
    ["udp", undefined, 1450],
    ["vxlan", 7, 1450],
  ]);
});

test("ipip has no port, whatever the settings say, and shares none with static peers", () => {
  const snapshot = mesh(2);
  const bare = { vtepMac: null, vni: null, endpoint: "192.168.77.201", podCIDRs: ["10.9.1.0/24"] };
  snapshot.peers.set("a", staticPeer("a", { ...bare, protocol: "ipip", port: 0 }));
  const beside = planOf(snapshot);
  assert.equal(beside.otherPorts, [{ protocol: "ipip", port: 0 }]);
  assert.equal(names(beside), ["n2", "a"]);
  const [, peer] = beside.tables?.peers ?? [];
  assert.equal([peer?.protocol, peer?.port, peer?.mtu], ["ipip", 0, 1450]);
  snapshot.config.tunnelProtocol = "ipip";
  snapshot.config.tunnelPort = 9999;
  snapshot.nodes.set(nodeIdOf(2), node(2, { protocols: ["ipip"] }));
  snapshot.peers.set("a", staticPeer("a", { ...bare, protocol: "udp", port: 8285 }));
  const own = planOf(snapshot, 1, { tunnelPort: 7777 });
  assert.equal([own.port, own.tables?.self.udpPort], [0, 0]);
  assert.equal(own.otherPorts, [{ protocol: "udp", port: 8285 }]);
  assert.equal(codes(own), []);
});

/** A mesh of two that speaks GRE. */
function greMesh(changes: Partial<MeshSnapshot["config"]> = {}): MeshSnapshot {
  const snapshot = mesh(2);
  Object.assign(snapshot.config, { tunnelProtocol: "gre", ...changes });
  snapshot.nodes.set(nodeIdOf(2), node(2, { protocols: ["vxlan", "gre"], mtu: 9000 }));
  return snapshot;
}

test("gre: members are sent IP, without a port, with the words that the settings ask for", () => {
  for (const [greKey, greChecksum, greSequence, mtu] of [
    [null, false, false, 1476],
    [0, false, false, 1472],
    [7, true, false, 1468],
    [7, true, true, 1464],
  ] as const) {
    const made = planOf(greMesh({ greKey, greChecksum, greSequence }));
    assert.equal([made.port, made.mtu, made.ordered], [0, mtu, greSequence]);
    const [peer] = made.tables?.peers ?? [];
    const words = { key: greKey, checksum: greChecksum, sequence: greSequence, frames: false };
    assert.equal([peer?.protocol, peer?.mac, peer?.vni], ["gre", undefined, undefined]);
    assert.equal(peer?.gre, words);
    assert.is(peer?.mtu, mtu);
  }
});

test("gre: a static peer may have a key of its own, and one with a MAC address gets frames", () => {
  const snapshot = mesh(2);
  Object.assign(snapshot.config, { greKey: 7 });
  const bare = { protocol: "gre" as const, port: 0, vni: null };
  const at = (host: number) => ({
    ...{ endpoint: `192.168.77.${host}`, podCIDRs: [`10.9.${host}.0/24`] },
  });
  for (const peer of [
    staticPeer("a", { ...at(201), ...bare, vtepMac: null }),
    staticPeer("b", { ...at(202), ...bare, vtepMac: null, greKey: 0 }),
    staticPeer("c", { ...at(203), ...bare, vtepMac: "0e:00:00:00:00:09" }),
  ]) {
    snapshot.peers.set(peer.name, peer);
  }
  const made = planOf(snapshot);
  assert.equal(codes(made), []);
  assert.equal(made.otherPorts, [{ protocol: "gre", port: 0 }]);
  const rows = made.tables?.peers.map(({ gre, mac, mtu }) => [gre?.key, gre?.frames, mac, mtu]);
  assert.equal(rows?.slice(1), [
    [7, false, undefined, 1450],
    [0, false, undefined, 1450],
    [7, true, "0e:00:00:00:00:09", 1450],
  ]);
  Object.assign(snapshot.config, { greSequence: true });
  assert.ok(planOf(snapshot).ordered, "one peer with numbers is enough");
  snapshot.peers.clear();
  assert.not.ok(planOf(snapshot).ordered, "numbers that nobody sends need no order");
});

test("gre: a bridge's frame leaves less of a path that GRE alone was measured for", () => {
  const snapshot = greMesh();
  const peer = { protocol: "gre" as const, port: 0, vni: null, vtepMac: "0e:00:00:00:00:09" };
  snapshot.peers.set("tap", staticPeer("tap", peer));
  assert.equal(
    planOf(snapshot).tables?.peers.map(({ mtu }) => mtu),
    [1476, 1462],
  );
});

test.run();
