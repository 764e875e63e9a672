// An older copy of the store is put back, as from a backup: nothing that was written since is lost
// or given twice as long as one controller or member remembers it, and the difference is told.
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { rememberedFile } from "../../control/controller/memory.js";
import {
  type AdminClient,
  type Controller,
  readIncident,
  serializeSnapshot,
  storeReportFile,
} from "../../control/index.js";
import {
  codeOf,
  eventually,
  factsOf,
  type Joined,
  joinNode,
  type TestMesh,
  withMesh,
} from "./fixture.js";

const storeOf = (mesh: TestMesh) => join(mesh.dir, "nats", "jetstream");
const backupOf = (mesh: TestMesh) => join(mesh.dir, "backup");

/** A copy of the store as it is now; the server is stopped for it. */
async function backUp(mesh: TestMesh): Promise<void> {
  await mesh.restartServer(() => cp(storeOf(mesh), backupOf(mesh), { recursive: true }));
}

async function restore(mesh: TestMesh): Promise<void> {
  await mesh.restartServer(async () => {
    await rm(storeOf(mesh), { recursive: true });
    await cp(backupOf(mesh), storeOf(mesh), { recursive: true });
  });
}

interface Scene {
  admin: AdminClient;
  controller: Controller;
  token: string;
  nodes: Joined[];
}

/** n1 is in the backup; n2 and n3 joined later, n3 was removed, the MTU and n1's name changed. */
async function scene(mesh: TestMesh): Promise<Scene> {
  const controller = await mesh.controller();
  const admin = await mesh.admin();
  const { token } = await admin.tokens.create({ uses: 9 });
  const nodes = [await joinNode(token, 1)];
  await backUp(mesh);
  await eventually("a controller is back", async () => (await codeOf(admin.nodes.list())) === "");
  nodes.push(await joinNode(token, 2), await joinNode(token, 3));
  await admin.nodes.remove("n3");
  await admin.nodes.rename("n1", "first");
  await admin.config.set("mtu", 1400);
  return { admin, controller, token, nodes };
}

const told = ({ admin }: Scene) => admin.leases.list();

test("a restarted controller remembers what an older store lacks, and puts it back", async () => {
  await withMesh({}, async (mesh) => {
    const made = await scene(mesh);
    const { admin, token } = made;
    const before = await told(made);
    const tokens = await admin.tokens.list();
    await made.controller.close();
    await restore(mesh);
    await mesh.controller({ holdOff_ms: 60_000 });
    assert.is(await codeOf(joinNode(token, 4)), "MESHD_HOLD_OFF");
    await eventually("leases are as before", async () => {
      return JSON.stringify(await told(made)) === JSON.stringify(before);
    });
    assert.is((await admin.config.get()).mtu, 1400);
    assert.equal((await admin.nodes.list()).map(({ name }) => name).sort(), ["first", "n2"]);
    assert.equal(await admin.tokens.list(), tokens);
    const { incident, holdOff_s, findings, unheard } = await admin.store.report();
    assert.is(incident?.kind, "older");
    assert.ok(holdOff_s > 30 && holdOff_s <= 60, `${holdOff_s}`);
    assert.equal(findings, []);
    assert.equal(unheard.map(({ name }) => name).sort(), ["first", "n2"]);
    const count = (kind: string, was: string) =>
      incident?.counts.find((one) => one.kind === kind && one.was === was)?.records;
    assert.equal(
      [count("leases", "missing"), count("config", "older"), count("members", "older")],
      [2, 1, 1],
    );
    assert.ok(incident?.restored.every(({ by }) => by === "controller"));
    assert.equal(incident?.failed, []);
    assert.is((await admin.store.accept()).holdOff_s, 0);
    assert.equal((await joinNode(token, 4)).membership.podCIDRs, ["10.244.3.0/24"]);
    const fresh = mesh.log.find(({ event }) => event === "store-older");
    assert.ok(fresh, "it is in the log");
    await eventually("the report is kept", async () => {
      const kept = readIncident(
        await readFile(storeReportFile(mesh.mesh), "utf8").catch(() => null),
      );
      return kept?.restored.length === incident?.restored.length;
    });
  });
});

test("a member that was up to date hands back what an older store lacks", async () => {
  await withMesh({}, async (mesh) => {
    const made = await scene(mesh);
    const { admin, token, nodes } = made;
    const second = await mesh.session(nodes[1] as Joined);
    await second.ready(10_000);
    await second.writeNode(factsOf(2));
    const before = await told(made);
    await made.controller.close();
    await restore(mesh);
    await writeFile(rememberedFile(mesh.mesh), "damaged");
    await mesh.controller({ holdOff_ms: 7_000 });
    assert.ok(mesh.log.some(({ event }) => event === "memory-refused"));
    await eventually("leases are as before", async () => {
      return JSON.stringify(await told(made)) === JSON.stringify(before);
    });
    assert.is(await codeOf(joinNode(token, 4)), "MESHD_HOLD_OFF");
    const { incident } = await admin.store.report();
    assert.is(incident?.kind, "older");
    assert.equal([...new Set(incident?.counts.map(({ by }) => by))], ["n2"]);
    assert.is((await admin.config.get()).mtu, 1400);
    assert.is((await admin.nodes.show("first")).podCIDRs[0], "10.244.0.0/24");
    await eventually("its own record is back, too", async () => {
      return (await admin.nodes.show("n2")).node?.underlay.addresses[0] === "192.0.2.2";
    });
    await eventually(
      "the hold-off is over",
      async () => (await codeOf(joinNode(token, 4))) === "",
      30_000,
    );
    assert.equal((await admin.nodes.show("n4")).podCIDRs, ["10.244.3.0/24"]);
    assert.equal(await admin.leases.audit(), []);
  });
});

test("of two grants of one lease the newer one counts, and the other is told", async () => {
  await withMesh({}, async (mesh) => {
    const made = await scene(mesh);
    const { admin, token, nodes } = made;
    const second = await mesh.session(nodes[1] as Joined);
    const saved = serializeSnapshot(await second.ready(10_000));
    await second.close();
    await made.controller.close();
    await restore(mesh);
    // Nobody remembers n2, and it is away: its PodCIDR is given again.
    await rm(rememberedFile(mesh.mesh));
    await mesh.controller({ holdOff_ms: 1_000 });
    const { membership, identity } = await joinNode(token, 4);
    assert.equal(membership.podCIDRs, ["10.244.1.0/24"]);
    const fourth = await mesh.session({ membership, identity });
    await fourth.ready(10_000);
    const back = await mesh.session(nodes[1] as Joined, { saved });
    await eventually("it is a member again", async () => {
      return (await codeOf(admin.nodes.show("n2"))) === "";
    });
    await eventually("its claim is found", async () => (await admin.leases.audit()).length > 0);
    const { findings } = await admin.store.report();
    assert.equal(
      findings.map(({ cidr, kind, nodeId }) => ({ cidr, kind, nodeId })),
      [{ cidr: "10.244.1.0/24", kind: "unheld", nodeId: back.nodeId }],
    );
    for (const session of [fourth, back]) {
      await eventually("all name one holder", () => {
        const lease = session.snapshot()?.leases.get("10.244.1.0/24");
        return lease?.state === "held" && lease.nodeId === identity.nodeId;
      });
    }
    assert.equal((await admin.nodes.show("n4")).podCIDRs, ["10.244.1.0/24"]);
  });
});

test.run();
