// plan: cluster records in, tables and host state out. Pure, so everything here runs without root.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { MeshSnapshot } from "../../control/index.js";
import { plan } from "../../src/agent/plan/plan.js";
import type { Plan } from "../../src/agent/plan/types.js";
import { facts, lease, member, mesh, node, nodeIdOf, staticPeer } from "./mesh-records.js";

function planOf(snapshot: MeshSnapshot, index = 1, changes = {}): Plan {
  return plan({ snapshot, local: facts(index, changes) });
}

const codes = (made: Plan) => made.problems.map((problem) => problem.code);
const names = (made: Plan) => made.peers.map((peer) => peer.name);

test("a healthy mesh gives one peer per other node, with routes, walls and addresses", () => {
  const made = planOf(mesh(3));
  assert.equal(codes(made), []);
  assert.equal(names(made), ["n2", "n3"]);
  assert.equal(made.tables?.self, {
    mac: "0e:00:00:00:00:01",
    vni: 1,
    mtu: 1450,
    addresses: ["10.244.1.0", "fd00:244:0:1::"],
    prefixes: ["10.244.1.0/24", "fd00:244:0:1::/64"],
    udpPort: 8472,
  });
  assert.equal(made.tables?.peers[0], {
    protocol: "vxlan",
    address: "192.168.77.2",
    port: 8472,
    mac: "0e:00:00:00:00:02",
    vni: 1,
    mtu: 1450,
    prefixes: ["10.244.2.0/24", "fd00:244:0:2::/64"],
  });
  assert.equal(made.addresses, ["10.244.1.0/32", "fd00:244:0:1::/128"]);
  assert.equal(made.peers[0]?.probeAddresses, ["10.244.2.0", "fd00:244:0:2::"]);
  assert.equal(
    made.routes.map((route) => `${route.kind} ${route.destination} ${route.source}`),
    [
      "peer 10.244.2.0/24 10.244.1.0",
      "peer 10.244.3.0/24 10.244.1.0",
      "peer fd00:244:0:2::/64 fd00:244:0:1::",
      "peer fd00:244:0:3::/64 fd00:244:0:1::",
      "unreachable 10.244.0.0/16 null",
      "unreachable 10.244.1.0/24 null",
      "unreachable fd00:244:0:1::/64 null",
      "unreachable fd00:244::/48 null",
    ],
  );
  assert.equal(made.masquerade, {
    sources: ["10.244.1.0/24", "fd00:244:0:1::/64"],
    except: ["10.244.0.0/16", "10.244.1.0/24", "fd00:244:0:1::/64", "fd00:244::/48"],
  });
});

test("a node record of another epoch makes its member absent, on both sides of the number", () => {
  for (const epoch of [1, 3]) {
    const snapshot = mesh(3);
    snapshot.members.set(nodeIdOf(2), member(2, { epoch: 2 }));
    for (const cidr of member(2).podCIDRs) snapshot.leases.set(cidr, lease(cidr, 2, { epoch: 2 }));
    snapshot.nodes.set(nodeIdOf(2), node(2, { epoch }));
    const made = planOf(snapshot);
    assert.equal(names(made), ["n3"]);
    assert.equal(codes(made), ["MESHD_STALE_EPOCH"]);
  }
});

test("removed members are absent, draining ones are routed to", () => {
  const removed = mesh(3);
  removed.members.set(nodeIdOf(2), member(2, { state: "removed" }));
  assert.equal(names(planOf(removed)), ["n3"]);
  const snapshot = mesh(3);
  snapshot.members.set(nodeIdOf(2), member(2, { state: "draining" }));
  assert.equal(names(planOf(snapshot)), ["n2", "n3"]);
});

test("a CIDR without a held lease of the member's epoch is not routed", () => {
  const cidr = "10.244.2.0/24";
  const bad = [
    lease(cidr, 3),
    lease(cidr, 2, { epoch: 2 }),
    lease(cidr, 2, { state: "quarantined" }),
    lease(cidr, 2, { nodeId: null, state: "reserved" }),
  ];
  for (const record of bad) {
    const snapshot = mesh(3);
    snapshot.leases.set(cidr, record);
    const made = planOf(snapshot);
    assert.equal(made.tables?.peers[0]?.prefixes, ["fd00:244:0:2::/64"]);
    assert.equal(codes(made), ["MESHD_LEASE_LOST"]);
  }
});

