// What stolen credentials are worth: tried against a real server with the stock client.
import { readFile } from "node:fs/promises";
import { headers } from "nats";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { writeSecretFile } from "../../control/files.js";
import { loadSecrets } from "../../control/founding/mesh.js";
import { type AdminClient, createIdentity } from "../../control/index.js";
import {
  credentialsText,
  parseCredentials,
  readUserJwt,
  signingKey,
  userJwt,
} from "../../control/nats/index.js";
import { adminPermissions } from "../../control/permissions.js";
import { openToken } from "../../control/token.js";
import { codeOf, eventually, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectAs, connectFile, connectUser, type Raw } from "./raw.js";

/** Publishes and subscribes all of them and waits until the server refused each. */
async function allRefused(raw: Raw, publish: string[], subscribe: string[]): Promise<void> {
  for (const subject of publish) raw.publish(subject, "x");
  for (const subject of subscribe) raw.subscribe(subject);
  const wanted = [
    ...publish.map((subject) => `publish ${subject}`),
    ...subscribe.map((subject) => `subscription ${subject}`),
  ];
  await eventually(`refused: ${wanted.join(", ")}; were: ${raw.refused.join(", ")}`, () =>
    wanted.every((one) => raw.refused.includes(one)),
  );
}

test("a node's credentials write its own records and no other key", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
    const raw = await connectAs(mesh, a);
    const other = b.identity.nodeId;
    const own = a.identity.nodeId;
    const stream = raw.connection.jetstream();
    const ack = await stream.publish(`$KV.mesh.nodes.${own}`, "{}");
    assert.ok(ack.seq > 0, "its own key can be written");
    await allRefused(
      raw,
      [
        `$KV.mesh.nodes.${other}`,
        `$KV.mesh.endpoints.${other}.p1`,
        `$KV.mesh.members.${own}`,
        `$KV.mesh.leases.10-244-0-0_24`,
        `$KV.mesh.names.n2`,
        `$KV.mesh.claims.192-0-2-2_8472`,
        "$KV.mesh.peers.x",
        "$KV.mesh.config",
        "$KV.mesh.heartbeat",
        "$KV.mesh-secrets.tokens.x",
        `mesh.heartbeat.${other}`,
        `mesh.node.${other}.leave`,
        "mesh.admin.nodes.list",
        `_INBOX_${other}.x`,
        `mesh.agent.${other}.bench`,
        "$SRV.PING",
      ],
      [
        `_INBOX_${other}.>`,
        "_INBOX.>",
        ">",
        "$KV.mesh.>",
        "$KV.mesh-secrets.>",
        "mesh.heartbeat.*",
        "mesh.join.*",
        `mesh.agent.${other}.status`,
        `mesh.agent.${other}.bench`,
      ],
    );
  });
});

test("a node reaches no stream, no secret and no consumer but the one named after it", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
    const raw = await connectAs(mesh, a);
    const own = a.identity.nodeId;
    await allRefused(
      raw,
      [
        "$JS.API.STREAM.DELETE.KV_mesh",
        "$JS.API.STREAM.PURGE.KV_mesh",
        "$JS.API.STREAM.UPDATE.KV_mesh",
        "$JS.API.STREAM.CREATE.more",
        "$JS.API.STREAM.MSG.DELETE.KV_mesh",
        "$JS.API.STREAM.MSG.GET.KV_mesh-secrets",
        "$JS.API.DIRECT.GET.KV_mesh-secrets",
        "$JS.API.STREAM.SNAPSHOT.KV_mesh",
        "$JS.API.CONSUMER.CREATE.KV_mesh",
        "$JS.API.CONSUMER.CREATE.KV_mesh.another.$KV.mesh.>",
        `$JS.API.CONSUMER.CREATE.KV_mesh-secrets.${own}.$KV.mesh-secrets.>`,
        `$JS.API.CONSUMER.DURABLE.CREATE.KV_mesh.${own}`,
        `$JS.API.CONSUMER.DELETE.KV_mesh.${b.identity.nodeId}`,
      ],
      [],
    );
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    const foreign = manager.consumers.add("KV_mesh", { name: "more", deliver_subject: "x" });
    await foreign.then(
      () => assert.unreachable("a consumer of another name was made"),
      (error: Error) => assert.match(error.message, /Permissions Violation/),
    );
  });
});

test("a rollup header on an own key does not empty the bucket", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const raw = await connectAs(mesh, a);
    const all = headers();
    all.set("Nats-Rollup", "all");
    const wipe = raw.connection
      .jetstream()
      .publish(`$KV.mesh.nodes.${a.identity.nodeId}`, "x", { headers: all });
    await wipe.then(
      () => assert.unreachable("the rollup was taken"),
      (error: Error) => assert.match(error.message, /rollup not permitted/),
    );
    assert.is((await admin.leases.list()).length, 1);
  });
});

