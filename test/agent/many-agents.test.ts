// Sixty agents without datapath join at once over a real nats-server: their plans are what a plan
// from nothing is, a burst costs each few plans, one change reaches all, and at rest nothing moves.
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SimulatedAgent } from "../../bench/scale/agent.js";
import { plan } from "../../src/agent/plan/plan.js";
import { eventually, type TestMesh, withMesh } from "../control/fixture.js";

const NODES = 60;
const BEAT_MS = 500;
const REST_MS = 3_000;

async function joinAll(mesh: TestMesh): Promise<SimulatedAgent[]> {
  const admin = await mesh.admin();
  const { token } = await admin.tokens.create({ uses: null });
  const agents = Array.from({ length: NODES }, (_, index) => new SimulatedAgent(index + 1));
  mesh.later(() => Promise.all(agents.map((agent) => agent.close())));
  await Promise.all(agents.map((agent) => agent.join(token)));
  await Promise.all(agents.map((agent) => agent.expect({ kind: "peers", count: NODES - 1 })));
  return agents;
}

const totalPlans = (agents: SimulatedAgent[]) => agents.reduce((sum, { plans }) => sum + plans, 0);
const revisionOf = ({ session }: SimulatedAgent) => session?.snapshot()?.revision ?? 0;

function assertPlansAreWhole(agents: SimulatedAgent[]): void {
  for (const agent of agents) {
    const snapshot = agent.session?.snapshot();
    assert.ok(snapshot);
    assert.equal(agent.made, plan({ snapshot, local: agent.local() }), `n${agent.index}`);
  }
}

/** Until every agent has planned from the last record that is not a heartbeat. */
async function settle(agents: SimulatedAgent[]): Promise<void> {
  let before = -1;
  await eventually("no plan is made any more", async () => {
    const isQuiet = totalPlans(agents) === before;
    before = totalPlans(agents);
    if (!isQuiet) await sleep(1_500);
    return isQuiet;
  });
}

test("sixty agents join at once, plan little, hear one change alike, and rest", async () => {
  const config = { clusterPoolIPv4PodCIDR: "10.64.0.0/10" };
  await withMesh({ config }, async (mesh) => {
    await mesh.controller({ beat_ms: BEAT_MS });
    const started = performance.now();
    const agents = await joinAll(mesh);
    // While they join, changes are told once a second; each alone would be some sixty plans.
    const most_allowed = 10 + (2 * (performance.now() - started)) / 1_000;
    await settle(agents);
    assertPlansAreWhole(agents);
    const most = Math.max(...agents.map(({ plans }) => plans));
    assert.ok(most < most_allowed, `${most} plans for one of ${NODES} agents`);

    const [mover] = agents;
    assert.ok(mover);
    const [began, plans, revision] = [Date.now(), totalPlans(agents), revisionOf(mover)];
    await sleep(REST_MS);
    assert.is(totalPlans(agents), plans, "no plan is made at rest");
    const beats = Math.ceil((Date.now() - began) / BEAT_MS) + 1;
    const written = revisionOf(mover) - revision;
    assert.ok(written <= beats, `${written} writes at rest, ${beats} heartbeats`);

    const moved = { nodeId: mover.nodeId, address: "172.16.0.1" };
    const shown = agents.map((agent) => agent.expect({ kind: "address", ...moved }));
    await mover.move(moved.address);
    await Promise.all(shown);
    await settle(agents);
    assertPlansAreWhole(agents);
    assert.ok(totalPlans(agents) - plans < 8 * NODES, "one change costs each agent few plans");
  });
});

test.run();
