// Clocks that are set by days, at a controller while it runs, at one that starts so, and at the
// nodes: no quarantine ends early or never, no token comes back to life, no timer overflows.
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Rests } from "../../control/controller/rests.js";
import { type LeaseRecord, renewMembership } from "../../control/index.js";
import { parseCredentials } from "../../control/nats/index.js";
import { openToken } from "../../control/token.js";
import { moveClock, trueClock } from "./clock.js";
import { codeOf, eventually, factsOf, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectAs, connectUser } from "./raw.js";

const day_ms = 86_400_000;

/** A pool of two: one is held, the other rests. */
const small = { clusterPoolIPv4PodCIDR: "10.244.0.0/23" };

async function withRestingLease(
  leaseQuarantine: number,
  work: (mesh: TestMesh, token: string) => Promise<void>,
): Promise<void> {
  await withMesh({ config: { ...small, leaseQuarantine } }, async (mesh) => {
    try {
      await mesh.controller();
      const admin = await mesh.admin();
      const { token } = await admin.tokens.create({ uses: null, expires_s: 10 * 86_400 });
      await joinNode(token, 1);
      await joinNode(token, 2);
      await admin.nodes.remove("n2");
      await work(mesh, token);
    } finally {
      trueClock();
    }
  });
}

test("a controller's clock that jumps ahead by days ends no quarantine", async () => {
  await withRestingLease(600, async (_, token) => {
    moveClock(3 * day_ms);
    assert.is(await codeOf(joinNode(token, 3)), "MESHD_POOL_EXHAUSTED");
    moveClock(-6 * day_ms);
    assert.is(await codeOf(joinNode(token, 4)), "MESHD_POOL_EXHAUSTED");
  });
});

test("a controller that starts with a clock days ahead gives no resting lease away", async () => {
  await withRestingLease(600, async (mesh, token) => {
    moveClock(3 * day_ms);
    // The first one is not asked any more.
    await mesh.closeControllers();
    await mesh.controller();
    assert.is(await codeOf(joinNode(token, 3)), "MESHD_POOL_EXHAUSTED");
    const admin = await mesh.admin();
    const resting = (await admin.leases.list()).find((one) => one.state === "quarantined");
    await admin.leases.reclaim(resting?.cidr ?? "");
    assert.is(await codeOf(joinNode(token, 3)), "", "an administrator's word counts");
  });
});

test("a quarantine ends in its time though the clock was set back by days", async () => {
  await withRestingLease(2, async (mesh, token) => {
    moveClock(-3 * day_ms);
    const admin = await mesh.admin();
    const isFree = async () =>
      (await admin.leases.list())
        .filter((one) => one.state === "quarantined")
        .map((one) => one.free);
    assert.equal(await isFree(), [false]);
    await eventually("it is shown as free", async () => `${await isFree()}` === "true");
    await eventually(
      "the lease is given again",
      async () => (await codeOf(joinNode(token, 3))) === "",
    );
  });
});

test("a quarantine that a clock days ahead wrote ends after its length, seen by another", () => {
  const rests = new Rests();
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  const lease = (cidr: string, since: string, until: string): LeaseRecord => ({
    ...{ cidr, nodeId: "U", epoch: 1, state: "quarantined", signature: "" },
    ...{ since, until },
  });
  const ahead = lease("10.0.0.0/24", at(3 * day_ms), at(3 * day_ms + 50));
  assert.not(rests.isOver(ahead));
  const past = lease("10.0.9.0/24", at(-1_000), at(-500));
  assert.ok(rests.isOver(past), "both clocks say so");
  rests.heard({ revision: 2, time_ms: Date.now() - day_ms });
  assert.not(rests.isOver({ ...past, cidr: "10.0.1.0/24" }), "the store's clock says otherwise");
  rests.heard({ revision: 1, time_ms: Date.now() });
  assert.not(rests.isOver({ ...past, cidr: "10.0.2.0/24" }), "what is older says nothing new");
  const end = performance.now() + 60;
  while (performance.now() < end);
  assert.ok(rests.isOver(ahead), "it rested for as long as it was to");
});

test("a token that has ended stays so when the controller's clock is set back", async () => {
  await withMesh({}, async (mesh) => {
    try {
      await mesh.controller();
      const admin = await mesh.admin();
      const { token } = await admin.tokens.create({ expires_s: 1 });
      await sleep(2_100);
      assert.is(await codeOf(joinNode(token, 1)), "MESHD_TOKEN_EXPIRED");
      moveClock(-3 * day_ms);
      // The server has a clock of its own; at times it hangs up before its reason is read.
      const code = await codeOf(joinNode(token, 1));
      assert.match(code, /^MESHD_/);
      assert.equal(await admin.nodes.list(), []);
    } finally {
      trueClock();
    }
  });
});

