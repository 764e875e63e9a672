// plan and calls: what users, foreign servers and members with calls add to tables and host.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { MeshSnapshot } from "../../control/index.js";
import type { ChangeFacts } from "../../src/agent/plan/forms.js";
import { plan } from "../../src/agent/plan/plan.js";
import type { CallsInput, Plan } from "../../src/agent/plan/types.js";
import type { CallFact } from "../../src/calls/index.js";
import { facts, mesh, node, nodeIdOf } from "./mesh-records.js";

const FACT: CallFact = {
  ...{ slot: 3, kind: "dial-in", nodeId: null, name: "alice", address: "203.0.113.9" },
  ...{ local: "10.244.1.0", remote: "10.244.1.254", routes: [], mtu: 1396 },
  ...{ encrypted: true, acfc: true, pfc: false },
};

const DIAL_OUT: CallFact = {
  ...FACT,
  ...{ kind: "dial-out", slot: 4, name: "vpn", address: "198.51.100.1", mtu: 1400 },
  ...{ local: "10.20.0.7", remote: "10.20.0.1", routes: ["10.9.0.0/16"] },
};

function planOf(snapshot: MeshSnapshot, up: CallFact[], change?: ChangeFacts): Plan {
  const calls: CallsInput = { open: up.some(({ kind }) => kind !== "pair"), up };
  return plan({ snapshot, local: facts(1), calls, ...(change === undefined ? {} : { change }) });
}

const codes = (made: Plan) => made.problems.map(({ code }) => code);
const routes = (made: Plan) =>
  made.routes.flatMap(({ destination, kind, source }) =>
    kind === "unreachable" ? [] : [`${destination} ${source}`],
  );

/** Two members that receive PPTP, in a mesh that asks for it or for another encapsulation. */
function pptpMesh(tunnelProtocol: "pptp" | "vxlan" = "pptp"): MeshSnapshot {
  const snapshot = mesh(2);
  snapshot.config.tunnelProtocol = tunnelProtocol;
  const other = tunnelProtocol === "pptp" ? [] : [{ protocol: "vxlan", port: 8472, vni: 1 }];
  const receives = [{ protocol: "pptp", port: 0 }, ...other];
  snapshot.nodes.set(nodeIdOf(2), node(2, { protocols: ["vxlan", "pptp"], receives, mtu: 9000 }));
  return snapshot;
}

const PAIR: CallFact = {
  ...FACT,
  ...{ kind: "pair", slot: 0, name: "n2", nodeId: nodeIdOf(2), address: "192.168.77.2" },
  ...{ remote: "10.244.2.0", mtu: 1456 },
};

test("a user has an entry behind the peers, a route to the device, and one worker", () => {
  const made = planOf(mesh(2), [FACT]);
  const entry = made.tables?.peers[1];
  assert.equal(made.peers.length, 1);
  assert.is(entry?.dialsIn, true);
  assert.equal(entry?.pptp, { slot: 3, encrypted: true, acfc: true, pfc: false });
  assert.equal([entry?.mtu, entry?.prefixes], [1396, ["10.244.1.254/32"]]);
  assert.ok(routes(made).includes("10.244.1.254/32 10.244.1.0"));
  assert.is(made.ordered, true);
  assert.equal(made.otherPorts, [{ protocol: "pptp", port: 0 }]);
  assert.equal(made.callNat.calls, []);
  assert.equal(codes(made), []);
});

test("without calls nothing is numbered, opened or called", () => {
  const made = planOf(mesh(2), []);
  assert.equal([made.ordered, made.otherPorts, made.pairs, made.calls], [false, [], null, []]);
});

test("a user's address that is not ours is not routed, and said", () => {
  for (const remote of ["10.244.2.9", "192.0.2.1", null]) {
    const made = planOf(mesh(2), [{ ...FACT, remote }]);
    assert.equal(codes(made), ["MESHD_CALL_ADDRESS"]);
    assert.is(made.tables?.peers.length, 1);
    assert.is(routes(made).length, 2, "the other member's prefixes alone");
  }
});

test("a foreign server gets its routes, with our address there as their source", () => {
  const made = planOf(mesh(2), [DIAL_OUT]);
  assert.equal(made.tables?.peers[1]?.prefixes, ["10.20.0.1/32", "10.9.0.0/16"]);
  assert.is(made.tables?.peers[1]?.dialsIn, undefined);
  assert.ok(made.tables?.self.prefixes.includes("10.20.0.7/32"));
  assert.not.ok(made.tables?.self.addresses.includes("10.20.0.7"));
  assert.ok(made.addresses.includes("10.20.0.7/32"));
  assert.ok(routes(made).includes("10.9.0.0/16 10.20.0.7"));
  assert.equal(made.callNat.calls, [
    { address: "10.20.0.7", prefixes: ["10.20.0.1/32", "10.9.0.0/16"] },
  ]);
  assert.ok(made.masquerade?.except.includes("10.9.0.0/16"), "not the node's address");
  assert.equal(codes(made), []);
});

