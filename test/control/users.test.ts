// Accounts of PPTP clients against a real server: who gets them, when changes arrive, what is kept,
// and what others learn of them - by attack.
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { askConfidentially } from "../../control/confide.js";
import {
  AdminClient,
  createIdentity,
  type MemberSession,
  type PptpUser,
} from "../../control/index.js";
import { Link } from "../../control/nats/index.js";
import { nodePermissions } from "../../control/permissions.js";
import { inboxOf } from "../../control/subjects.js";
import { codeOf, eventually, type Joined, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectAs, connectFile } from "./raw.js";
import { recordedWire } from "./wire.js";

const ntHash = "44ebba8d5312b8d611474411f56989ae";
const otherHash = "fc156af7edcd6c0edde3337d427f4eac";
const clear = "a clear password that nobody may read";

interface Scene {
  mesh: TestMesh;
  admin: AdminClient;
  /** n1 joined with a token that lets it serve, n2 with another. */
  server: Joined;
  other: Joined;
}

async function withScene(work: (scene: Scene) => Promise<void>, tls = true): Promise<void> {
  await withMesh({ tls }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const allowed = await admin.tokens.create({ pptpServer: true });
    assert.is(allowed.view.pptpServer, true);
    const plain = await admin.tokens.create();
    const server = await joinNode(allowed.token, 1);
    const other = await joinNode(plain.token, 2);
    await work({ mesh, admin, server, other });
  });
}

const stateOf = (mesh: TestMesh, name: string) => join(mesh.dir, name);
const fileOf = (dir: string) => join(dir, "pptp-accounts.json");
const namesOf = (session: MemberSession) => session.pptpUsers().map((one) => one.user);
const hex = (user: PptpUser | undefined) => Buffer.from(user?.ntHash ?? []).toString("hex");

/** A connection of a node's own credentials, to ask what its session would not. */
function linkOf(mesh: TestMesh, { identity, membership }: Joined): Promise<Link> {
  const user = () => ({ jwt: membership.jwt, seed: identity.seed });
  const inbox = inboxOf.node(identity.nodeId);
  const way = { servers: [mesh.server.url], ca: () => mesh.mesh.ca };
  return Link.open({ ...way, user, inbox, name: "test" });
}

test("a serving node has every account in seconds, and keeps them while NATS is away", async () => {
  await withScene(async ({ mesh, admin, server }) => {
    const dir = stateOf(mesh, "n1");
    await admin.users.add("ada", { ntHash });
    const session = await mesh.session(server, { secretsDir: dir });
    let changes = 0;
    session.on("pptp-users", () => changes++);
    await eventually("ada is there", () => namesOf(session).includes("ada"));
    assert.is(hex(session.pptpUsers()[0]), ntHash);
    await admin.users.add("bob", { ntHash, clear }, { address: "10.244.0.9" });
    await eventually("bob is there", () => namesOf(session).join() === "ada,bob");
    const bob = session.pptpUsers()[1];
    assert.equal([bob?.clear, bob?.address, bob?.disabled], [clear, "10.244.0.9", false]);
    await admin.users.passwd("ada", { ntHash: otherHash });
    await eventually("a new password", () => hex(session.pptpUsers()[0]) === otherHash);
    await admin.users.set("bob", { disabled: true, expires: "2027-01-01T00:00:00Z" });
    await eventually("bob is disabled", () => session.pptpUsers()[1]?.disabled === true);
    await admin.users.remove("ada");
    await eventually("ada is gone", () => namesOf(session).join() === "bob");
    assert.is(changes, 5, "one change each");
    await session.close();
    assert.is((await stat(fileOf(dir))).mode & 0o777, 0o600);
    assert.not((await readFile(fileOf(dir), "utf8")).includes(clear), "sealed on disk, too");
    await mesh.server.stop();
    const offline = await mesh.session(server, { secretsDir: dir });
    assert.equal(namesOf(offline), ["bob"]);
    assert.is(offline.pptpUsers()[0]?.clear, clear);
  });
});

test("a node that may not serve gets neither key nor accounts, however it asks", async () => {
  await withScene(async ({ mesh, admin, server, other }) => {
    await admin.users.add("ada", { ntHash, clear });
    const session = await mesh.session(other, { secretsDir: stateOf(mesh, "n2") });
    await session.ready(10_000);
    assert.equal(session.pptpUsers(), []);
    const raw = await connectAs(mesh, other);
    const [own, its] = [other.identity.nodeId, server.identity.nodeId];
    const tries = [
      `mesh.node.${own}.users`,
      `mesh.node.${its}.users`,
      `mesh.node.${its}.pair`,
      "mesh.admin.users.list",
      "mesh.admin.users.key",
      "$KV.mesh-secrets.users.ada",
      "$KV.mesh.accounts",
      "$JS.API.STREAM.MSG.GET.KV_mesh-secrets",
      "$JS.API.DIRECT.GET.KV_mesh-secrets.$KV.mesh-secrets.users.ada",
    ];
    for (const subject of tries) raw.publish(subject, "{}", `_INBOX_${own}.x`);
    raw.subscribe(`_INBOX_${its}.>`);
    await eventually(`refused: ${raw.refused.join(", ")}`, () =>
      [...tries.map((one) => `publish ${one}`), `subscription _INBOX_${its}.>`].every((one) =>
        raw.refused.includes(one),
      ),
    );
  });
});