test("a member that is silent or speaks another protocol is absent and said", () => {
  const snapshot = mesh(3);
  snapshot.nodes.delete(nodeIdOf(2));
  snapshot.nodes.set(nodeIdOf(3), node(3, { protocols: ["geneve"] }));
  const made = planOf(snapshot);
  assert.equal(made.peers, []);
  assert.equal(codes(made), ["MESHD_NODE_SILENT", "MESHD_PROTOCOL_MISSING"]);
});

test("the underlay family chooses the peer's address and the overhead", () => {
  const underlay = { family: 6 as const, address: "fd77::1", interface: "eth0", mtu: 1500 };
  const made = planOf(mesh(2), 1, { underlay });
  assert.is(made.tables?.peers[0]?.address, "fd77::2");
  assert.is(made.mtu, 1430);
});

test("a static peer is a peer with its own MAC, port and VNI", () => {
  const snapshot = mesh(1);
  snapshot.peers.set("kernel", staticPeer("kernel", { port: 4789 }));
  const made = planOf(snapshot);
  assert.equal(made.tables?.peers, [
    {
      protocol: "vxlan",
      address: "192.168.77.200",
      port: 4789,
      mac: "0e:00:00:00:ff:01",
      vni: 7,
      mtu: 1450,
      prefixes: ["10.250.0.0/24"],
    },
  ]);
  assert.is(made.peers[0]?.kind, "static");
  assert.equal(made.peers[0]?.probeAddresses, ["10.250.0.0", "10.250.0.1"]);
});

test("traffic to peers outside the pools keeps its address, too", () => {
  const snapshot = mesh(2);
  snapshot.peers.set("kernel", staticPeer("kernel"));
  snapshot.members.set(nodeIdOf(2), member(2, { grantedPrefixes: ["172.30.0.0/16"] }));
  const except = planOf(snapshot).masquerade?.except ?? [];
  assert.ok(except.includes("10.250.0.0/24"));
  assert.ok(except.includes("172.30.0.0/16"));
  assert.not.ok(except.includes("10.244.2.0/24"), "leases lie in the pools");
});

test("settings reach the plan: mtu, port, dscp, vni, masquerade; the node's own win", () => {
  const snapshot = mesh(2);
  Object.assign(snapshot.config, { mtu: 1400, tunnelPort: 9000, dscp: 46, vni: 42 });
  snapshot.config.masquerade = false;
  const made = planOf(snapshot);
  assert.is(made.mtu, 1400);
  assert.is(made.port, 9000);
  assert.is(made.masquerade, null);
  assert.is(made.tables?.peers[0]?.dscp, 46);
  assert.is(made.tables?.peers[0]?.vni, 42);
  assert.is(made.tables?.peers[0]?.mtu, 1400);
  const own = planOf(snapshot, 1, { tunnelPort: 9100, mtu: 1300 });
  assert.is(own.port, 9100);
  assert.is(own.tables?.self.udpPort, 9100);
  assert.is(own.mtu, 1300);
});

test("a peer with a smaller tunnel gets packets of its size", () => {
  const snapshot = mesh(2);
  snapshot.nodes.set(nodeIdOf(2), node(2, { mtu: 1380 }));
  assert.is(planOf(snapshot).tables?.peers[0]?.mtu, 1380);
});

test("what this agent cannot do keeps the last good state and is said", () => {
  const snapshot = mesh(2);
  // As a later version may write it.
  snapshot.config.tunnelProtocol = "wireguard" as never;
  const made = planOf(snapshot);
  assert.ok(made.hold);
  assert.equal(codes(made), ["MESHD_UNSUPPORTED_SETTING"]);
});

test("a store that lost us keeps the last good state; one that removed us ends it", () => {
  const lost = mesh(2);
  lost.members.delete(nodeIdOf(1));
  const kept = planOf(lost);
  assert.ok(kept.hold);
  assert.equal(codes(kept), ["MESHD_NOT_A_MEMBER"]);
  const removed = mesh(2);
  removed.members.set(nodeIdOf(1), member(1, { state: "removed" }));
  const stopped = planOf(removed);
  assert.not.ok(stopped.hold);
  assert.is(stopped.tables, null);
  assert.equal(stopped.addresses, []);
  assert.is(stopped.port, 8472);
  assert.is(stopped.mtu, 1450);
  assert.equal(
    stopped.routes.map((route) => route.kind),
    ["unreachable", "unreachable"],
  );
});