test("what a foreign server may not have is left out: pools, peers, the underlay", () => {
  const refused = [
    "10.244.0.0/15",
    "10.244.2.0/24",
    "192.168.77.0/24",
    "198.51.100.0/24",
    "0.0.0.0/0",
  ];
  const made = planOf(mesh(2), [{ ...DIAL_OUT, routes: ["10.8.0.0/16", ...refused] }]);
  assert.equal(made.tables?.peers[1]?.prefixes, ["10.20.0.1/32", "10.8.0.0/16"]);
  assert.equal(
    codes(made),
    refused.map(() => "MESHD_CALL_PREFIX"),
  );
  const second = {
    ...DIAL_OUT,
    slot: 5,
    address: "198.51.100.2",
    local: "10.21.0.7",
    remote: null,
  };
  const both = planOf(mesh(2), [DIAL_OUT, { ...second, routes: ["10.9.1.0/24", "10.7.0.0/16"] }]);
  assert.equal(both.tables?.peers[2]?.prefixes, ["10.7.0.0/16"]);
  for (const local of ["10.244.2.7", null]) {
    const none = planOf(mesh(2), [{ ...DIAL_OUT, local }]);
    assert.equal([none.tables?.peers.length, codes(none)], [1, ["MESHD_CALL_PREFIX"]]);
  }
});

test("members of a mesh of PPTP are peers with a slot, or without until there is a call", () => {
  const none = planOf(pptpMesh(), []);
  const [lone] = none.tables?.peers ?? [];
  assert.equal([lone?.protocol, lone?.pptp?.slot, lone?.pptp?.encrypted], ["pptp", null, true]);
  assert.equal([none.mtu, none.port, none.ordered, none.changes], [1456, 0, true, []]);
  assert.equal(none.pairs, [
    {
      ...{ nodeId: nodeIdOf(2), name: "n2", address: "192.168.77.2" },
      ...{ local: "10.244.1.0", remote: "10.244.2.0", ipv6: true },
    },
  ]);
  const [peer] = planOf(pptpMesh(), [PAIR]).tables?.peers ?? [];
  assert.equal([peer?.pptp?.slot, peer?.mtu], [0, 1456]);
  assert.is(planOf(pptpMesh(), [{ ...PAIR, mtu: 1300 }]).tables?.peers[0]?.mtu, 1300);
});

test("on the way to PPTP a member is asked through its call, and without one it waits", () => {
  const vxlan = { protocol: "vxlan" as const, port: 8472, vni: 1 };
  const change = {
    confirmed: new Map([[nodeIdOf(2), vxlan]]),
    tries: new Map<string, number>(),
    kept: [vxlan],
  };
  const snapshot = pptpMesh("vxlan");
  snapshot.config.tunnelProtocol = "pptp";
  const waits = planOf(snapshot, [], change);
  assert.is(waits.tables?.peers.length, 1, "no shadow");
  assert.equal([waits.changes[0]?.to, waits.changes[0]?.shadow], [null, null]);
  assert.is(waits.pairs?.length, 1);
  const asked = planOf(snapshot, [PAIR, FACT], change);
  const [, user, shadow] = asked.tables?.peers ?? [];
  assert.is(user?.dialsIn, true);
  assert.equal([shadow?.shadow, shadow?.pptp?.slot], [true, 0]);
  assert.equal([asked.changes[0]?.to?.protocol, asked.changes[0]?.shadow], ["pptp", 2]);
  assert.is(asked.tables?.peers[0]?.protocol, "vxlan");
});

test("on the way from PPTP a member's own packets still come by its call", () => {
  const pptp = { protocol: "pptp" as const, port: 0 };
  const vxlan = { protocol: "vxlan" as const, port: 8472, vni: 1 };
  const flipped = { confirmed: new Map([[nodeIdOf(2), vxlan]]), tries: new Map(), kept: [pptp] };
  const call = { ...PAIR, mtu: 1300 };
  const made = planOf(pptpMesh("vxlan"), [call], flipped);
  const [peer] = made.tables?.peers ?? [];
  assert.equal([peer?.protocol, peer?.receives], ["vxlan", ["vxlan", "pptp"]]);
  assert.is(peer?.pptp?.slot, 0, "the call is this peer's");
  assert.is(peer?.mtu, made.mtu, "what is sent does not go by the call: its size says nothing");
  const over = planOf(pptpMesh("vxlan"), [call], { ...flipped, kept: [] });
  assert.is(over.tables?.peers[0]?.pptp, undefined);
});

test("the order of calls' facts does not matter but for who comes first to a route", () => {
  const two = [FACT, { ...FACT, slot: 7, name: "bob", remote: "10.244.1.253" }];
  const slots = (made: Plan) => made.calls.map(({ slot }) => slot).sort();
  assert.equal(slots(planOf(mesh(2), two)), slots(planOf(mesh(2), [...two].reverse())));
});

test.run();
