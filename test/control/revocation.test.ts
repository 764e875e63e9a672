// Removal and revocation end what was issued: live connections at once, and for good over a restart
// of the server.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openToken } from "../../control/token.js";
import { codeOf, eventually, joinNode, withMesh } from "./fixture.js";
import { connectAs, connectUser } from "./raw.js";

test("a removed node is cut off, over a restart too, and may join anew", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
    const raw = await connectAs(mesh, a);
    await admin.nodes.remove("n1");
    await eventually("it is cut", () => raw.connection.isClosed());
    await mesh.restartServer();
    const refused = (member: typeof a) =>
      connectAs(mesh, member).then(
        () => false,
        (error: Error) => error.message.includes("Authorization"),
      );
    assert.ok(await refused(a), "the revocation survived");
    assert.not(await refused(b), "the other node's credentials did too");
    await eventually("a controller is back", async () => (await codeOf(admin.nodes.list())) === "");
    const back = await joinNode(token, 1, a.identity);
    assert.not(await refused(back));
  });
});

test("a revoked token's credential is cut for good", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token, view } = await admin.tokens.create();
    const { bootstrap } = openToken(token);
    const raw = await connectUser(mesh, bootstrap.jwt, bootstrap.seed);
    await admin.tokens.revoke(view.tokenId);
    await eventually("it is cut", () => raw.connection.isClosed());
    await mesh.restartServer();
    const again = connectUser(mesh, bootstrap.jwt, bootstrap.seed);
    assert.match(await codeOf(again), /AUTHORIZATION_VIOLATION/);
  });
});

test("a token's nodes are named when it is revoked, and removed when that is asked", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    await mesh.controller();
    const admin = await mesh.admin();
    const [leaked, other] = [
      await admin.tokens.create({ uses: null }),
      await admin.tokens.create({ uses: null }),
    ];
    const thieves = [await joinNode(leaked.token, 1), await joinNode(leaked.token, 2)];
    await joinNode(other.token, 3);
    const raws = await Promise.all(thieves.map((thief) => connectAs(mesh, thief)));
    const named = await admin.tokens.revoke(leaked.view.tokenId);
    assert.equal([named.nodes, named.removed], [["n1", "n2"], []]);
    assert.is((await admin.nodes.list()).length, 3, "without a word they stay");
    const done = await admin.tokens.revoke(leaked.view.tokenId, true);
    assert.equal([done.nodes, done.removed], [[], ["n1", "n2"]]);
    assert.equal(
      (await admin.nodes.list()).map(({ name }) => name),
      ["n3"],
    );
    await eventually("they are cut", () => raws.every((raw) => raw.connection.isClosed()));
  });
});

test("a join that is under way when its token is revoked with its nodes leaves none", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    await mesh.controller();
    const admin = await mesh.admin();
    const { token, view } = await admin.tokens.create({ uses: null });
    const joins = Array.from({ length: 12 }, (_, index) => codeOf(joinNode(token, index + 1)));
    await eventually("some are in", async () => (await admin.nodes.list()).length > 2);
    const { removed } = await admin.tokens.revoke(view.tokenId, true);
    const codes = await Promise.all(joins);
    const refused = codes.filter((code) => code !== "");
    assert.ok(removed.length > 2, "some were in");
    assert.ok(
      refused.every((code) => /REVOKED|AUTHORIZATION|TIMEOUT|NO_NATS/.test(code)),
      `${codes}`,
    );
    assert.equal(await admin.nodes.list(), []);
    await eventually("no lease is held", async () =>
      (await admin.leases.list()).every((lease) => lease.state !== "held"),
    );
  });
});

test("several removals at once all count", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const members = await Promise.all([1, 2, 3, 4, 5].map((index) => joinNode(token, index)));
    const raws = await Promise.all(members.map((member) => connectAs(mesh, member)));
    await Promise.all(members.map((member) => admin.nodes.remove(member.identity.nodeId)));
    await eventually("all are cut", () => raws.every((raw) => raw.connection.isClosed()));
    assert.equal(await admin.nodes.list(), []);
  });
});

test.run();
