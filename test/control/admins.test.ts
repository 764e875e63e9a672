// Administrators and their roles: what each may ask, who asked, renewal, removal. Refusals come
// from the server's permissions and, where somebody has more of these than his role, from the
// controllers.
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AckPolicy, StringCodec } from "nats";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadSecrets } from "../../control/founding/mesh.js";
import {
  AdminClient,
  type AdminRole,
  adminCredentials,
  adminRoles,
  createAdminKey,
  readPlace,
  recoverAdmin,
  seedIn,
} from "../../control/index.js";
import {
  credentialsText,
  parseCredentials,
  readUserJwt,
  signingKey,
  userJwt,
} from "../../control/nats/index.js";
import { adminPermissions } from "../../control/permissions.js";
import { isReading, knownPaths, mayAsk, pathsOf } from "../../control/roles.js";
import { openToken } from "../../control/token.js";
import { codeOf, eventually, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectFile } from "./raw.js";

const codec = StringCodec();

/** An administrator of the mesh: his client and his file. */
async function newAdmin(
  mesh: TestMesh,
  { name, role, expires_s }: { name: string; role: AdminRole; expires_s?: number },
): Promise<{ client: AdminClient; file: string }> {
  const first = await mesh.admin();
  const { text } = await first.admins.add({
    name,
    role,
    ...(expires_s === undefined ? {} : { expires_s }),
  });
  const file = join(mesh.dir, `${name}.creds`);
  await writeFile(file, text, { mode: 0o600 });
  const place = readPlace(text);
  assert.is(place?.meshId, mesh.mesh.meshId);
  return { client: await connectWith(mesh, file), file };
}

async function connectWith(mesh: TestMesh, credentials: string): Promise<AdminClient> {
  const { ca, name } = mesh.mesh;
  const servers = [mesh.server.url];
  const client = await AdminClient.connect({ servers, ca, credentials, mesh: name });
  mesh.later(() => client.close());
  return client;
}

test("observers read, operators work, admins grant: the server refuses the rest", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const first = await mesh.admin();
    const { token } = await first.tokens.create();
    await joinNode(token, 1);
    const observer = await newAdmin(mesh, { name: "olga", role: "observer" });
    const operator = await newAdmin(mesh, { name: "otto", role: "operator" });
    const admin = await newAdmin(mesh, { name: "anna", role: "admin" });
    assert.is((await observer.client.nodes.list()).length, 1);
    assert.is((await observer.client.admins.list()).length, 4);
    for (const work of [
      () => observer.client.nodes.drain("n1"),
      () => observer.client.tokens.create(),
      () => observer.client.nodes.bench("n1", {}),
      () => observer.client.admins.remove("otto"),
      () => operator.client.config.set("mtu", 1400),
      () => operator.client.nodes.grant("n1", "10.9.0.0/24"),
      () => operator.client.admins.add({ name: "oskar", role: "admin" }),
    ]) {
      assert.is(await codeOf(work()), "MESHD_PERMISSION", work.toString());
    }
    assert.is((await operator.client.nodes.drain("n1")).state, "draining");
    assert.is((await admin.client.config.set("mtu", 1400)).mtu, 1400);
    const refused = await operator.client.config.set("mtu", 1400).catch((error: Error) => error);
    assert.match(String(refused), /otto may not ask for config.set: it needs role admin; /);
    const made = (await operator.client.tokens.create()).view.tokenId;
    await admin.client.admins.remove("olga");
    const changes = mesh.log.filter((line) => line.event === "admin-change");
    const said = changes.map(({ fields }) => `${fields.by} ${fields.path}`);
    assert.is(changes.find(({ fields }) => fields.by === "otto" && fields.made)?.fields.made, made);
    assert.equal(said.slice(-4), [
      "otto nodes.drain",
      "anna config.set",
      "otto tokens.create",
      "anna admins.remove",
    ]);
  });
});