test("an underlay address belongs to one peer: to the one that claimed it", () => {
  const snapshot = mesh(3);
  const taken = { addresses: ["192.168.77.3"], interfaceAddresses: [], port: 8472 };
  snapshot.nodes.set(nodeIdOf(2), node(2, { underlay: taken }));
  const key = "192.168.77.3:8472";
  snapshot.claims.set(key, { address: "192.168.77.3", port: 8472, nodeId: nodeIdOf(3) });
  const made = planOf(snapshot);
  assert.equal(names(made), ["n3"]);
  assert.equal(codes(made), ["MESHD_ADDRESS_CLAIMED"]);
});

test("nobody may stand at our own underlay address, or inside a pool", () => {
  const snapshot = mesh(3);
  const underlay = (address: string) => ({
    underlay: { addresses: [address], interfaceAddresses: [], port: 8472 },
  });
  snapshot.nodes.set(nodeIdOf(2), node(2, underlay("192.168.77.1")));
  snapshot.nodes.set(nodeIdOf(3), node(3, underlay("10.244.9.9")));
  const made = planOf(snapshot);
  assert.equal(made.peers, []);
  assert.equal(codes(made), ["MESHD_ADDRESS_CLAIMED", "MESHD_UNDERLAY_IN_POOL"]);
});

test("a static peer may neither take nor cut a lease, but may route a wider network", () => {
  const snapshot = mesh(2);
  const podCIDRs = ["10.244.2.0/24", "10.244.1.128/25", "10.0.0.0/8"];
  snapshot.peers.set("wide", staticPeer("wide", { podCIDRs }));
  const made = planOf(snapshot);
  assert.equal(made.peers.find((peer) => peer.name === "wide")?.prefixes, ["10.0.0.0/8"]);
  assert.equal(codes(made), ["MESHD_PREFIX_OVERLAP", "MESHD_PREFIX_OVERLAP"]);
});

test("a prefix that holds an underlay address would loop and is refused", () => {
  const snapshot = mesh(2);
  const podCIDRs = ["192.168.0.0/16", "10.9.0.0/16"];
  snapshot.peers.set("loop", staticPeer("loop", { podCIDRs }));
  snapshot.members.set(nodeIdOf(2), member(2, { grantedPrefixes: ["0.0.0.0/0"] }));
  const made = planOf(snapshot);
  assert.equal(made.peers.find((peer) => peer.name === "loop")?.prefixes, ["10.9.0.0/16"]);
  assert.equal(codes(made), ["MESHD_ROUTE_LOOP", "MESHD_ROUTE_LOOP"]);
});

test("granted prefixes are routed to their node and are local there", () => {
  const snapshot = mesh(2);
  snapshot.members.set(nodeIdOf(2), member(2, { grantedPrefixes: ["172.30.0.0/16"] }));
  assert.ok(planOf(snapshot).tables?.peers[0]?.prefixes.includes("172.30.0.0/16"));
  const there = planOf(snapshot, 2);
  assert.ok(there.tables?.self.prefixes.includes("172.30.0.0/16"));
  assert.equal(there.tables?.self.addresses, ["10.244.2.0", "fd00:244:0:2::"]);
});

test("overlapping leases: the older one stays, on every node alike", () => {
  const snapshot = mesh(3);
  const wide = "10.244.2.0/23";
  snapshot.members.set(nodeIdOf(3), member(3, { podCIDRs: [wide] }));
  snapshot.leases.delete("10.244.3.0/24");
  snapshot.leases.set(wide, lease(wide, 3, { since: "2026-01-02T00:00:00Z" }));
  for (const index of [1, 2, 3]) {
    const made = planOf(snapshot, index);
    assert.ok(codes(made).includes("MESHD_PREFIX_OVERLAP"), `node ${index}`);
    assert.not.ok(made.routes.some((route) => route.destination === wide && route.kind === "peer"));
  }
});

// ---- properties ----

/** Spoils a healthy mesh in ways that records can be wrong. */
const spoiled = fc
  .array(
    fc.record({
      what: fc.constantFrom(
        "epoch",
        "state",
        "lease",
        "address",
        "cidr",
        "static",
        "grant",
        "none",
      ),
      index: fc.integer({ min: 1, max: 8 }),
      other: fc.integer({ min: 1, max: 8 }),
      number: fc.integer({ min: 0, max: 30 }),
    }),
    { maxLength: 12 },
  )
  .map((changes) => {
    const snapshot = mesh(8);
    for (const { what, index, other, number } of changes)
      spoil(snapshot, what, index, other, number);
    return snapshot;
  });

