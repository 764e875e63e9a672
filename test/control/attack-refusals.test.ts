// A member with stolen node credentials (and seed), against a real server with the stock client:
// everything it may want to do, and the line of a log that says why it failed. The server's log has
// what permissions refuse; the controllers' has what they refuse or mend. Forged packets:
// test/mesh/attacker.test.ts; the rest of the attacker's suite is listed in docs/security.md.
import { readFile } from "node:fs/promises";
import { AckPolicy, type JetStreamManager } from "nats";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { nextSerial, seal } from "../../control/envelope.js";
import { createIdentity, joinMesh } from "../../control/index.js";
import { signingKey } from "../../control/nats/index.js";
import { openToken } from "../../control/token.js";
import {
  codeOf,
  eventually,
  factsOf,
  type Joined,
  joinNode,
  TestMesh,
  underlayOf,
} from "./fixture.js";
import { connectAs, connectFile, connectUser, type Raw } from "./raw.js";

const test = suite("attack-refusals");

interface Scene {
  attacker: Joined;
  victim: Joined;
  raw: Raw;
  token: string;
}

/** One mesh for all: an attacker tries one thing after the other, too. */
let mesh: TestMesh;
let joined: Pick<Scene, "attacker" | "victim" | "token">;

test.before(async () => {
  mesh = await TestMesh.start();
  await mesh.controller();
  const admin = await mesh.admin();
  const { token } = await admin.tokens.create({ uses: 2 });
  joined = { attacker: await joinNode(token, 1), victim: await joinNode(token, 2), token };
});

test.after(() => mesh.close());

async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  await work({ ...joined, raw: await connectAs(mesh, joined.attacker) });
}

/** Waits for a line of the server's log that names the user, what he tried, and the subject. */
async function saidByServer(
  { attacker }: Scene,
  kind: "Publish" | "Subscription",
  subject: string,
): Promise<void> {
  await eventually(`the server's log tells of ${kind} ${subject}`, async () => {
    const lines = (await readFile(mesh.server.log, "utf8")).split("\n");
    return lines.some(
      (line) =>
        line.includes(`${kind} Violation`) &&
        line.includes(attacker.identity.nodeId) &&
        line.includes(`"${subject}"`),
    );
  });
}

/** Waits for an event of a controller's log whose fields, as JSON, match. */
async function saidByController(event: string, fields: RegExp): Promise<void> {
  await eventually(`a controller's log has ${event} ${fields}`, () =>
    mesh.log.some((line) => line.event === event && fields.test(JSON.stringify(line.fields))),
  );
}

/** Publishes to each; the server's log has a line for each. */
async function refusedPublishing(scene: Scene, subjects: string[]): Promise<void> {
  for (const subject of subjects) scene.raw.publish(subject, "{}");
  for (const subject of subjects) await saidByServer(scene, "Publish", subject);
}

async function refusedListening(scene: Scene, subjects: string[]): Promise<void> {
  for (const subject of subjects) scene.raw.subscribe(subject);
  for (const subject of subjects) await saidByServer(scene, "Subscription", subject);
}

const managerOf = ({ raw }: Scene): Promise<JetStreamManager> =>
  raw.connection.jetstreamManager({ checkAPI: false });

test("another's record, a lease, a grant, the settings: not to be written", async () => {
  await withScene(async (scene) => {
    const { nodeId } = scene.victim.identity;
    await refusedPublishing(scene, [
      `$KV.mesh.nodes.${nodeId}`,
      `$KV.mesh.endpoints.${nodeId}.web`,
      `$KV.mesh.members.${scene.attacker.identity.nodeId}`,
      "$KV.mesh.leases.10-244-1-0_24",
      "$KV.mesh.config",
      "$KV.mesh.heartbeat",
    ]);
  });
});

test("streams: not to be deleted, purged, changed, copied or made", async () => {
  await withScene(async (scene) => {
    const verbs = ["DELETE", "PURGE", "UPDATE", "SNAPSHOT", "RESTORE", "MSG.DELETE"];
    await refusedPublishing(scene, [
      ...verbs.map((verb) => `$JS.API.STREAM.${verb}.KV_mesh`),
      ...verbs.map((verb) => `$JS.API.STREAM.${verb}.KV_mesh-secrets`),
      "$JS.API.STREAM.CREATE.mine",
    ]);
    // The way round by an acknowledgment (attack.test.ts) leaves a line, too: what was written.
    const { nodeId } = scene.attacker.identity;
    scene.raw.publish(`$KV.mesh.nodes.${nodeId}`, "{}", "$JS.API.STREAM.PURGE.KV_mesh");
    await saidByController("record-refused", new RegExp(`nodes.${nodeId}`));
  });
});

