// A planner that keeps what it found gives what plan gives from nothing, whatever changed since;
// and it makes anew only what the change touches.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Sorted } from "../../src/agent/plan/memo.js";
import { Planner, plan } from "../../src/agent/plan/plan.js";
import { Random } from "../support/random.js";
import { facts, mesh, node, nodeIdOf } from "./mesh-records.js";
import { ChangingMesh } from "./plan-changes.js";

const SEEDS = 40;
const STEPS = 60;

test("after any sequence of changes a planner's plan is the one that is made from nothing", () => {
  const codes = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const changing = new ChangingMesh(new Random(seed), seed % 2 === 0);
    const planner = new Planner();
    for (let step = 0; step < STEPS; step++) {
      const input = changing.input();
      const made = planner.plan(input);
      assert.equal(made, plan(input), `seed ${seed}, step ${step}`);
      for (const { code } of made.problems) codes.add(code);
      changing.step();
    }
  }
  // The changes came to what plan refuses, too.
  for (const code of ["PREFIX_OVERLAP", "ADDRESS_CLAIMED", "LEASE_LOST", "STALE_EPOCH"]) {
    assert.ok(codes.has(`MESHD_${code}`), `MESHD_${code} among ${[...codes].join(", ")}`);
  }
});

test("a change of one node makes one peer anew, all others stay the same objects", () => {
  const snapshot = mesh(40);
  const planner = new Planner();
  const before = planner.plan({ snapshot, local: facts(1) });
  const moved = new Map(snapshot.nodes);
  const { underlay } = node(7);
  const record = node(7, { underlay: { ...underlay, addresses: ["192.168.78.7"] } });
  moved.set(nodeIdOf(7), record);
  const after = planner.plan({ snapshot: { ...snapshot, nodes: moved }, local: facts(1) });
  assert.is(before.peers.length, 39);
  const fresh = after.peers.filter((peer) => !before.peers.includes(peer));
  assert.equal(
    fresh.map(({ name, address }) => [name, address]),
    [["n7", "192.168.78.7"]],
  );
  const entries = after.tables?.peers.filter((entry) => !before.tables?.peers.includes(entry));
  assert.equal(
    entries?.map(({ address }) => address),
    ["192.168.78.7"],
  );
});

test("things kept in order are in the order that sorting gives, whatever came and went", () => {
  const random = new Random(4);
  const sorted = new Sorted<{ at: number }>((a, b) => a.at - b.at);
  const all = Array.from({ length: 60 }, (_, at) => ({ at }));
  for (let round = 0; round < 300; round++) {
    const some = all.filter(() => random.once(2)).sort(() => random.between(-1, 1));
    const expected = [...some].sort((a, b) => a.at - b.at);
    assert.equal(
      sorted.of(some).map(({ at }) => at),
      expected.map(({ at }) => at),
    );
  }
});

test.run();