test("a token's credential can ask to join and nothing else", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const [first, second] = [await admin.tokens.create(), await admin.tokens.create()];
    const { bootstrap, tokenId } = openToken(first.token);
    const raw = await connectUser(mesh, bootstrap.jwt, bootstrap.seed);
    await allRefused(
      raw,
      [
        `mesh.join.${second.view.tokenId}`,
        "mesh.admin.tokens.list",
        "mesh.node.x.renew",
        "$KV.mesh.config",
        "$JS.API.INFO",
        "$JS.API.CONSUMER.CREATE.KV_mesh",
        "$JS.API.DIRECT.GET.KV_mesh",
        "$SRV.PING",
      ],
      [`_INBOX_TOKEN_${second.view.tokenId}.>`, "_INBOX.>", "$KV.mesh.>", ">"],
    );
    assert.not(raw.refused.some((one) => one.includes(tokenId)));
  });
});

test("a renewal credential can renew and nothing else", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const raw = await connectUser(mesh, a.membership.renewalJwt, a.identity.seed);
    const own = a.identity.nodeId;
    await allRefused(
      raw,
      [
        `$KV.mesh.nodes.${own}`,
        `mesh.node.${own}.leave`,
        `mesh.heartbeat.${own}`,
        `mesh.agent.${own}.bench`,
        `$JS.API.CONSUMER.CREATE.KV_mesh.${own}.$KV.mesh.>`,
      ],
      ["$KV.mesh.>", `mesh.agent.${own}.status`],
    );
  });
});

test("controllers and administrators have no rights over streams or others' inboxes", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const files = [mesh.mesh.controllerCredentials, mesh.mesh.adminCredentials];
    for (const file of files) {
      const raw = await connectFile(mesh, file, "_INBOX_other");
      await allRefused(
        raw,
        [
          "$JS.API.STREAM.DELETE.KV_mesh",
          "$JS.API.STREAM.PURGE.KV_mesh",
          "$JS.API.STREAM.DELETE.KV_mesh-secrets",
          "_INBOX_UAAA.x",
          "$KV.mesh.nodes.x",
        ],
        ["_INBOX_UAAA.>", ">", "$KV.mesh-secrets.>"],
      );
    }
    const controller = await connectFile(mesh, mesh.mesh.controllerCredentials, "_INBOX_other");
    await allRefused(controller, [], ["_INBOX.>"]);
    const admin = await connectFile(mesh, mesh.mesh.adminCredentials, "_INBOX_other");
    await allRefused(
      admin,
      ["$KV.mesh.config", "$JS.API.STREAM.MSG.GET.KV_mesh-secrets", "mesh.join.x"],
      [],
    );
  });
});

test("a responder does not answer into an inbox that is not the requester's own", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin: AdminClient = await mesh.admin();
    const { token, view } = await admin.tokens.create({ uses: 2 });
    const a = await joinNode(token, 1);
    const raw = await connectAs(mesh, a);
    const own = a.identity.nodeId;
    const replies = ["$KV.mesh.config", `_INBOX_UAAAA.x`, `_INBOX_${own}`, `_INBOX_${own}.>`];
    for (const reply of replies) raw.publish(`mesh.node.${own}.renew`, "{}", reply);
    const { bootstrap } = openToken(token);
    const guest = await connectUser(mesh, bootstrap.jwt, bootstrap.seed);
    guest.publish(`mesh.join.${view.tokenId}`, "{}", `_INBOX_${own}.stolen`);
    const refusals = () => mesh.log.filter((line) => line.event === "reply-refused").length;
    await eventually("all replies refused", () => refusals() === replies.length + 1);
    assert.is((await admin.config.get()).mtu, "auto");
    assert.equal(await admin.refused(), []);
  });
});

/** Writes the admin credentials of a meshd that had no roles, without an end; gives the seed. */
async function makeOld({ mesh }: TestMesh): Promise<string> {
  const { seed } = parseCredentials(await readFile(mesh.adminCredentials, "utf8"));
  const key = signingKey(seed).publicKey;
  const { subscribe } = adminPermissions(mesh.name, { name: "admin", key, role: "admin" });
  const { signer } = await loadSecrets(mesh);
  const user = { name: "admin", key, account: mesh.accountKey, signer };
  const permissions = { publish: ["mesh.admin.>"], subscribe };
  await writeSecretFile(
    mesh.adminCredentials,
    credentialsText(await userJwt({ ...user, permissions }), seed),
  );
  return seed;
}

test("an older mesh's credentials get today's rights and an end, and keep their keys", async () => {
  await withMesh({}, async (mesh) => {
    const seed = await makeOld(mesh);
    const old = await readFile(mesh.mesh.adminCredentials, "utf8");
    assert.is(readUserJwt(parseCredentials(old).jwt)?.expires, null);
    await mesh.controller();
    const own = parseCredentials(await readFile(mesh.mesh.adminCredentials, "utf8"));
    assert.is(own.seed, seed);
    assert.ok((readUserJwt(own.jwt)?.expires ?? 0) > Date.now() / 1000 + 89 * 86_400);
    const admin = await mesh.admin();
    const code = await codeOf(admin.nodes.bench(createIdentity().nodeId, {}));
    assert.is(code, "MESHD_NO_CONTROLLER", "allowed, and there is no such agent");
    const renewed = mesh.log.filter((line) => line.event === "admin-renewed").length;
    await mesh.controller();
    const again = mesh.log.filter((line) => line.event === "admin-renewed").length;
    assert.is(again, renewed, "nothing to change any more");
  });
});

test.run();