test("consumers: its own one, however often and however durable, and no other", async () => {
  await withScene(async (scene) => {
    const { nodeId } = scene.attacker.identity;
    const manager = await managerOf(scene);
    const durable = { durable_name: nodeId, ack_policy: AckPolicy.Explicit };
    for (let round = 0; round < 20; round++) {
      await manager.consumers.add("KV_mesh", { name: nodeId, ...durable }).catch(() => undefined);
    }
    await refusedPublishing(scene, [
      `$JS.API.CONSUMER.CREATE.KV_mesh.more.$KV.mesh.>`,
      "$JS.API.CONSUMER.CREATE.KV_mesh",
      "$JS.API.CONSUMER.DURABLE.CREATE.KV_mesh.more",
      `$JS.API.CONSUMER.DURABLE.CREATE.KV_mesh.${nodeId}`,
      `$JS.API.CONSUMER.DELETE.KV_mesh.${scene.victim.identity.nodeId}`,
    ]);
    const { connection } = await connectFile(mesh, mesh.mesh.adminCredentials, "_INBOX");
    const info = (await connection.request("$JS.API.STREAM.INFO.KV_mesh")).json() as {
      state: { consumer_count: number };
    };
    assert.ok(info.state.consumer_count <= 2, "the controller's and the attacker's");
  });
});

test("tokens and all other secrets: not to be read, nor heard", async () => {
  await withScene(async (scene) => {
    const { nodeId } = scene.attacker.identity;
    await refusedPublishing(scene, [
      "$JS.API.STREAM.MSG.GET.KV_mesh-secrets",
      "$JS.API.DIRECT.GET.KV_mesh-secrets.$KV.mesh-secrets.tokens",
      `$JS.API.CONSUMER.CREATE.KV_mesh-secrets.${nodeId}.$KV.mesh-secrets.>`,
      "mesh.admin.tokens.list",
      "mesh.admin.admin.tokens.list",
      `mesh.node.${nodeId}.users`,
    ]);
    await refusedListening(scene, ["$KV.mesh-secrets.>", "$KV.mesh.>", ">"]);
  });
});

test("heartbeats and requests in another's name, and requests of administrators", async () => {
  await withScene(async (scene) => {
    const { nodeId } = scene.victim.identity;
    await refusedPublishing(scene, [
      `mesh.heartbeat.${nodeId}`,
      ...["renew", "leave", "present", "pair"].map((verb) => `mesh.node.${nodeId}.${verb}`),
      `mesh.agent.${nodeId}.status`,
      "mesh.admin.admin.nodes.remove",
      "mesh.admin.nodes.remove",
      "mesh.creation",
    ]);
  });
});

test("to answer for a controller, to hear joins, or what others are answered", async () => {
  await withScene(async (scene) => {
    const { nodeId } = scene.victim.identity;
    await refusedListening(scene, [
      "mesh.admin.>",
      "mesh.admin.*.nodes.list",
      "mesh.join.*",
      "mesh.node.*.renew",
      `mesh.agent.${nodeId}.status`,
      `_INBOX_${nodeId}.>`,
      "_INBOX.>",
      "_INBOX_CTL_>",
      "$SRV.PING.meshd",
    ]);
    await refusedPublishing(scene, [`_INBOX_${nodeId}.1`, "_INBOX.1"]);
  });
});

test("a request of an administrator that the server delivers for a member is refused", async () => {
  await withScene(async (scene) => {
    const { raw, attacker } = scene;
    const own = `$KV.mesh.nodes.${attacker.identity.nodeId}`;
    raw.publish(own, "{}", "mesh.admin.admin.nodes.list");
    await saidByController("reply-refused", /admin\.nodes\.list/);
    raw.publish(own, '{"node":"n2"}');
    const manager = await managerOf(scene);
    await manager.consumers.add("KV_mesh", {
      ...{ name: attacker.identity.nodeId, filter_subject: own, ack_policy: AckPolicy.None },
      // The group that controllers share their requests in.
      ...{ deliver_subject: "mesh.admin.nodes.remove", deliver_group: "q" },
    });
    await saidByController("reply-refused", /JS\.ACK|"reply":""/);
    assert.is((await (await mesh.admin()).nodes.list()).length, 2);
  });
});