test("controllers refuse a node whose permission is gone, whatever its rights are", async () => {
  await withScene(async ({ mesh, admin, server }) => {
    await admin.users.add("ada", { ntHash });
    const dir = stateOf(mesh, "n1");
    const session = await mesh.session(server, { secretsDir: dir });
    await eventually("ada is there", () => namesOf(session).includes("ada"));
    assert.is((await admin.nodes.pptp("n1", false)).pptpServer, false);
    await eventually("all are forgotten", () => session.pptpUsers().length === 0);
    await eventually(
      "its file is gone",
      async () => !(await readdir(dir)).includes("pptp-accounts.json"),
    );
    // Its credentials are of before, so the server lets the request through.
    const link = await linkOf(mesh, server);
    mesh.later(() => link.close());
    const asked = askConfidentially({ link, ...server }, "users", { after: "" });
    assert.is(await codeOf(asked), "MESHD_NOT_ALLOWED");
    const restarted = await mesh.session(server, { secretsDir: dir });
    await restarted.ready(10_000);
    assert.equal(restarted.pptpUsers(), []);
  });
});

test("a node allowed later gets new credentials and the accounts without a restart", async () => {
  await withScene(async ({ mesh, admin, other }) => {
    await admin.users.add("ada", { ntHash });
    const session = await mesh.session(other);
    await session.ready(10_000);
    assert.is((await admin.nodes.show("n2")).pptpServer, false);
    assert.is((await admin.nodes.pptp("n2", true)).pptpServer, true);
    await eventually("ada is there", () => namesOf(session).includes("ada"));
    const rights = nodePermissions("mesh", other.identity.nodeId).publish;
    assert.not(
      rights.some((subject) => subject.endsWith(".users")),
      "no right by default",
    );
  });
});

test("a request that is not signed is refused, and so are pairs that are none", async () => {
  await withScene(async ({ mesh, admin, server, other }) => {
    await admin.users.add("ada", { ntHash });
    const raw = await connectAs(mesh, server);
    const subject = `mesh.node.${server.identity.nodeId}.users`;
    const reader = Buffer.alloc(32, 9).toString("base64url");
    const signature = Buffer.alloc(64).toString("base64url");
    const answer = await raw.connection.request(subject, JSON.stringify({ reader, signature }));
    assert.match(answer.headers?.get("Nats-Service-Error") ?? "", /^MESHD_PROOF_INVALID/);
    assert.is(answer.string().includes("records"), false);
    const session = await mesh.session(other);
    await session.ready(10_000);
    assert.is(await codeOf(session.pairSecret(other.identity.nodeId)), "MESHD_NOT_A_MEMBER");
    assert.is(await codeOf(session.pairSecret("nobody")), "MESHD_BAD_REQUEST");
    await admin.nodes.remove("n1");
    const gone = await codeOf(session.pairSecret(server.identity.nodeId));
    assert.is(gone, "MESHD_NOT_A_MEMBER");
  });
});

test("both ends of a pair have one secret, no third, and keep it while NATS is away", async () => {
  await withScene(async ({ mesh, admin, server, other }) => {
    const { token } = await admin.tokens.create();
    const third = await joinNode(token, 3);
    const dir = stateOf(mesh, "n1");
    const [a, b, c] = [
      await mesh.session(server, { secretsDir: dir }),
      await mesh.session(other),
      await mesh.session(third),
    ];
    await Promise.all([a, b, c].map((one) => one.ready(10_000)));
    const [idA, idB] = [server.identity.nodeId, other.identity.nodeId];
    const stranger = createIdentity().nodeId;
    const [ab, ba, twice, none] = await Promise.all([
      a.pairSecret(idB),
      b.pairSecret(idA),
      a.pairSecret(idB),
      codeOf(a.pairSecret(stranger)),
    ]);
    assert.is(none, "MESHD_NOT_A_MEMBER", "one that fails fails alone");
    assert.is(ab.length, 43);
    assert.equal([ba, twice], [ab, ab]);
    assert.is.not(await c.pairSecret(idA), ab);
    assert.is.not(await c.pairSecret(idB), ab);
    await a.close();
    assert.is((await stat(join(dir, "pptp-pairs.json"))).mode & 0o777, 0o600);
    await mesh.server.stop();
    const offline = await mesh.session(server, { secretsDir: dir });
    assert.is(await offline.pairSecret(idB), ab);
    const asked = await codeOf(offline.pairSecret(third.identity.nodeId));
    assert.is(asked, "MESHD_NO_NATS");
  });
});

