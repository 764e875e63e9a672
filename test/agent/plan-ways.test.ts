// Native routing and crossSubnet in plan: which way each prefix goes, which routes, walls and
// sources follow from it, and that both ends of a pair decide alike.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { MeshSnapshot } from "../../control/index.js";
import { plan } from "../../src/agent/plan/plan.js";
import type { Plan } from "../../src/agent/plan/types.js";
import { walledPools } from "../../src/agent/plan/ways.js";
import { contains, type Prefix, parsePrefix, withoutPrefix } from "../../src/agent/prefix.js";
import { facts, mesh, node, nodeIdOf, staticPeer } from "./mesh-records.js";

const NATIVE = { routingMode: "native", autoDirectNodeRoutes: true } as const;
const CROSS = { encapMode: "crossSubnet" } as const;

/** A mesh of n1 and n2 on one subnet, n3 on another. */
function twoSubnets(config: Partial<MeshSnapshot["config"]>): MeshSnapshot {
  const snapshot = mesh(3);
  Object.assign(snapshot.config, config);
  moveTo(snapshot, 3, "192.168.78.3/24", "fe80::3/64");
  return snapshot;
}

function moveTo(snapshot: MeshSnapshot, index: number, ...interfaceAddresses: string[]): void {
  const address = (interfaceAddresses[0] ?? "").split("/")[0] ?? "";
  const underlay = { addresses: [address], interfaceAddresses, port: 8472 };
  snapshot.nodes.set(nodeIdOf(index), node(index, { underlay }));
}

const planOf = (snapshot: MeshSnapshot, index = 1) => plan({ snapshot, local: facts(index) });

/** "kind destination by gateway", walls left out. */
const routes = (made: Plan) =>
  made.routes
    .filter(({ kind }) => kind !== "unreachable")
    .map(({ kind, destination, gateway = "-" }) => `${kind} ${destination} ${gateway}`);
const walls = (made: Plan) =>
  made.routes.filter(({ kind }) => kind === "unreachable").map(({ destination }) => destination);
const ways = (made: Plan) =>
  made.peers.map(({ name, ways: { ipv4, ipv6 } }) => `${name} ${ipv4} ${ipv6}`);
const problems = (made: Plan) => made.problems.map(({ code, key }) => `${code} ${key}`);

const POOLS = ["10.244.0.0/16", "fd00:244::/48"];
/** Of n1: pools and own PodCIDRs. */
const WALLS = ["10.244.0.0/16", "10.244.1.0/24", "fd00:244:0:1::/64", "fd00:244::/48"];

test("unless asked for, every peer is encapsulated and nothing is admitted bare", () => {
  const made = planOf(twoSubnets({}));
  assert.equal(ways(made), ["n2 tunnel tunnel", "n3 tunnel tunnel"]);
  assert.ok(made.routes.every(({ kind }) => kind !== "direct"));
  assert.is(made.admission, null);
  // The mode of native routing alone changes nothing under the tunnel.
  const set = { autoDirectNodeRoutes: true, ipv4NativeRoutingCIDR: "10.244.0.0/16" };
  assert.equal(planOf(twoSubnets(set)).routes, made.routes);
});

test("crossSubnet: a neighbour gets kernel routes in both families, others the tunnel", () => {
  const made = planOf(twoSubnets(CROSS));
  assert.equal(ways(made), ["n2 direct direct", "n3 tunnel tunnel"]);
  assert.equal(routes(made), [
    "direct 10.244.2.0/24 192.168.77.2",
    "peer 10.244.3.0/24 -",
    "direct fd00:244:0:2::/64 fe80::2",
    "peer fd00:244:0:3::/64 -",
  ]);
  const direct = made.routes.find(({ kind }) => kind === "direct");
  assert.equal([direct?.device, direct?.source], ["eth0", "10.244.1.0"]);
  assert.equal(walls(made), WALLS);
  assert.equal(made.problems, []);
  // Pods keep the tunnel's size: peers across the subnet need it.
  assert.is(made.mtu, 1450);
});

test("native: a neighbour gets kernel routes, another is a problem by name", () => {
  const made = planOf(twoSubnets(NATIVE));
  assert.equal(ways(made), ["n2 direct direct", "n3 none none"]);
  assert.equal(routes(made), [
    "direct 10.244.2.0/24 192.168.77.2",
    "direct fd00:244:0:2::/64 fe80::2",
  ]);
  assert.equal(walls(made), WALLS);
  assert.equal(problems(made), [`MESHD_NO_WAY nodes.${nodeIdOf(3)}`]);
  const why = made.problems[0]?.message ?? "";
  assert.match(why, /^node n3: .*192\.168\.78\.3 is on another subnet than 192\.168\.77\.1/);
  assert.match(why, /ipv4NativeRoutingCIDR and ipv6NativeRoutingCIDR do not hold/);
  assert.is(made.mtu, 1500, "the underlay's own");
});

