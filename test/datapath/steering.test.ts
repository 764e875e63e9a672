// What is opened with steering asked for, and what when it is refused.
import { allowedCpus } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { DatapathError } from "../../src/datapath/errors.js";
import { type CrewPlan, openSteered, SteeringRefused } from "../../src/datapath/steering.js";

const cpus = allowedCpus();
const plain: CrewPlan = { workers: 2, cpus: [], busy: 0 };

/** An opener that writes down the plans and refuses those with CPUs. */
function refusing(plans: CrewPlan[]) {
  return async (plan: CrewPlan) => {
    plans.push(plan);
    if (plan.cpus.length > 0) throw new SteeringRefused("the kernel says no");
    return plan.workers;
  };
}

test("off opens the plain plan and gives no reason", async () => {
  const got = await openSteered("off", 2, async (plan) => plan);
  assert.equal(got, { opened: plain, status: { active: false, cpus: [], reason: "" } });
});

test("auto opens the plain plan where the steered one is refused, and says why", async () => {
  const plans: CrewPlan[] = [];
  const { opened, status } = await openSteered("auto", 2, refusing(plans));
  assert.is(opened, 2);
  assert.equal(plans.at(-1), plain);
  assert.is(status.active, false);
  assert.match(status.reason, cpus.length > 1 ? /the kernel says no/ : /one CPU/);
});

test("on throws where it is refused, and opens nothing else", async () => {
  const plans: CrewPlan[] = [];
  try {
    await openSteered("on", 2, refusing(plans));
    assert.unreachable();
  } catch (error) {
    assert.instance(error, DatapathError);
    assert.is((error as DatapathError).code, "MESHD_NO_STEERING");
  }
  assert.not.ok(plans.some((plan) => plan.cpus.length === 0));
});

test("other failures are not taken for a refusal", async () => {
  const failing = async () => {
    throw new DatapathError("MESHD_PORT_IN_USE", "taken");
  };
  for (const steering of ["auto", "on", "off"] as const) {
    try {
      await openSteered(steering, 1, failing);
      assert.unreachable();
    } catch (error) {
      assert.is((error as DatapathError).code, "MESHD_PORT_IN_USE");
    }
  }
});

test("a steered plan has one worker per CPU and those for busy flows behind them", async () => {
  if (cpus.length < 2) return assert.is(cpus.length, 1);
  const { opened, status } = await openSteered("on", 1, async (plan) => plan);
  assert.equal(opened, { workers: cpus.length + 1, cpus, busy: 1 });
  assert.equal(status, { active: true, cpus, reason: "" });
});

test.run();
