// A store that was lost together with every controller's memory: nodes hand back what it had, and
// nobody is given anything new meanwhile.
import { rm } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Allowance } from "../../control/controller/allowance.js";
import { rememberedFile } from "../../control/controller/memory.js";
import { loadSecrets } from "../../control/founding/mesh.js";
import { createIdentity, type MeshSnapshot, serializeSnapshot } from "../../control/index.js";
import { Ledger } from "../../control/ledger.js";
import { type Presented, Presenter } from "../../control/member/present.js";
import { userJwt } from "../../control/nats/index.js";
import {
  codeOf,
  eventually,
  factsOf,
  type Joined,
  joinNode,
  type TestMesh,
  withMesh,
} from "./fixture.js";
import { connectAs, connectUser } from "./raw.js";

async function loseStore(mesh: TestMesh): Promise<void> {
  await mesh.restartServer(() =>
    rm(`${mesh.dir}/nats/jetstream`, { recursive: true, force: true }),
  );
}

test("one node hands back the whole mesh; new leases wait for the hold-off", async () => {
  await withMesh({}, async (mesh) => {
    const first = await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 3 });
    const [a] = [await joinNode(token, 1), await joinNode(token, 2), await joinNode(token, 3)];
    await admin.nodes.remove("n3");
    await admin.nodes.grant("n2", "10.9.0.0/24");
    await admin.config.set("mtu", 1400);
    const session = await mesh.session(a, { heartbeat_ms: 200 });
    await session.ready(10_000);
    await session.writeNode(factsOf(1));
    const before = await admin.leases.list();
    await first.close();
    await loseStore(mesh);
    // Nor does the next controller remember anything.
    await rm(rememberedFile(mesh.mesh));
    const holdOff_ms = 15_000;
    await mesh.controller({ holdOff_ms });
    const late = (await admin.tokens.create()).token;
    assert.is(await codeOf(joinNode(late, 4)), "MESHD_HOLD_OFF");
    assert.is(await codeOf(admin.config.set("mtu", 1300)), "MESHD_HOLD_OFF");
    await eventually("leases are back", async () => (await admin.leases.list()).length === 3);
    assert.equal(await admin.leases.list(), before);
    await eventually("and nodes", async () => (await admin.nodes.list()).length === 2);
    assert.equal((await admin.nodes.show("n2")).grantedPrefixes, ["10.9.0.0/24"]);
    assert.is((await admin.config.get()).mtu, 1400);
    assert.equal(await admin.leases.audit(), []);
    assert.equal(session.snapshot()?.refused, []);
    const { incident, unheard } = await admin.store.report();
    assert.is(incident?.kind, "empty");
    assert.ok(incident?.counts.every(({ was, by }) => was === "missing" && by === "n1"));
    assert.equal(incident?.counts.find(({ kind }) => kind === "leases")?.records, 3);
    assert.equal(
      unheard.map(({ name, own }) => ({ name, own })),
      [{ name: "n2", own: true }],
    );
    await eventually(
      "the hold-off is over",
      async () => (await codeOf(joinNode(late, 4))) === "",
      2 * holdOff_ms,
    );
    assert.equal((await admin.nodes.show("n4")).podCIDRs, ["10.244.3.0/24"]);
    assert.is((await admin.config.get()).mtu, 1400, "not the settings it began with");
  });
});

test("what a node hands back is taken only when it is signed and newer", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
    const records = b.membership.grants;
    await admin.nodes.drain("n2");
    const forged = records.map(({ key, value }) => ({
      key,
      value: value.replace(/"serial":\d+/, `"serial":${Date.now() + 1e9}`),
    }));
    const node = { key: `nodes.${a.identity.nodeId}`, value: records[0]?.value };
    const answer = await present(mesh, a, [...records, ...forged, node, { key: "config" }]);
    assert.equal(answer, { adopted: 0 });
    assert.is((await admin.nodes.show("n2")).state, "draining");
    assert.match(JSON.stringify(await present(mesh, a, "no list")), /MESHD_BAD_REQUEST/);
  });
});

