// Keys of a mesh change while it runs: members, administrators and controllers go on, and what was
// old is worth nothing at the end.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadSecrets } from "../../control/founding/mesh.js";
import {
  AdminClient,
  createIdentity,
  loadMesh,
  type MemberSession,
  type Rotatable,
  readPlace,
  rotate,
} from "../../control/index.js";
import { parseCredentials, readUserJwt, userJwt } from "../../control/nats/index.js";
import { fingerprintOf, pemBlocks } from "../../control/tls/index.js";
import { openToken } from "../../control/token.js";
import { codeOf, eventually, factsOf, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectAs, connectUser } from "./raw.js";

/** As the command line does it: with what is in the folder. */
async function step(mesh: TestMesh, what: Rotatable, force = false) {
  const admin = await mesh.admin();
  const report = () => admin.keys.report();
  return (await rotate(await loadMesh(mesh.mesh.dir), what, { force, report })).step;
}

async function following(mesh: TestMesh, token: string, index: number): Promise<MemberSession> {
  const session = await mesh.session(await joinNode(token, index), { heartbeat_ms: 100 });
  await session.ready(10_000);
  await session.writeNode(factsOf(index));
  return session;
}

async function allTookIt(mesh: TestMesh): Promise<void> {
  const admin = await mesh.admin();
  await eventually("all took it", async () => {
    const { serial, behind } = await admin.keys.report();
    return serial > 0 && behind.length === 0;
  });
}

/** As the next command finds it: with what is in the folder then. */
async function answers(mesh: TestMesh): Promise<void> {
  await eventually("a controller answers", async () => {
    const asked = mesh.admin().then((admin) => admin.nodes.list());
    return (await codeOf(asked)) === "";
  });
}

/** A file of `meshd admin add`, and a command with it. */
async function outside(mesh: TestMesh): Promise<{ file: string; use: () => Promise<string> }> {
  const file = join(mesh.dir, "anna.creds");
  const made = await (await mesh.admin()).admins.add({ name: "anna", role: "operator" });
  await writeFile(file, made.text);
  const use = async () => {
    const place = readPlace(await readFile(file, "utf8"));
    const { ca = null, meshId = "", grantKey = "", servers = [] } = place ?? {};
    const options = { servers, ca, credentials: file, mesh: "mesh" };
    return codeOf(
      AdminClient.connect({ ...options, trust: { meshId, grantKey } }).then(async (admin) => {
        await admin.nodes.list();
        await admin.close();
      }),
    );
  };
  return { file, use };
}

test("the key that signs credentials changes, and what the old one signed ends", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const sessions = [await following(mesh, token, 1), await following(mesh, token, 2)];
    const away = await joinNode(token, 3);
    const anna = await outside(mesh);
    const old = (await loadSecrets(mesh.mesh)).signer;
    assert.is(await step(mesh, "account-signing"), "begun");
    const early = await rotate(await loadMesh(mesh.mesh.dir), "account-signing", {
      force: false,
      report: () => admin.keys.report(),
    }).catch((error: Error) => error);
    assert.match(String(early), /n3 did not take what is new yet/);
    await eventually("members have credentials by the new one", () =>
      sessions.every(({ membership }) => {
        const issuer = readUserJwt(membership.jwt)?.issuer;
        return issuer !== undefined && issuer !== old.publicKey;
      }),
    );
    await eventually("only n3 is behind", async () => {
      return (await admin.keys.report()).behind.join() === "n3";
    });
    assert.is(await anna.use(), "");
    const annas = readUserJwt(parseCredentials(await readFile(anna.file, "utf8")).jwt);
    assert.not.equal(annas?.issuer, old.publicKey, "an administrator's, by use");
    assert.is(await step(mesh, "account-signing", true), "ended");
    const forged = createIdentity();
    const permissions = { publish: ["x"], subscribe: [">"] };
    const about = { name: "x", key: forged.nodeId, account: mesh.mesh.accountKey, permissions };
    const jwt = await userJwt({ ...about, signer: old });
    await eventually("nothing that the old key signs is taken", async () =>
      /AUTHORIZATION/.test(await codeOf(connectUser(mesh, jwt, forged.seed))),
    );
    assert.match(await codeOf(connectAs(mesh, away)), /AUTHORIZATION/);
    await mesh.restartServer();
    await eventually("members are back", () => sessions.every((session) => session.connected));
    await answers(mesh);
    assert.is(await anna.use(), "");
    await mesh.closeControllers();
    await mesh.controller();
    const { token: next } = await (await mesh.admin()).tokens.create();
    const back = await joinNode(next, 3, away.identity);
    assert.equal(back.membership.podCIDRs, away.membership.podCIDRs);
    const files = await readdir(mesh.mesh.dir);
    assert.not(files.includes("account-signing.next.nk"));
  });
});

test("the CA changes: both are believed, the new one signs, the old one ends", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const session = await following(mesh, token, 1);
    const anna = await outside(mesh);
    const oldCa = mesh.mesh.ca ?? "";
    assert.is(await step(mesh, "ca"), "begun");
    await allTookIt(mesh);
    const bundle = pemBlocks(session.membership.ca ?? "");
    assert.is(bundle.length, 2);
    const [, newCa = ""] = bundle;
    assert.is(await anna.use(), "");
    assert.is(await step(mesh, "ca"), "in-use");
    assert.is(await codeOf(step(mesh, "ca")), "MESHD_CONFLICT", "the server shows the old one");
    await mesh.restartServer();
    await answers(mesh);
    assert.is(await anna.use(), "");
    const { token: next } = await (await mesh.admin()).tokens.create();
    assert.is(openToken(next).ca, fingerprintOf(newCa));
    const joined = await joinNode(next, 2);
    assert.is(joined.membership.ca, newCa);
    await eventually("the member is back", () => session.connected);
    assert.is(await step(mesh, "ca"), "ended");
    await eventually("the old one is not believed", () => session.membership.ca === newCa);
    await mesh.restartServer();
    await eventually("the member is back", () => session.connected);
    await answers(mesh);
    assert.is(await anna.use(), "");
    assert.is((await loadMesh(mesh.mesh.dir)).ca, newCa);
    const credentials = mesh.mesh.adminCredentials;
    const servers = [mesh.server.url];
    const stale = AdminClient.connect({ servers, credentials, mesh: "mesh", ca: oldCa });
    assert.is(await codeOf(stale), "MESHD_TLS_MISMATCH");
    assert.is(await step(mesh, "ca"), "begun", "and so again");
  });
});

test.run();