test("no password, hash, key or pair's secret crosses the wire bare", async () => {
  await withScene(async ({ mesh, server, other }) => {
    const wire = await recordedWire(mesh.server.port);
    mesh.later(() => wire.close());
    const { adminCredentials, name, meshId, grantKey } = mesh.mesh;
    const trust = { meshId, grantKey };
    const way = { servers: [wire.url], credentials: adminCredentials, mesh: name };
    const admin = await AdminClient.connect({ ...way, trust });
    mesh.later(() => admin.close());
    await admin.users.add("ada", { ntHash, clear });
    await admin.users.passwd("ada", { ntHash: otherHash, clear });
    const dir = stateOf(mesh, "n1");
    const session = await mesh.session(server, { servers: [wire.url], secretsDir: dir });
    await eventually("ada is there", () => namesOf(session).includes("ada"));
    const secret = await session.pairSecret(other.identity.nodeId);
    await session.close();
    const kept = JSON.parse(await readFile(fileOf(dir), "utf8")) as { key: string };
    assert.is(kept.key.length, 43);
    for (const hidden of [ntHash, otherHash, clear, kept.key, secret]) {
      assert.not(wire.bytes().includes(hidden));
      assert.not(wire.bytes().includes(Buffer.from(hidden).toString("base64")));
    }
    assert.ok(wire.bytes().includes('"name":"ada"') || wire.bytes().includes("users.ada"));
    const fooled = { ...trust, grantKey: mesh.mesh.accountKey };
    const stranger = await AdminClient.connect({ ...way, trust: fooled });
    mesh.later(() => stranger.close());
    const sent = await codeOf(stranger.users.passwd("ada", { ntHash }));
    assert.is(sent, "MESHD_PROOF_INVALID", "a box key that the grant key did not sign");
  }, false);
});

test("names are made once, and what does not fit is refused", async () => {
  await withScene(async ({ admin }) => {
    const view = await admin.users.add("ada.l", { ntHash });
    assert.equal(view, {
      ...{ name: "ada.l", address: null, addressNode: null, expires: null, disabled: false },
      ...{ insecureClear: false, created: view.created, passwordChanged: view.created },
    });
    assert.not("sealed" in view);
    const refused = (work: Promise<unknown>, code: string, what: string) =>
      codeOf(work).then((found) => assert.is(found, code, what));
    await refused(admin.users.add("ada.l", { ntHash }), "MESHD_NAME_TAKEN", "twice");
    for (const name of ["", "Ada", "a b", "-a", ".a", "a=b", "a/b", "a".repeat(64), "a\u0000"]) {
      await refused(admin.users.add(name, { ntHash }), "MESHD_BAD_REQUEST", JSON.stringify(name));
    }
    await refused(admin.users.add("b", { ntHash: "00" }), "MESHD_BAD_REQUEST", "a short hash");
    await refused(admin.users.set("b", { disabled: true }), "MESHD_NOT_FOUND", "set");
    await refused(admin.users.passwd("b", { ntHash }), "MESHD_NOT_FOUND", "passwd");
    await refused(admin.users.remove("b"), "MESHD_NOT_FOUND", "remove");
    await refused(admin.users.set("ada.l", {}), "MESHD_BAD_REQUEST", "no change");
    await refused(admin.users.set("ada.l", { expires: "soon" }), "MESHD_BAD_REQUEST", "no time");
    for (const address of ["10.9.0.1", "10.244.0.0", "10.244.1.255"]) {
      await refused(admin.users.set("ada.l", { address }), "MESHD_CONFLICT", address);
    }
    await refused(admin.users.set("ada.l", { address: "fd00::9" }), "MESHD_BAD_REQUEST", "IPv6");
    assert.is((await admin.users.set("ada.l", { address: "10.244.1.7" })).addressNode, "n2");
    const taken = admin.users.add("b", { ntHash }, { address: "10.244.1.7" });
    await refused(taken, "MESHD_CONFLICT", "another's address");
    await admin.users.remove("ada.l");
    assert.equal(await admin.users.list(), []);
    assert.is((await admin.users.add("ada.l", { ntHash })).name, "ada.l", "free again");
  });
});