function spoil(
  snapshot: MeshSnapshot,
  what: string,
  index: number,
  other: number,
  number: number,
): void {
  const id = nodeIdOf(index);
  const record = snapshot.members.get(id) ?? member(index);
  const cidr = `10.244.${other}.0/${24 + (number % 3)}`;
  if (what === "epoch") snapshot.nodes.set(id, node(index, { epoch: number }));
  if (what === "state") snapshot.members.set(id, { ...record, state: "draining" });
  if (what === "lease")
    snapshot.leases.set(cidr, lease(cidr, index, { since: `2026-02-${number}` }));
  if (what === "cidr") {
    snapshot.members.set(id, { ...record, podCIDRs: [cidr] });
    snapshot.leases.set(cidr, lease(cidr, index));
  }
  if (what === "address") {
    const addresses = [`192.168.77.${other}`];
    const underlay = { addresses, interfaceAddresses: [], port: 8472 };
    snapshot.nodes.set(id, node(index, { underlay }));
  }
  if (what === "static") {
    const podCIDRs = [cidr, `10.${number}.0.0/16`];
    const endpoint = `192.168.77.${200 + other}`;
    snapshot.peers.set(`s${index}`, staticPeer(`s${index}`, { podCIDRs, endpoint }));
  }
  if (what === "grant") {
    snapshot.members.set(id, { ...record, grantedPrefixes: [`172.${16 + other}.0.0/16`, cidr] });
  }
}

function shuffled<T>(map: Map<string, T>, seed: number): Map<string, T> {
  const entries = [...map].map((entry, i) => ({ entry, key: Math.imul(i + 1, seed | 1) >>> 0 }));
  return new Map(entries.sort((a, b) => a.key - b.key).map(({ entry }) => entry));
}

test("the plan does not depend on the order of records", () => {
  fc.assert(
    fc.property(spoiled, fc.integer(), (snapshot, seed) => {
      const other: MeshSnapshot = {
        ...snapshot,
        members: shuffled(snapshot.members, seed),
        nodes: shuffled(snapshot.nodes, seed * 3),
        leases: shuffled(snapshot.leases, seed * 5),
        peers: shuffled(snapshot.peers, seed * 7),
      };
      assert.equal(planOf(other), planOf(snapshot));
    }),
  );
});

test("the plan leaves the snapshot as it was", () => {
  fc.assert(
    fc.property(spoiled, (snapshot) => {
      const before = structuredClone(snapshot);
      planOf(snapshot);
      assert.equal(snapshot, before);
    }),
  );
});

test("no prefix has two peers, no peer two entries, and no stale epoch is ever routed to", () => {
  fc.assert(
    fc.property(spoiled, (snapshot) => {
      const made = planOf(snapshot);
      const prefixes = made.tables?.peers.flatMap((peer) => peer.prefixes) ?? [];
      assert.is(new Set(prefixes).size, prefixes.length);
      const addresses = made.tables?.peers.map((peer) => peer.address) ?? [];
      assert.is(new Set(addresses).size, addresses.length);
      assert.not.ok(addresses.includes("192.168.77.1"));
      assert.is(made.tables?.peers.length, made.peers.length);
      for (const peer of made.peers.filter(({ kind }) => kind === "member")) {
        const granted = snapshot.members.get(peer.nodeId)?.epoch;
        assert.is(snapshot.nodes.get(peer.nodeId)?.epoch, granted);
      }
      for (const own of made.tables?.self.prefixes ?? []) assert.not.ok(prefixes.includes(own));
    }),
  );
});

test("all nodes agree on who owns a prefix", () => {
  fc.assert(
    fc.property(spoiled, (snapshot) => {
      const owners = new Map<string, string>();
      for (let index = 1; index <= 8; index++) {
        const made = planOf(snapshot, index);
        for (const prefix of made.tables?.self.prefixes ?? []) {
          assert.is(owners.get(prefix) ?? nodeIdOf(index), nodeIdOf(index), prefix);
          owners.set(prefix, nodeIdOf(index));
        }
      }
      const made = planOf(snapshot, 8);
      for (const peer of made.peers.filter(({ kind }) => kind === "member")) {
        for (const prefix of peer.prefixes) assert.is(owners.get(prefix), peer.nodeId);
      }
    }),
  );
});

test.run();
