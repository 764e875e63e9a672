// vni: identity in plans: numbers by leases, what is sent and accepted, and the change to it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { MeshConfig } from "../../control/index.js";
import { identityOf } from "../../src/agent/plan/identity.js";
import { plan } from "../../src/agent/plan/plan.js";
import { type Prefix, parsePrefix } from "../../src/agent/prefix.js";
import { GENEVE, Node1, VXLAN } from "./flip-node.js";
import { facts, member, mesh, nodeIdOf, staticPeer } from "./mesh-records.js";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed !== null);
  return parsed;
}

function planOf(config: Partial<MeshConfig> = {}, spoil = (_: ReturnType<typeof mesh>) => {}) {
  const snapshot = mesh(3);
  Object.assign(snapshot.config, { vni: "identity", ...config });
  spoil(snapshot);
  return plan({ snapshot, local: facts(1) });
}

test("pods have 256 and the index of their node's PodCIDR; a peer may claim its own alone", () => {
  for (const tunnelProtocol of ["vxlan", "geneve"] as const) {
    const made = planOf({ tunnelProtocol }, ({ nodes }) => {
      for (const record of nodes.values()) record.protocols = [tunnelProtocol];
    });
    assert.equal([made.identity, made.peers.map(({ identity }) => identity)], [257, [258, 259]]);
    const both = { sends: true, receives: true };
    assert.equal(
      made.tables?.peers.map(({ vni, vnis, identities }) => ({ vni, vnis, identities })),
      [
        { vni: 257, vnis: [258], identities: both },
        { vni: 257, vnis: [259], identities: both },
      ],
    );
    assert.is(made.tables?.self.vni, 257);
    assert.equal(made.problems, []);
  }
});

test("with a number nothing is an identity; other encapsulations have none", () => {
  for (const config of [{ vni: 5 }, { tunnelProtocol: "ipip" }] as const) {
    const made = planOf(config, ({ nodes }) => {
      for (const record of nodes.values()) record.protocols = ["vxlan", "ipip"];
    });
    assert.ok(made.tables?.peers.every(({ identities, vnis }) => !identities && !vnis));
    assert.equal([made.identity, made.peers[0]?.identity], [null, null]);
  }
});

test("a static peer keeps its own number, both ways", () => {
  const made = planOf({}, ({ peers }) => peers.set("s", staticPeer("s")));
  const entry = made.tables?.peers.find(({ address }) => address === "192.168.77.200");
  assert.equal([entry?.vni, entry?.vnis, entry?.identities], [7, undefined, undefined]);
  assert.is(made.peers.find(({ name }) => name === "s")?.identity, null);
});

test("numbers count in the IPv4 pool, else in IPv6's; without one it is 3, and a warning", () => {
  const six = planOf({ clusterPoolIPv4PodCIDR: null });
  assert.equal([six.identity, six.peers.map(({ identity }) => identity)], [257, [258, 259]]);
  const wide = planOf({ clusterPoolIPv4PodCIDR: "10.0.0.0/8" });
  assert.is(wide.identity, 256 + (244 << 8) + 1);
  const pools = [prefix("10.0.0.0/8")];
  const numberOf = (text: string) =>
    identityOf([{ prefix: prefix(text), kind: "lease", owner: "", since: "" }], pools);
  assert.equal(
    ["10.0.0.0/24", "10.254.255.0/24", "10.255.0.0/24", "10.255.255.0/24", "11.0.0.0/24"].map(
      numberOf,
    ),
    [256, 65_535, 3, 3, 3],
  );
  const lone = planOf({}, ({ members }) => {
    members.set(nodeIdOf(2), member(2, { podCIDRs: ["fd00:244:0:2::/64"] }));
  });
  assert.equal([lone.identity, lone.peers[0]?.identity], [257, 3]);
  const own = planOf({}, ({ members }) => {
    members.set(nodeIdOf(1), member(1, { podCIDRs: ["fd00:244:0:1::/64"] }));
  });
  assert.is(own.identity, 3);
  assert.match(own.problems[0]?.message ?? "", /its pods say 3, unmanaged/);
});

test("granted prefixes do not change a node's number", () => {
  const made = planOf({}, ({ members }) => {
    members.set(nodeIdOf(2), member(2, { grantedPrefixes: ["10.200.0.0/16"] }));
  });
  assert.is(made.peers[0]?.identity, 258);
});

test("the setting changes as numbers do: both are taken, the next sent after an answer", () => {
  const one = new Node1();
  one.set("vxlan", { vni: "identity" });
  const next = { ...VXLAN, vni: "identity" as const };
  one.others([next, VXLAN], [VXLAN]);
  assert.equal(one.apply().receives, [next, VXLAN]);
  const rows = () =>
    one.made.tables?.peers.map(({ vni, vnis, identities }) => [vni, vnis, identities]);
  const taking = { sends: false, receives: true };
  const saying = { sends: true, receives: true };
  assert.equal(rows()?.slice(0, 2), [
    [1, [258, 1], taking],
    [1, [259, 1], taking],
  ]);
  assert.equal(one.entry(2)?.identities?.sends, true, "the question is asked in the next form");
  one.answer(2);
  one.apply();
  assert.equal(rows()?.slice(0, 2), [
    [257, [258, 1], saying],
    [1, [259, 1], taking],
  ]);
  one.others([next, VXLAN], [next]);
  one.apply();
  one.flip();
  one.pass(4);
  one.apply();
  assert.equal(one.entry(0)?.vnis, [258]);
  assert.equal(GENEVE.vni, 1);
});

test.run();