test("the server passes what a role may ask, and refuses every other request", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    for (const role of adminRoles) {
      const { file } = await newAdmin(mesh, { name: `one-${role}`, role });
      const raw = await connectFile(mesh, file, "_INBOX");
      const refused = knownPaths.filter((path) => !mayAsk(role, path));
      const nameless = knownPaths.filter((path) => !isReading(path));
      const wanted = [
        ...refused.map((path) => `mesh.admin.one-${role}.${path}`),
        ...nameless.map((path) => `mesh.admin.${path}`),
        "mesh.admin.admin.nodes.list",
        "mesh.admin.admin.config.set",
      ];
      for (const subject of wanted) raw.publish(subject, "{}");
      for (const path of pathsOf(role)) raw.publish(`mesh.admin.one-${role}.${path}`, "{}");
      await raw.connection.flush();
      await eventually(`${role} is refused ${wanted.length}: ${raw.refused.length}`, () =>
        wanted.every((subject) => raw.refused.includes(`publish ${subject}`)),
      );
      assert.is(raw.refused.length, wanted.length, raw.refused.join());
    }
  });
});

test("observers and operators watch with a consumer of their own key's alone", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const first = await mesh.admin();
    const { token } = await first.tokens.create();
    const node = await joinNode(token, 1);
    const session = await mesh.session(node);
    await session.ready(10_000);
    const { nodeId } = node.identity;
    for (const role of ["observer", "operator"] as const) {
      const { file, client } = await newAdmin(mesh, { name: `one-${role}`, role });
      const own = signingKey(parseCredentials(await readFile(file, "utf8")).seed).publicKey;
      const raw = await connectFile(mesh, file, "_INBOX");
      const wanted = [
        "$JS.API.CONSUMER.CREATE.KV_mesh",
        `$JS.API.CONSUMER.CREATE.KV_mesh.${nodeId}.$KV.mesh.>`,
        "$JS.API.CONSUMER.CREATE.KV_mesh.more.$KV.mesh.>",
        `$JS.API.CONSUMER.DURABLE.CREATE.KV_mesh.${own}`,
        `$JS.API.CONSUMER.DELETE.KV_mesh.${nodeId}`,
        `$JS.FC.KV_mesh.${nodeId}.x`,
      ];
      for (const subject of wanted) raw.publish(subject, "{}");
      await eventually(`${role} is refused: ${raw.refused.join()}`, () =>
        wanted.every((subject) => raw.refused.includes(`publish ${subject}`)),
      );
      const heard = raw.subscribe("$KV.mesh.members.*");
      const manager = await raw.connection.jetstreamManager();
      const watched = raw.subscribe("_INBOX.watched");
      await manager.consumers.add("KV_mesh", {
        ...{ name: own, filter_subject: "$KV.mesh.>", deliver_subject: "_INBOX.watched" },
        ack_policy: AckPolicy.None,
      });
      await eventually("what there is comes", () => watched.got.length > 3);
      assert.ok(await manager.consumers.delete("KV_mesh", own));
      await first.nodes.drain("n1", role === "observer");
      await eventually("changes are heard as they are written", () => heard.got.length > 0);
      assert.is((await client.nodes.list()).length, 1);
    }
  });
});

test("every request that controllers answer stands in the table of roles", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { connection } = await connectFile(mesh, mesh.mesh.adminCredentials, "_INBOX");
    const info = JSON.parse(codec.decode((await connection.request("$SRV.INFO.meshd")).data));
    const subjects: string[] = info.endpoints.map((one: { subject: string }) => one.subject);
    const paths = subjects
      .filter((subject) => subject.startsWith("mesh.admin.") && !subject.includes("*"))
      .map((subject) => subject.slice("mesh.admin.".length));
    assert.equal(paths.sort(), [...knownPaths].sort());
  });
});

/** Writes what a forger with the account's signing key might: more rights than his role has. */
async function widen(mesh: TestMesh, file: string, role: AdminRole): Promise<void> {
  const { jwt, seed } = parseCredentials(await readFile(file, "utf8"));
  const { name = "", key = "" } = readUserJwt(jwt) ?? {};
  const { signer } = await loadSecrets(mesh.mesh);
  const permissions = adminPermissions(mesh.mesh.name, { name, key, role });
  const publish = [...permissions.publish, "mesh.admin.>"];
  const user = { name, key, account: mesh.mesh.accountKey, signer };
  const wide = await userJwt({ ...user, permissions: { ...permissions, publish } });
  await writeFile(file, credentialsText(wide, seed));
}