test("credentials of ten years overflow no timer, and no jump renews them", async () => {
  await withMesh({}, async (mesh) => {
    const warnings: string[] = [];
    const onWarning = ({ name }: Error) => warnings.push(name);
    process.on("warning", onWarning);
    try {
      await mesh.controller({ credentials_s: 10 * 365 * 86_400, holdOff_ms: 40 * day_ms });
      const { token } = await (await mesh.admin()).tokens.create({ expires_s: 900_000_000 });
      const session = await mesh.session(await joinNode(token, 1), { heartbeat_ms: 100 });
      await session.ready(5_000);
      await session.writeNode(factsOf(1));
      let renewed = 0;
      session.on("membership", () => renewed++);
      for (const by of [40 * day_ms, -80 * day_ms, 40 * day_ms]) {
        moveClock(by);
        await sleep(300);
      }
      assert.is(renewed, 0);
      assert.ok(session.connected);
      assert.not(warnings.includes("TimeoutOverflowWarning"), warnings.join());
      assert.not(warnings.includes("TimeoutNegativeWarning"), warnings.join());
    } finally {
      process.off("warning", onWarning);
      trueClock();
    }
  });
});

/** What a controller gave ends with its revocation, though its clock was ahead by so much. */
async function endsWhatWasGivenAhead(by_ms: number): Promise<void> {
  await withMesh({}, async (mesh) => {
    try {
      // One beat alone: nothing tells the clock of who gave.
      await mesh.controller({ beat_ms: day_ms });
      const admin = await mesh.admin();
      moveClock(by_ms);
      const { token, view } = await admin.tokens.create({ uses: null, expires_s: null });
      const bob = await admin.admins.add({ name: "bob", role: "operator", expires_s: null });
      const [node, other] = [await joinNode(token, 1), await joinNode(token, 2)];
      await sleep(1_100);
      const renewed = await renewMembership(node.membership, node.identity);
      moveClock(-by_ms);
      const { bootstrap } = openToken(token);
      const users = [
        { jwt: node.membership.jwt, seed: node.identity.seed },
        { jwt: node.membership.renewalJwt, seed: node.identity.seed },
        { jwt: renewed.jwt, seed: node.identity.seed },
        { jwt: other.membership.renewalJwt, seed: other.identity.seed },
        bootstrap,
        parseCredentials(bob.text),
      ];
      const raws = await Promise.all(users.map(({ jwt, seed }) => connectUser(mesh, jwt, seed)));
      await admin.nodes.remove("n1");
      await admin.tokens.revoke(view.tokenId, true);
      await admin.admins.remove("bob");
      await eventually("all are cut", () => raws.every((raw) => raw.connection.isClosed()));
      for (const { jwt, seed } of users) {
        assert.match(await codeOf(connectUser(mesh, jwt, seed)), /AUTHORIZATION_VIOLATION/);
      }
      const { token: next } = await admin.tokens.create({ uses: null });
      const back = await joinNode(next, 1, node.identity);
      await (await connectAs(mesh, back)).connection.close();
    } finally {
      trueClock();
    }
  });
}

test("a removal ends what a controller gave whose clock was two seconds ahead", () =>
  endsWhatWasGivenAhead(2_000));

test("a removal ends what a controller gave whose clock was an hour ahead", () =>
  endsWhatWasGivenAhead(3_600_000));

test("a removal ends what a controller gave whose clock was ten years ahead", () =>
  endsWhatWasGivenAhead(3_653 * day_ms));

test("a removal by a controller whose clock is an hour behind ends credentials, too", async () => {
  await withMesh({}, async (mesh) => {
    try {
      await mesh.controller();
      const admin = await mesh.admin();
      const { token } = await admin.tokens.create({ uses: null });
      const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
      const raws = [await connectAs(mesh, a), await connectAs(mesh, b)];
      const isCut = (index: number) => raws[index]?.connection.isClosed() ?? false;
      await admin.nodes.remove("n1");
      await eventually("the first is cut", () => isCut(0));
      moveClock(-3_600_000);
      await admin.nodes.remove("n2");
      await eventually("the second is cut", () => isCut(1));
      const back = await joinNode(token, 2, b.identity);
      await (await connectAs(mesh, back)).connection.close();
      await mesh.restartServer();
      assert.match(await codeOf(connectAs(mesh, b)), /AUTHORIZATION_VIOLATION/);
      assert.match(await codeOf(connectAs(mesh, a)), /AUTHORIZATION_VIOLATION/);
    } finally {
      trueClock();
    }
  });
});

test.run();