test("native: what the underlay routes has no route, no wall, no masquerade and no problem", () => {
  const left = { ipv4NativeRoutingCIDR: "10.0.0.0/8", ipv6NativeRoutingCIDR: "fd00:244::/48" };
  const made = planOf(twoSubnets({ ...NATIVE, ...left }));
  assert.equal(ways(made), ["n2 direct direct", "n3 underlay underlay"]);
  assert.equal(walls(made), ["10.244.1.0/24", "fd00:244:0:1::/64"]);
  assert.equal(made.problems, []);
  assert.ok(made.masquerade?.except.includes("10.0.0.0/8"));
  assert.equal(made.leftToUnderlay, ["10.0.0.0/8", "fd00:244::/48"]);
  const alone = planOf(twoSubnets({ routingMode: "native", ...left }));
  assert.equal(ways(alone), ["n2 underlay underlay", "n3 underlay underlay"]);
  assert.equal(routes(alone), []);
});

test("native without neighbours' routes or a native network says so of every peer", () => {
  const made = planOf(twoSubnets({ routingMode: "native" }));
  assert.equal(ways(made), ["n2 none none", "n3 none none"]);
  assert.equal(
    problems(made),
    [2, 3].map((i) => `MESHD_NO_WAY nodes.${nodeIdOf(i)}`),
  );
  assert.match(made.problems[0]?.message ?? "", /n2: autoDirectNodeRoutes is false/);
});

test("a native network inside the pool leaves walls around it, piece by piece", () => {
  const made = planOf(twoSubnets({ ...NATIVE, ipv4NativeRoutingCIDR: "10.244.2.0/23" }));
  assert.equal(ways(made), ["n2 direct direct", "n3 underlay none"]);
  const around = walls(made).filter((wall) => wall.startsWith("10."));
  assert.ok(!around.includes("10.244.0.0/16"));
  const parsed = (text: string) => parsePrefix(text) as Prefix;
  const isWalled = (text: string) => around.some((wall) => contains(parsed(wall), parsed(text)));
  for (let third = 0; third < 256; third++) {
    assert.is(isWalled(`10.244.${third}.0/24`), third !== 2 && third !== 3, `${third}`);
  }
});

test("a prefix without a part of it is the rest, no address more or less", () => {
  const six = parsePrefix("fd00::/124") as Prefix;
  const hole = parsePrefix("fd00::6/127") as Prefix;
  const rest = withoutPrefix(six, hole);
  const count = rest.reduce((sum, { length }) => sum + 2 ** (128 - length), 0);
  assert.is(count, 14);
  assert.not.ok(rest.some((piece) => contains(piece, hole) || contains(hole, piece)));
  assert.equal(walledPools(POOLS, [parsePrefix("0.0.0.0/0") as Prefix]), [POOLS[1]]);
  assert.equal(walledPools(POOLS, [parsePrefix("10.9.0.0/16") as Prefix]), POOLS);
});

test("both must stand in one another's subnet, and both decide alike", () => {
  const cases: [string, string][] = [
    ["192.168.77.2/24", "direct"],
    // Its subnet does not hold us, though ours holds it; then a host route, as clouds give them.
    ["192.168.77.200/26", "tunnel"],
    ["192.168.77.2/32", "tunnel"],
    ["192.168.0.2/16", "tunnel"],
    ["192.168.77.2/16", "direct"],
  ];
  for (const [said, way] of cases) {
    const snapshot = mesh(2);
    Object.assign(snapshot.config, CROSS);
    moveTo(snapshot, 2, said, "fe80::2/64");
    assert.equal(ways(planOf(snapshot)), [`n2 ${way} ${way}`], said);
    const [address = ""] = said.split("/");
    const here = { ...facts(2).underlay, address, interfaceAddresses: [said, "fe80::2/64"] };
    const theirs = plan({ snapshot, local: facts(2, { underlay: here }) });
    assert.equal(ways(theirs), [`n1 ${way} ${way}`], said);
  }
});

test("a node that does not say its subnet is no neighbour", () => {
  const snapshot = twoSubnets(NATIVE);
  moveTo(snapshot, 2, "192.168.77.2/24");
  const record = snapshot.nodes.get(nodeIdOf(2));
  if (record) record.underlay.interfaceAddresses = [];
  const made = planOf(snapshot);
  assert.equal(ways(made)[0], "n2 none none");
  assert.match(made.problems[0]?.message ?? "", /n2: does not say its underlay subnet/);
});