test("controllers hold an administrator to role and name whatever the server lets by", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { file } = await newAdmin(mesh, { name: "olga", role: "observer" });
    const other = await newAdmin(mesh, { name: "anna", role: "admin" });
    await widen(mesh, file, "admin");
    const wide = await connectWith(mesh, file);
    assert.is(await codeOf(wide.config.set("mtu", 1400)), "MESHD_NOT_ALLOWED");
    const { connection } = await connectFile(mesh, file, "_INBOX");
    const refusal = async (subject: string) => {
      const answer = await connection.request(subject, codec.encode('{"name":"mtu","value":1400}'));
      return answer.headers?.get("Nats-Service-Error") ?? "";
    };
    assert.match(await refusal("mesh.admin.config.set"), /MESHD_NOT_ALLOWED: .*who asked/);
    assert.match(await refusal("mesh.admin.nobody.config.set"), /has no administrator nobody/);
    const refused = () => mesh.log.filter((line) => line.event === "admin-refused");
    assert.ok(refused().some(({ fields }) => fields.by === "olga" && fields.path === "config.set"));
    const key = parseCredentials(await readFile(other.file, "utf8"));
    const annas = readUserJwt(key.jwt)?.key ?? "";
    connection.publish("mesh.admin.olga.nodes.list", codec.encode(""), {
      reply: `_INBOX_ADMIN_${annas}.x`,
    });
    await eventually("an answer into another's inbox is refused", () =>
      refused().some(({ fields }) => String(fields.reason).includes("does not listen")),
    );
    assert.is((await (await mesh.admin()).config.get()).mtu, "auto");
  });
});

test("a removed administrator is cut at once, and stays out after a server's restart", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { file } = await newAdmin(mesh, { name: "otto", role: "operator" });
    const raw = await connectFile(mesh, file, "_INBOX");
    const first = await mesh.admin();
    const begin = performance.now();
    await first.admins.remove("otto");
    // By the controller until the server cuts him; MESHD_NOT_FOUND would say that he was heard.
    const drained = connectWith(mesh, file).then((one) => one.nodes.drain("x"));
    assert.match(await codeOf(drained), /^MESHD_(NOT_ALLOWED|PERMISSION|NO_NATS)$/);
    await eventually("his connection is cut", () => raw.connection.isClosed());
    const cut_ms = performance.now() - begin;
    console.log(`removed administrator cut after ${cut_ms.toFixed(0)} ms`);
    assert.ok(cut_ms < 10_000);
    await mesh.restartServer();
    assert.is(await codeOf(connectWith(mesh, file)), "MESHD_PERMISSION");
    await eventually("a controller is back", async () => (await codeOf(first.nodes.list())) === "");
    const names = (await first.admins.list()).map((one) => one.name);
    assert.equal(names, ["admin"]);
    assert.is(await codeOf(first.admins.remove("admin")), "MESHD_CONFLICT", "the last one stays");
    const old = join(mesh.dir, "old.creds");
    await writeFile(old, await readFile(file, "utf8"));
    const again = await newAdmin(mesh, { name: "otto", role: "observer" });
    assert.is((await again.client.nodes.list()).length, 0);
    assert.is(await codeOf(connectWith(mesh, old)), "MESHD_PERMISSION", "the old key stays out");
  });
});

test("the first administrator may go when another is there: his file goes too", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const anna = await newAdmin(mesh, { name: "anna", role: "admin" });
    await anna.client.admins.remove("admin");
    const path = mesh.mesh.adminCredentials;
    await eventually("the file is gone", () =>
      stat(path).then(
        () => false,
        () => true,
      ),
    );
    await mesh.controller();
    assert.equal(
      (await anna.client.admins.list()).map((one) => one.name),
      ["anna"],
    );
  });
});