test("old records handed back cost no read of the stream, and only so many pass", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
    await admin.nodes.drain("n1");
    const reads = await readsOf(mesh);
    const [old = { key: "", value: "" }] = a.membership.grants;
    const records = Array.from({ length: 1_000 }, () => old);
    assert.equal(await present(mesh, a, records), { adopted: 0 });
    assert.is(reads.got.length, 0, "each was older than what the controller has");
    const answers = Array.from({ length: 30 }, () => present(mesh, a, records));
    const codes = (await Promise.all(answers)).map((answer) => JSON.stringify(answer));
    assert.ok(codes.filter((code) => code.includes("MESHD_TOO_MANY")).length > 5, codes.join());
    assert.ok(codes.filter((code) => code.includes("adopted")).length >= 15, codes.join());
    const said = mesh.log.filter(({ event }) => event === "present-refused");
    assert.is(said.length, 1, "one line for all of it");
    assert.is(said[0]?.fields.nodeId, a.identity.nodeId);
    assert.equal(await present(mesh, b, b.membership.grants), { adopted: 0 }, "others may go on");
  });
});

/** Reads of single records in the members' bucket from now on: one with all rights hears them. */
async function readsOf(mesh: TestMesh): Promise<{ got: string[] }> {
  const { signer } = await loadSecrets(mesh.mesh);
  const key = createIdentity();
  const permissions = { publish: [], subscribe: [">"] };
  const user = { name: "ear", key: key.nodeId, account: mesh.mesh.accountKey, signer, permissions };
  const raw = await connectUser(mesh, await userJwt(user), key.seed);
  const heard = raw.subscribe("$JS.API.STREAM.MSG.GET.KV_mesh");
  await raw.connection.flush();
  return heard;
}

test("what a member may hand back fills up with time, and for each by itself", () => {
  let now_ms = 0;
  const allowance = new Allowance(100, 10, () => now_ms);
  assert.ok(allowance.take("a", 100));
  assert.not(allowance.take("a", 1));
  assert.ok(allowance.take("b", 60), "another has all of his");
  now_ms = 5_000;
  assert.not(allowance.take("a", 51));
  assert.ok(allowance.take("a", 50));
  now_ms = 1_000_000;
  assert.not(allowance.take("a", 101), "never more than at first");
  assert.ok(allowance.take("a", 100));
});

async function present(mesh: TestMesh, member: Joined, records: unknown): Promise<unknown> {
  const raw = await connectAs(mesh, member);
  const { nodeId } = member.identity;
  const inbox = `_INBOX_${nodeId}.${Math.random().toString(36).slice(2)}`;
  const replies = raw.connection.subscribe(inbox, { max: 1 });
  raw.publish(`mesh.node.${nodeId}.present`, JSON.stringify({ records }), inbox);
  for await (const reply of replies) {
    const error = reply.headers?.get("Nats-Service-Error");
    return error ? error : reply.json();
  }
  return null;
}

test("a node hands back in batches what is missing, and again when nobody took it", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const session = await mesh.session(await joinNode(token, 1));
    const text = serializeSnapshot((await session.ready(10_000)) as MeshSnapshot);
    const { meshId, grantKey } = mesh.mesh;
    const ledger = new Ledger({ meshId, grantKey });
    assert.ok(ledger.load(text));
    const sent: Presented[][] = [];
    const presenter = new Presenter(ledger, async (batch) => {
      sent.push(batch);
      if (sent.length === 1) throw new Error("no controller");
    });
    ledger.beginListing();
    const gone = ledger.endListing();
    for (const { key } of gone) presenter.notice(key);
    await eventually("it was tried twice", () => sent.length === 2);
    presenter.close();
    const keys = (batch: Presented[] | undefined) => batch?.map((one) => one.key).sort();
    const wanted = gone.map((one) => one.key).filter((key) => key !== "heartbeat");
    assert.equal(keys(sent[1]), wanted.sort());
    assert.equal(keys(sent[0]), keys(sent[1]));
  });
});

test.run();