test("a family without an address on the link keeps the tunnel, or is said under native", () => {
  const snapshot = twoSubnets(CROSS);
  moveTo(snapshot, 2, "192.168.77.2/24");
  assert.equal(ways(planOf(snapshot))[0], "n2 direct tunnel");
  Object.assign(snapshot.config, NATIVE);
  const made = planOf(snapshot);
  assert.equal(ways(made)[0], "n2 direct none");
  assert.match(made.problems[0]?.message ?? "", /n2: has no IPv6 address on our link/);
});

test("on an IPv6 underlay IPv4 goes by a neighbour's IPv4 address on our subnet", () => {
  const snapshot = mesh(2);
  Object.assign(snapshot.config, CROSS);
  moveTo(snapshot, 2, "fd77::2/64", "10.9.9.9/24", "192.168.77.2/24");
  const own = ["fd77::1/64", "192.168.77.1/24"];
  const underlay = { ...facts(1).underlay, address: "fd77::1", interfaceAddresses: own };
  const local = facts(1, { underlay: { ...underlay, family: 6 } });
  assert.equal(routes(plan({ snapshot, local })), [
    "direct 10.244.2.0/24 192.168.77.2",
    "direct fd00:244:0:2::/64 fd77::2",
  ]);
  // Without one it goes by the IPv6 address; IPv6 by an IPv4 one it cannot.
  moveTo(snapshot, 2, "fd77::2/64");
  assert.equal(routes(plan({ snapshot, local })), [
    "direct 10.244.2.0/24 fd77::2",
    "direct fd00:244:0:2::/64 fd77::2",
  ]);
});

test("a gateway inside a pool is none: its route would lead into the mesh", () => {
  const snapshot = twoSubnets(CROSS);
  moveTo(snapshot, 2, "192.168.77.2/24", "fd00:244::77:2/112");
  const own = ["192.168.77.1/24", "fd00:244::77:1/112"];
  const local = facts(1, { underlay: { ...facts(1).underlay, interfaceAddresses: own } });
  assert.equal(ways(plan({ snapshot, local }))[0], "n2 direct tunnel");
});

test("a peer that moves to another subnet changes its way", () => {
  const snapshot = twoSubnets(CROSS);
  moveTo(snapshot, 2, "192.168.78.2/24", "fe80::2/64");
  moveTo(snapshot, 3, "192.168.77.3/24", "fe80::3/64");
  assert.equal(ways(planOf(snapshot)), ["n2 tunnel tunnel", "n3 direct direct"]);
});

test("static peers stay encapsulated in every mode, and get packets that fit", () => {
  for (const config of [CROSS, NATIVE, { routingMode: "native" as const }]) {
    const snapshot = twoSubnets(config);
    snapshot.peers.set("hw", staticPeer("hw"));
    const made = planOf(snapshot);
    const index = made.peers.findIndex(({ name }) => name === "hw");
    assert.equal(made.peers[index]?.ways, { ipv4: "tunnel", ipv6: null });
    assert.ok(routes(made).includes("peer 10.250.0.0/24 -"));
    assert.is(made.tables?.peers[index]?.mtu, 1450);
  }
});

test("what may come in bare are the prefixes of peers beside the tunnel", () => {
  const cross = planOf(twoSubnets(CROSS)).admission;
  assert.equal(cross, {
    device: "eth0",
    own: ["10.244.1.0/24", "fd00:244:0:1::/64"],
    peers: ["10.244.2.0/24", "fd00:244:0:2::/64"],
    pools: POOLS,
  });
  const left = { ipv4NativeRoutingCIDR: "10.244.0.0/16" };
  const native = planOf(twoSubnets({ ...NATIVE, ...left })).admission;
  assert.equal(native?.peers, ["10.244.2.0/24", "10.244.3.0/24", "fd00:244:0:2::/64"]);
});

test("the tables keep directly routed peers: what is under way in the tunnel still arrives", () => {
  for (const config of [CROSS, NATIVE]) {
    const prefixes = planOf(twoSubnets(config)).tables?.peers.map((peer) => peer.prefixes);
    const before = planOf(twoSubnets({})).tables?.peers.map((peer) => peer.prefixes);
    assert.equal(prefixes, before);
  }
});

test("a node that may not forward keeps its pool walled in, whatever is native", () => {
  const snapshot = twoSubnets({ ...NATIVE, ipv4NativeRoutingCIDR: "10.0.0.0/8" });
  const own = snapshot.members.get(nodeIdOf(1));
  if (own) own.state = "removed";
  const made = planOf(snapshot);
  assert.equal(walls(made), POOLS);
  assert.is(made.admission, null);
});

test.run();
