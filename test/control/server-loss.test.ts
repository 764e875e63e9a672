// Three nats-servers as one, a controller beside each: nothing ends with the loss of one server.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createIdentity } from "../../control/index.js";
import { Link } from "../../control/nats/index.js";
import { hosts, TestCluster } from "./cluster-fixture.js";
import { codeOf, eventually, factsOf, type Joined, joinNode } from "./fixture.js";

let cluster: TestCluster;

/** Whether a server takes a node's credentials no more. */
async function isRefused({ identity, membership }: Joined, url: string): Promise<boolean> {
  const user = () => ({ jwt: membership.jwt, seed: identity.seed });
  const inbox = `_INBOX_${identity.nodeId}`;
  const way = { servers: [url], ca: () => cluster.mesh.ca, user, inbox, name: "removed" };
  const opened = Link.open(way);
  const code = await codeOf(opened);
  if (code === "") await (await opened).close();
  return code === "MESHD_PERMISSION";
}

test.before(async () => {
  cluster = await TestCluster.start();
  const servers = cluster.urls(0).map((url) => ({ url, routePort: 6222 }));
  const announce = { generation: 1, servers };
  await Promise.all([0, 1, 2].map((index) => cluster.controller(index, { announce })));
  await cluster.healed();
});

test.after(() => cluster.close());

test("any one server may be killed: joins, requests, renewals and changes go on", async () => {
  const admin = await cluster.admin();
  const { token } = await admin.tokens.create({ uses: null });
  const session = await cluster.session(await joinNode(token, 100));
  await session.ready(15_000);
  const killed = new Set<number>();
  // The stream's leader first, then whoever leads after it, then the one that is left.
  for (let round = 1; round <= 3; round++) {
    const leader = await cluster.leader();
    const index = [leader, 0, 1, 2].find((one) => !killed.has(one)) as number;
    killed.add(index);
    await cluster.killServer(index);
    const identity = createIdentity();
    await joinNode(token, 100 + round, identity);
    await admin.nodes.rename(identity.nodeId, `m${round}`);
    await eventually("the session has another server", () => session.connected);
    await session.renew();
    await session.writeNode(factsOf(100, { mtu: 1400 + round }));
    const nameSeen = () => session.snapshot()?.members.get(identity.nodeId)?.name;
    await eventually("the change is seen", () => nameSeen() === `m${round}`, 30_000);
    const host = hosts[index] ?? "";
    const { servers, problems } = await admin.cluster.status();
    assert.is(servers.find((one) => one.host === host)?.state, "missing");
    assert.match(problems.join(), `nats-server on ${host} does not answer`);
    const other = createIdentity();
    const gone = await joinNode(token, 110 + round, other);
    await admin.nodes.remove(gone.identity.nodeId);
    await cluster.startServer(index);
    await cluster.healed();
    const whole = async () => (await admin.cluster.status()).problems.length === 0;
    await eventually("all is well", whole, 60_000);
    // It was away when the credentials were revoked.
    const [back = ""] = cluster.urls(index);
    await eventually("the removed node is refused there", () => isRefused(gone, back));
  }
  assert.equal(await admin.leases.audit(), []);
});

test.run();
