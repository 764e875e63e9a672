// udpChecksum in plans: what sockets are to do, in which order nodes of a mesh change over IPv6.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { MeshSnapshot } from "../../control/index.js";
import { checksumCapabilities } from "../../src/agent/plan/checksums.js";
import { plan } from "../../src/agent/plan/plan.js";
import type { Plan } from "../../src/agent/plan/types.js";
import { facts, member, mesh, node, nodeIdOf } from "./mesh-records.js";

const OVER_6 = { family: 6, address: "fd77::1", interface: "eth0", mtu: 1500 } as const;

function planOf(snapshot: MeshSnapshot, family: 4 | 6 = 4, index = 1): Plan {
  const underlay = { ...OVER_6, address: `fd77::${index}`, interfaceAddresses: [] };
  return plan({ snapshot, local: facts(index, family === 4 ? {} : { underlay }) });
}

function without(count: number): MeshSnapshot {
  const snapshot = mesh(count);
  snapshot.config.udpChecksum = false;
  return snapshot;
}

/** What node `index` says in its record after it did as planned. */
function act(snapshot: MeshSnapshot, index: number): void {
  const capabilities = checksumCapabilities(planOf(snapshot, 6, index).checksums);
  snapshot.nodes.set(nodeIdOf(index), node(index, { capabilities }));
}

const lone = (made: Plan) => made.tables?.peers.map((peer) => peer.lone === true);

test("on: checksums are sent, and trains", () => {
  const made = planOf(mesh(3));
  assert.equal(made.checksums, { send: true, zeroes: false });
  assert.equal(lone(made), [false, false]);
});

test("off over IPv4: at once, each datagram alone; raw encapsulations do not mind", () => {
  const snapshot = without(3);
  const made = planOf(snapshot);
  assert.equal(made.checksums.send, false);
  assert.equal(lone(made), [true, true]);
  assert.equal(made.problems, []);
  snapshot.config.tunnelProtocol = "ipip";
  for (const index of [2, 3])
    snapshot.nodes.set(nodeIdOf(index), node(index, { protocols: ["ipip"] }));
  assert.equal(lone(planOf(snapshot)), [false, false]);
});

test("off over IPv6: all take zeroes before anybody sends them, and the other way round", () => {
  const snapshot = without(3);
  const first = planOf(snapshot, 6);
  assert.equal(first.checksums, { send: true, zeroes: true });
  assert.match(first.problems[0]?.message ?? "", /n2, n3 would drop that over IPv6/);
  act(snapshot, 1);
  act(snapshot, 2);
  assert.equal(planOf(snapshot, 6).checksums, { send: true, zeroes: true });
  act(snapshot, 3);
  const all = planOf(snapshot, 6);
  assert.equal([all.checksums, all.problems], [{ send: false, zeroes: true }, []]);
  for (const index of [1, 2, 3]) act(snapshot, index);
  snapshot.config.udpChecksum = true;
  act(snapshot, 2);
  assert.equal(planOf(snapshot, 6).checksums, { send: true, zeroes: true }, "n3 still sends them");
  act(snapshot, 3);
  assert.equal(planOf(snapshot, 6).checksums, { send: true, zeroes: false });
});

test("removed members, and those without an IPv6 address, hold nothing up", () => {
  const snapshot = without(3);
  act(snapshot, 2);
  snapshot.members.set(nodeIdOf(3), member(3, { state: "removed" }));
  assert.equal(planOf(snapshot, 6).checksums.send, false);
});

test.run();