test("a used token, a token of another mesh's key, a request signed for another", async () => {
  await withScene(async (scene) => {
    const { token } = scene;
    assert.is(await codeOf(joinNode(token, 3)), "MESHD_TOKEN_USED");
    await saidByController("join-refused", /used up/);
    // The member cannot ask with its own credentials, whatever it knows of the token.
    const { tokenId, bootstrap } = openToken(token);
    await refusedPublishing(scene, [`mesh.join.${tokenId}`]);
    const thief = await connectUser(mesh, bootstrap.jwt, bootstrap.seed);
    const stolen = { nodeId: scene.victim.identity.nodeId, name: "n2", proof: "AAAA" };
    const request = {
      ...stolen,
      tokenProof: "AAAA",
      underlay: { address: underlayOf(2), port: 1 },
    };
    const answered = thief.subscribe(`_INBOX_TOKEN_${tokenId}.>`);
    const reply = `_INBOX_TOKEN_${tokenId}.1`;
    thief.publish(`mesh.join.${tokenId}`, JSON.stringify(request), reply);
    await eventually("it is answered", () => answered.got.length > 0);
    assert.is(answered.got[0], "", "an error in the headers, no membership");
    const other = { identity: createIdentity(), name: "n9" };
    const underlay = { address: underlayOf(9), port: 8472 };
    assert.is(await codeOf(joinMesh(token, { ...other, underlay })), "MESHD_TOKEN_USED");
  });
});

test("an old record of its own, signed and all, is a replay", async () => {
  await withScene(async (scene) => {
    const { attacker, raw } = scene;
    const { nodeId, seed } = attacker.identity;
    const key = `nodes.${nodeId}`;
    const { meshId } = attacker.membership;
    const signed = (serial: number, index: number) =>
      seal(meshId, key, { nodeId, ...factsOf(index) }, serial, signingKey(seed));
    const now = nextSerial(0);
    raw.publish(`$KV.mesh.${key}`, signed(now, 1));
    const watching = await mesh.session(scene.victim);
    await watching.ready(10_000);
    await eventually(
      "the new one is in force",
      () => watching.snapshot()?.nodes.has(nodeId) === true,
    );
    raw.publish(`$KV.mesh.${key}`, signed(now - 60_000, 5));
    await saidByController("record-refused", new RegExp(`${key}.*older`));
    assert.is(watching.snapshot()?.nodes.get(nodeId)?.vtepMac, factsOf(1).vtepMac);
    // Grants of others that it kept, handed back after they changed.
    const grant = attacker.membership.grants[0];
    const admin = await mesh.admin();
    await admin.nodes.drain("n1");
    const inbox = raw.subscribe(`_INBOX_${nodeId}.>`);
    const records = JSON.stringify({ records: [grant] });
    raw.publish(`mesh.node.${nodeId}.present`, records, `_INBOX_${nodeId}.1`);
    await eventually("it is answered", () => inbox.got.length > 0);
    assert.equal(JSON.parse(inbox.got[0] ?? ""), { adopted: 0 });
    assert.is((await admin.nodes.show("n1")).state, "draining");
  });
});

test("a flood: long values are refused, and nobody else is kept from work", async () => {
  await withScene(async (scene) => {
    const { attacker, raw } = scene;
    const own = `$KV.mesh.nodes.${attacker.identity.nodeId}`;
    const stream = raw.connection.jetstream();
    const tooLong = stream.publish(own, "x".repeat(66_000));
    await tooLong.then(
      () => assert.unreachable("it was taken"),
      (error: Error) => assert.match(error.message, /message size exceeds/),
    );
    const lines = () => mesh.log.filter((line) => line.event === "record-refused").length;
    const before = lines();
    for (let round = 0; round < 2_000; round++) raw.publish(own, "x");
    const { seq } = await stream.publish(own, "x");
    const admin = await mesh.admin();
    await eventually("a controller has read all of it", async () =>
      (await admin.refused()).some(({ revision }) => revision >= seq),
    );
    assert.ok(lines() > before, "and says so");
    assert.ok(lines() - before < 100, `not a line for each: ${lines() - before}`);
    assert.is((await admin.nodes.drain("n2")).state, "draining");
  });
});

test.run();
