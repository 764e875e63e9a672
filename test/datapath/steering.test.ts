// What is opened with steering asked for, and what when it is refused.
import { allowedCpus } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { DatapathError } from "../../src/datapath/errors.js";
import {
  type CrewPlan,
  openSteered,
  SteeringRefused,
  steeredPlan,
} from "../../src/datapath/steering.js";

const cpus = allowedCpus();
const plain: CrewPlan = { workers: 2, cpus: [], busy: 0 };
const spread: CrewPlan = { workers: 2, cpus: [], busy: 2 };

/** An opener that writes down the plans and refuses those with CPUs. */
function refusing(plans: CrewPlan[]) {
  return async (plan: CrewPlan) => {
    plans.push(plan);
    if (plan.busy > 0) throw new SteeringRefused("the kernel says no");
    return plan.workers;
  };
}

test("off spreads flows over the workers and gives no reason; one has them all", async () => {
  const status = { active: false, cpus: [], reason: "" };
  const got = await openSteered("off", 2, async (plan) => plan);
  assert.equal(got, { opened: spread, status });
  const one = await openSteered("off", 1, async (plan) => plan);
  assert.equal(one, { opened: { workers: 1, cpus: [], busy: 0 }, status });
});

test("auto makes no crew of a size that nobody asked for, on does", () => {
  const many = Array.from({ length: 8 }, (_, cpu) => cpu);
  assert.equal(steeredPlan("auto", 1, many.slice(0, 4)).workers, 5);
  assert.throws(() => steeredPlan("auto", 1, many), /8 CPUs/);
  assert.is(steeredPlan("on", 1, many).workers, 9);
});

test("auto opens the plain plan where the steered one is refused, and says why", async () => {
  const plans: CrewPlan[] = [];
  const { opened, status } = await openSteered("auto", 2, refusing(plans));
  assert.is(opened, 2);
  assert.equal(plans.at(-1), plain);
  assert.is(status.active, false);
  assert.match(status.reason, cpus.length > 1 ? /the kernel says no|CPUs/ : /one CPU/);
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
