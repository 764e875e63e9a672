// Three nats-servers as one, a controller beside each: buckets have three copies, and
// compare-and-set holds. The loss of a server is in server-loss and test/mesh/cluster.
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createIdentity } from "../../control/index.js";
import { Bucket, Link, parseCredentials, signingKey } from "../../control/nats/index.js";
import { inboxOf } from "../../control/subjects.js";
import { TestCluster } from "./cluster-fixture.js";
import { eventually, joinNode } from "./fixture.js";

let cluster: TestCluster;

async function bucketAt(index: number): Promise<Bucket> {
  const user = parseCredentials(await readFile(cluster.mesh.controllerCredentials, "utf8"));
  const inbox = inboxOf.controller(signingKey(user.seed).publicKey);
  const [first = ""] = cluster.urls(index);
  const way = { servers: [first], ca: () => cluster.mesh.ca };
  const link = await Link.open({ ...way, user: () => user, inbox, name: "test" });
  cluster.later(() => link.close());
  return new Bucket(link, cluster.mesh.name);
}

test.before(async () => {
  cluster = await TestCluster.start();
});

test("buckets of one replica get three, and who joined hears of the servers", async () => {
  const first = await cluster.controller(0, { replicas: 1 });
  const admin = await cluster.admin(cluster.urls(0));
  const { token } = await admin.tokens.create();
  const session = await cluster.session(await joinNode(token, 200), { servers: cluster.urls(0) });
  await session.ready(15_000);
  const bucket = await bucketAt(0);
  assert.is((await bucket.copies()).wanted, 1);
  await first.close();
  const servers = cluster.urls(0).map((url) => ({ url, routePort: 6222 }));
  const announce = { generation: 7, servers };
  await Promise.all([0, 1, 2].map((index) => cluster.controller(index, { announce })));
  await eventually("three copies", async () => (await bucket.copies()).wanted === 3);
  await cluster.healed();
  await eventually("the session keeps the list", () =>
    session.membership.servers.every((url, index) => url === cluster.urls(0)[index]),
  );
  // An older list, as a host that was away for long has it, changes nothing.
  await cluster.controller(1, { announce: { generation: 3, servers: servers.slice(0, 1) } });
  assert.is((await admin.tokens.create()).token.length > 0, true);
  assert.is(session.membership.servers.length, 3);
});

test.after(() => cluster.close());

test("of nine writes at once under one revision, through three servers, one is taken", async () => {
  const buckets = await Promise.all([0, 1, 2].map((index) => bucketAt(index)));
  const [bucket] = buckets as [Bucket];
  const key = "names.contested";
  let revision = 0;
  for (let round = 0; round < 40; round++) {
    const writes = Array.from({ length: 9 }, (_, index) =>
      (buckets[index % 3] as Bucket).put(key, `${round}-${index}`, revision),
    );
    const taken = (await Promise.all(writes)).filter((one) => one !== null);
    assert.is(taken.length, 1, `round ${round}`);
    revision = (await bucket.get(key))?.revision ?? 0;
    assert.is(revision, taken[0]);
  }
});

test("joins asked three times at once of three controllers give each node one lease", async () => {
  const admin = await cluster.admin();
  const { token, view } = await admin.tokens.create({ uses: 20 });
  const joins = Array.from({ length: 20 }, (_, index) => {
    const identity = createIdentity();
    return Promise.all([1, 2, 3].map(() => joinNode(token, index + 1, identity)));
  });
  const joined = (await Promise.all(joins)).flat();
  const ours = new Set(joined.map(({ identity }) => identity.nodeId));
  const leases = await admin.leases.list();
  const held = leases.filter((one) => one.state === "held" && ours.has(one.nodeId ?? ""));
  assert.is(held.length, 20);
  assert.equal(await admin.leases.audit(), []);
  const holders = new Map(held.map((lease) => [lease.nodeId, lease.cidr]));
  for (const { membership } of joined) {
    assert.equal(membership.podCIDRs, [holders.get(membership.nodeId)]);
  }
  const tokens = await admin.tokens.list();
  assert.is(tokens.find((one) => one.tokenId === view.tokenId)?.uses, 20);
});

test.run();
