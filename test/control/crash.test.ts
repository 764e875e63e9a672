// What a controller that ended half-way leaves behind: the next one, or the next request, mends it.
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { seal } from "../../control/envelope.js";
import {
  createIdentity,
  joinMesh,
  type LeaseRecord,
  type MemberRecord,
} from "../../control/index.js";
import { keyOf } from "../../control/keys.js";
import { signingKey } from "../../control/nats/index.js";
import { codeOf, eventually, joinNode, type TestMesh, underlayOf, withMesh } from "./fixture.js";
import { connectFile } from "./raw.js";

const longAgo_ms = 3_600_000;

/** Writes a record as a controller does, with a serial of that time. */
async function writeAsController(
  mesh: TestMesh,
  key: string,
  record: object,
  at_ms: number,
): Promise<void> {
  const grant = signingKey((await readFile(`${mesh.mesh.dir}/grant.nk`, "utf8")).trim());
  const raw = await connectFile(mesh, mesh.mesh.controllerCredentials, "_INBOX_none");
  raw.publish(`$KV.mesh.${key}`, seal(mesh.mesh.meshId, key, record, at_ms, grant));
  await raw.connection.flush();
}

const joinAs = (token: string, name: string, host: number) => {
  const underlay = { address: underlayOf(host), port: 8472 };
  return codeOf(joinMesh(token, { identity: createIdentity(), name, underlay }));
};

test("name and address of a join that never ended are free later, not at once", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const { nodeId } = createIdentity();
    const [now, old] = [Date.now(), Date.now() - longAgo_ms];
    const claim = (host: number) => ({ address: underlayOf(host), port: 8472, nodeId });
    await writeAsController(mesh, keyOf.name("fresh"), { name: "fresh", nodeId }, now);
    await writeAsController(mesh, keyOf.name("stale"), { name: "stale", nodeId }, old);
    await writeAsController(mesh, keyOf.claim(underlayOf(1), 8472), claim(1), now);
    await writeAsController(mesh, keyOf.claim(underlayOf(2), 8472), claim(2), old);
    assert.is(await joinAs(token, "fresh", 3), "MESHD_NAME_TAKEN");
    assert.is(await joinAs(token, "n1", 1), "MESHD_ADDRESS_CLAIMED");
    assert.is(await joinAs(token, "stale", 4), "");
    assert.is(await joinAs(token, "n2", 2), "");
  });
});

test("a name that a rename left behind is free after a while", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const { nodeId } = (await joinNode(token, 1)).identity;
    const old = Date.now() - longAgo_ms;
    await writeAsController(mesh, keyOf.name("web"), { name: "web", nodeId }, old);
    assert.is(await joinAs(token, "n1", 2), "MESHD_NAME_TAKEN", "its own name is its own");
    assert.is(await joinAs(token, "web", 3), "");
  });
});

test("a removal that a controller began is finished by the next one", async () => {
  await withMesh({}, async (mesh) => {
    const first = await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const { identity, membership } = await joinNode(token, 1);
    await first.close();
    const [member] = membership.grants.filter((one) => one.key.startsWith("members."));
    const { record } = JSON.parse(member?.value ?? "") as { record: MemberRecord };
    const removed = { ...record, state: "removed", podCIDRs: [] };
    await writeAsController(mesh, keyOf.member(identity.nodeId), removed, Date.now());
    await mesh.controller();
    assert.equal(await admin.leases.audit(), []);
    assert.is((await admin.leases.list())[0]?.state, "quarantined");
    await eventually("its credentials are revoked", () =>
      mesh.log.some((line) => line.event === "credentials-revoked"),
    );
  });
});

test("a lease that its member does not list is found when no join is under way", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const { nodeId } = (await joinNode(token, 1)).identity;
    const lease = (cidr: string, at_ms: number): LeaseRecord => ({
      ...{ cidr, nodeId, epoch: 1, state: "held", until: null, signature: "" },
      since: new Date(at_ms).toISOString(),
    });
    const [now, old] = [Date.now(), Date.now() - longAgo_ms];
    const [young, stale] = ["10.244.7.0/24", "10.244.8.0/24"];
    await writeAsController(mesh, keyOf.lease(young), lease(young, now), now);
    await writeAsController(mesh, keyOf.lease(stale), lease(stale, old), now);
    await eventually("seen", async () => (await admin.leases.list()).length === 3);
    assert.equal(
      (await admin.leases.audit()).map(({ cidr, kind }) => [cidr, kind]),
      [[stale, "unlisted"]],
    );
    const { reclaimed, findings } = await admin.leases.reclaim();
    assert.equal([reclaimed, findings], [[stale], []]);
  });
});

test.run();
