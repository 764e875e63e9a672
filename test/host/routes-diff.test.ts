// The comparison of routes, without root.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  diffRoutes,
  MESH_ROUTE_METRIC,
  MESH_ROUTE_PROTOCOL,
  POOL_ROUTE_METRIC,
  type Route,
  type WantedRoute,
} from "../../src/host/index.js";
import { routeLine } from "../../src/host/routes.js";

const SCOPE = { devices: ["mesh0"], pools: ["10.244.0.0/16", "fd00:244::/48"] };
const PEER: WantedRoute = { destination: "10.244.2.0/24", device: "mesh0", source: "10.244.1.0" };
const POOL: WantedRoute = { destination: "10.244.0.0/16", kind: "unreachable" };

function actual(over: Partial<Route>): Route {
  return {
    family: 4,
    destination: "10.244.2.0/24",
    kind: "unicast",
    device: "mesh0",
    via: undefined,
    source: "10.244.1.0",
    mtu: undefined,
    advmss: undefined,
    metric: MESH_ROUTE_METRIC,
    protocol: MESH_ROUTE_PROTOCOL,
    scope: 253,
    table: 254,
    onLink: false,
    multipath: false,
    linkDown: false,
    ...over,
  };
}

const POOL_THERE = actual({
  destination: "10.244.0.0/16",
  kind: "unreachable",
  device: undefined,
  source: undefined,
  metric: POOL_ROUTE_METRIC,
  scope: 0,
});

test("equal lists give no change, in any order and spelling", () => {
  const six: WantedRoute = { destination: "FD00:244:0:2::/64", device: "mesh0" };
  const sixThere = actual({
    family: 6,
    destination: "fd00:244:0:2::/64",
    source: undefined,
    scope: 0,
  });
  const change = diffRoutes([six, POOL, PEER], [actual({}), sixThere, POOL_THERE], SCOPE);
  assert.equal(change, { add: [], replace: [], delete: [], conflicts: [] });
});

test("what is missing is added, what differs is replaced, what is over is deleted", () => {
  const stale = actual({ destination: "10.244.9.0/24" });
  const change = diffRoutes([PEER, POOL], [actual({ mtu: 1400 }), stale], SCOPE);
  assert.equal(change.add, [POOL]);
  assert.equal(change.replace, [PEER]);
  assert.equal(change.delete, [stale]);
});

test("routes of another protocol number, device or pool are never deleted", () => {
  const foreign = [
    actual({ protocol: 4 }),
    actual({ destination: "10.244.3.0/24", device: "mesh1" }),
    actual({ destination: "10.244.4.0/24", table: 100 }),
    { ...POOL_THERE, destination: "10.99.0.0/16" },
    actual({ destination: "10.244.5.0/24", multipath: true }),
  ];
  assert.equal(diffRoutes([], foreign, SCOPE).delete, []);
});

test("a foreign route in a wanted place is a conflict and is not replaced", () => {
  const foreign = actual({ protocol: 4, device: "eth0" });
  const change = diffRoutes([PEER], [foreign], SCOPE);
  assert.equal(change.replace, []);
  assert.equal(change.conflicts, [{ wanted: PEER, foreign }]);
});

test("the same destination with another metric is another route", () => {
  const change = diffRoutes([PEER], [actual({ protocol: 4, metric: 0 })], SCOPE);
  assert.equal(change.add, [PEER]);
  assert.equal(change.conflicts, []);
});

test("a route's line holds checked values only", () => {
  assert.is(
    routeLine("add", { ...PEER, mtu: 1450, advmss: 1410 }),
    "route add unicast 10.244.2.0/24 dev mesh0 proto 157 metric 157 scope link " +
      "src 10.244.1.0 mtu 1450 advmss 1410",
  );
  assert.is(
    routeLine("replace", POOL),
    "route replace unreachable 10.244.0.0/16 proto 157 metric 1000157",
  );
  const bad: WantedRoute[] = [
    { destination: "10.0.0.0/8 dev lo" },
    { destination: "10.0.0.0/8", device: "a b" },
    { destination: "10.0.0.0/8", device: "-batch" },
    { destination: "10.0.0.0/8", via: "x\nroute flush" },
    { destination: "10.0.0.0/8", device: "a", mtu: 12.5 },
    { destination: "10.0.0.0/8", device: "a", metric: -1 },
  ];
  for (const route of bad) assert.throws(() => routeLine("add", route), /refused|is no/);
});

test.run();