test("a smaller role ends what was given for the larger one", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const first = await mesh.admin();
    const own = createAdminKey();
    const seed = seedIn(own.text, "the key");
    const file = join(mesh.dir, "anna.creds");
    const give = async (role: AdminRole) => {
      const { text } = await first.admins.addKey({ name: "anna", role }, own.publicKey);
      assert.not.match(text, /SEED/, "what is printed for a key made elsewhere is no secret");
      await writeFile(file, adminCredentials(seed, text));
    };
    await give("admin");
    const before = await connectFile(mesh, file, "_INBOX");
    await give("observer");
    await eventually("what she had is cut", () => before.connection.isClosed());
    const now = await connectWith(mesh, file);
    assert.is(await codeOf(now.config.set("mtu", 1400)), "MESHD_PERMISSION");
    const taken = first.admins.addKey({ name: "otto", role: "admin" }, own.publicKey);
    assert.is(await codeOf(taken), "MESHD_NAME_TAKEN", "a key is one administrator's");
  });
});

test("credentials past half of their time are renewed by their use", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { file } = await newAdmin(mesh, { name: "anna", role: "observer", expires_s: 8 });
    const endIn = async () =>
      readUserJwt(parseCredentials(await readFile(file, "utf8")).jwt)?.expires ?? 0;
    const before = await endIn();
    await eventually("used past half of its time, the file has a later end", async () => {
      await (await connectWith(mesh, file)).close();
      return (await endIn()) > before;
    });
    assert.is((await stat(file)).mode & 0o777, 0o600);
    const text = await readFile(file, "utf8");
    assert.is(readPlace(text)?.mesh, "mesh", "and still says where its mesh is");
    assert.is((await (await mesh.admin()).admins.list()).length, 2);
  });
});

test("nobody's key passes for a token's or an administrator's, to be revoked with it", async () => {
  await withMesh({}, async (mesh) => {
    const { controllerId } = await mesh.controller();
    const first = await mesh.admin();
    const { token } = await first.tokens.create();
    const node = await joinNode(token, 1);
    const { file } = await newAdmin(mesh, { name: "otto", role: "operator" });
    const [admin] = await first.admins.list();
    const keys = [controllerId, node.identity.nodeId, admin?.key ?? "", openToken(token).bootstrap];
    const raw = await connectFile(mesh, file, "_INBOX");
    for (const one of keys) {
      const key = typeof one === "string" ? one : signingKey(one.seed).publicKey;
      const asked = first.admins.addKey({ name: "thief", role: "observer" }, key);
      assert.is(await codeOf(asked), "MESHD_NAME_TAKEN");
      if (typeof one !== "string") continue;
      const request = codec.encode(JSON.stringify({ bootstrapKey: key }));
      const answer = await raw.connection.request("mesh.admin.otto.tokens.create", request);
      assert.match(answer.headers?.get("Nats-Service-Error") ?? "", /MESHD_NAME_TAKEN/);
    }
  });
});

test("who was locked out and has the mesh's folder lets himself in again", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    await mesh.controller();
    const mallory = await newAdmin(mesh, { name: "mallory", role: "admin" });
    await mallory.client.admins.remove("admin");
    const name = await recoverAdmin(mesh.mesh);
    const owner = await mesh.admin();
    await owner.admins.remove("mallory");
    assert.equal(
      (await owner.admins.list()).map((one) => one.name),
      [name],
    );
    const added = mesh.log.filter(({ event }) => event === "admin-added");
    assert.ok(
      added.some(({ fields }) => fields.name === name),
      "the log has it",
    );
  });
});

test("who has the mesh's folder is an administrator again after the list was lost", async () => {
  await withMesh({}, async (mesh) => {
    await rm(mesh.mesh.adminCredentials);
    await mesh.controller();
    const admin = await mesh.admin();
    const [first] = await admin.admins.list();
    assert.is(first?.name, "admin");
    assert.is(first?.role, "admin");
    assert.is((await admin.config.set("mtu", 1400)).mtu, 1400);
  });
});

test.run();