test("more accounts than one answer holds come in several, and all of them", async () => {
  await withScene(async ({ mesh, admin, server }) => {
    const long = { ntHash, clear: "\u0001".repeat(256) };
    const names = Array.from({ length: 190 }, (_, index) => `user${index}`);
    await Promise.all(names.map((name) => admin.users.add(name, long)));
    let pages = 0;
    const link = await linkOf(mesh, server);
    mesh.later(() => link.close());
    for (let after: unknown = ""; typeof after === "string"; pages++) {
      after = (await askConfidentially({ link, ...server }, "users", { after })).fields.more;
    }
    assert.ok(pages > 1, `${pages} pages`);
    const session = await mesh.session(server);
    await eventually("all are there", () => session.pptpUsers().length === names.length);
    assert.equal(namesOf(session), [...names].sort());
    assert.is(session.pptpUsers().at(-1)?.clear, long.clear);
  });
});

test("nothing is written while no account changes, whoever starts and asks", async () => {
  await withScene(async ({ mesh, admin, server }) => {
    await admin.users.add("ada", { ntHash });
    const raw = await connectFile(mesh, mesh.mesh.adminCredentials, "_INBOX");
    const written = async () => {
      const manager = await raw.connection.jetstreamManager({ checkAPI: false });
      const last_by_subj = "$KV.mesh.accounts";
      return (await manager.streams.getMessage("KV_mesh", { last_by_subj })).seq;
    };
    const before = await written();
    await mesh.controller();
    for (let start = 0; start < 2; start++) {
      const session = await mesh.session(server, { secretsDir: stateOf(mesh, "n1") });
      await eventually("ada is there", () => namesOf(session).includes("ada"));
      await session.ready(10_000);
      await session.close();
    }
    await admin.users.list();
    assert.is(await written(), before);
  });
});

test("a store that lost the accounts gets them back from a serving node", async () => {
  await withMesh({}, async (mesh) => {
    const first = await mesh.controller({ holdOff_ms: 0 });
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ pptpServer: true });
    const server = await joinNode(token, 1);
    await admin.users.add("ada", { ntHash });
    await admin.users.add("bob", { ntHash });
    await admin.users.remove("bob");
    const session = await mesh.session(server);
    await eventually("ada is there", () => namesOf(session).join() === "ada");
    await first.close();
    await mesh.restartServer(() =>
      rm(`${mesh.dir}/nats/jetstream`, { recursive: true, force: true }),
    );
    await mesh.controller({ holdOff_ms: 0 });
    await eventually("ada is back", async () => {
      const users = await (await mesh.admin()).users.list();
      return users.map((one) => one.name).join() === "ada";
    });
    assert.equal(namesOf(session), ["ada"]);
  });
});

test("of ten users that two controllers give one address at once, one gets it", async () => {
  await withMesh({ tls: false }, async (mesh) => {
    await Promise.all([mesh.controller(), mesh.controller()]);
    const admin = await mesh.admin();
    const names = Array.from({ length: 10 }, (_, index) => `u${index}`);
    await Promise.all(names.map((name) => admin.users.add(name, { ntHash })));
    const holders = async (address: string) => {
      const all = (await admin.users.list()).filter((one) => one.address === address);
      return all.map(({ name }) => name);
    };
    for (let round = 0; round < 8; round++) {
      const address = `10.244.0.${10 + round}`;
      const codes = await Promise.all(
        names.map((name) => codeOf(admin.users.set(name, { address }))),
      );
      const taken = names.filter((_, index) => codes[index] === "");
      assert.equal(await holders(address), taken);
      assert.is(taken.length, 1, `${address}: ${codes.join()}`);
      assert.is(codes.filter((code) => code === "MESHD_CONFLICT").length, 9);
    }
    // What a user had before, and what one who is gone had, is free at once.
    const [owner = ""] = await holders("10.244.0.17");
    await admin.users.set(owner, { address: "10.244.0.30" });
    await admin.users.set("u9", { address: "10.244.0.17" });
    await admin.users.remove("u9");
    await admin.users.add("late", { ntHash }, { address: "10.244.0.17" });
    await admin.users.set("late", { address: null });
    await admin.users.set("u1", { address: "10.244.0.17" });
    assert.equal(await holders("10.244.0.17"), ["u1"]);
  });
});

test("files of another mesh, or damaged ones, are not believed", async () => {
  await withScene(async ({ mesh, admin, server }) => {
    const dir = stateOf(mesh, "n1");
    await mkdir(dir, { recursive: true });
    await writeFile(fileOf(dir), '{"version":1,"key":"","records":"{}"}');
    await writeFile(join(dir, "pptp-pairs.json"), "[");
    await admin.users.add("ada", { ntHash });
    const events: string[] = [];
    const session = await mesh.session(server, {
      secretsDir: dir,
      log: (event) => void events.push(event),
    });
    assert.equal(session.pptpUsers(), []);
    await eventually("ada is there", () => namesOf(session).join() === "ada");
    assert.ok(events.includes("accounts-file-refused") && events.includes("pairs-file-refused"));
  });
});

test.run();
