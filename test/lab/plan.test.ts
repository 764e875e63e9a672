// The lab's names and addresses are a contract: they follow from its shape alone.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LabError } from "../../src/lab/error.js";
import { type LabShape, planLab, routerAddresses } from "../../src/lab/plan.js";

const SHAPE: LabShape = {
  name: "lab",
  nodes: 3,
  pods: 2,
  subnets: 1,
  underlay: "192.168.77.0/24",
  workers: 1,
  settings: {},
};

const plan = (change: Partial<LabShape> = {}) => planLab({ ...SHAPE, ...change }, "/s", "/r");

function refusal(change: Partial<LabShape>): LabError {
  try {
    plan(change);
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("namespaces are named <lab>-nI and <lab>-nI-pJ", () => {
  const { nodes } = plan({ name: "abc" });
  assert.equal(
    nodes.map((node) => node.namespace),
    ["abc-n1", "abc-n2", "abc-n3"],
  );
  assert.equal(
    nodes[1]?.pods.map((pod) => pod.namespace),
    ["abc-n2-p1", "abc-n2-p2"],
  );
});

test("one subnet puts every node into the first underlay /24", () => {
  assert.equal(
    plan().nodes.map((node) => node.address),
    ["192.168.77.1", "192.168.77.2", "192.168.77.3"],
  );
});

test("K subnets share the nodes among K networks, each with its router", () => {
  const { nodes, shape } = plan({ subnets: 2 });
  assert.equal(
    nodes.map((node) => node.address),
    ["192.168.77.1", "192.168.78.2", "192.168.77.3"],
  );
  assert.equal(nodes[1]?.router, "192.168.78.254");
  assert.equal(routerAddresses(shape), ["192.168.77.254/24", "192.168.78.254/24"]);
});

test("no address stands twice in the largest lab", () => {
  const { nodes, control } = plan({ nodes: 60, pods: 200, subnets: 20 });
  const addresses = [control.address, ...nodes.map((node) => node.address)];
  assert.is(new Set(addresses).size, 61);
});

test("a shape out of bounds is refused with what is allowed", () => {
  for (const change of [
    { name: "Lab" },
    { name: "" },
    { name: "a".repeat(21) },
    { name: "../x" },
    { nodes: 0 },
    { nodes: 61 },
    { pods: -1 },
    { pods: 1.5 },
    { subnets: 0 },
    { underlay: "192.168.77.0/16" },
    { underlay: "192.168.250.0/24", subnets: 10 },
    { underlay: "fd00::/64" },
    { workers: 33 },
  ]) {
    const error = refusal(change);
    assert.is(error.code, "MESHD_LAB_SHAPE", JSON.stringify(change));
    assert.match(error.message, /allowed/);
  }
});

test.run();
