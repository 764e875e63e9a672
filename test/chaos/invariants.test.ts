// The checks themselves: what is wrong in a store is said, what is right is not.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { holdersOf } from "./invariants.js";
import type { StoredLease, StoredMember } from "./store.js";

const CIDR = "10.244.1.0/24";

const lease = (fields: Partial<StoredLease> = {}): StoredLease => ({
  ...{ cidr: CIDR, nodeId: "A", epoch: 1, state: "held" },
  ...fields,
});
const member = (fields: Partial<StoredMember> = {}): StoredMember => ({
  ...{ nodeId: "A", name: "n1", state: "active", podCIDRs: [CIDR], epoch: 1 },
  ...fields,
});

const wrongIn = (leases: StoredLease[], members: StoredMember[]) =>
  holdersOf({ leases, members }).wrong.join("; ");

test("a member with its own lease is right, and named as the holder", () => {
  const { holders, wrong } = holdersOf({ leases: [lease()], members: [member()] });
  assert.equal(wrong, []);
  assert.equal([...holders], [[CIDR, "n1"]]);
});

test("a lease with two holders is found, and a PodCIDR that two members list", () => {
  const other = member({ nodeId: "B", name: "n2" });
  assert.match(wrongIn([lease(), lease({ nodeId: "B" })], [member()]), /held twice/);
  assert.match(wrongIn([lease()], [member(), other]), /n2 lists .*; a PodCIDR stands twice/);
});

test("a lease of an older epoch, a resting one and a missing one are found", () => {
  assert.match(wrongIn([lease({ epoch: 2 })], [member()]), /n1 lists 10\.244\.1\.0\/24 of epoch 1/);
  assert.match(wrongIn([lease({ state: "quarantined" })], [member()]), /n1 lists/);
  assert.match(wrongIn([], [member()]), /its lease is undefined/);
});

test("a removed member's list is no claim", () => {
  assert.is(wrongIn([], [member({ state: "removed" })]), "");
});

test.run();
