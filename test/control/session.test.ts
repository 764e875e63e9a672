// A member's session: snapshot, then changes; survives a server's restart, a dead watch, a lost
// store; writes only differences.
import { rm } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { rememberedFile } from "../../control/controller/memory.js";
import {
  type ControlError,
  MemberSession,
  type Membership,
  type MeshSnapshot,
  parseSnapshot,
  serializeSnapshot,
} from "../../control/index.js";
import { codeOf, eventually, factsOf, joinNode, withMesh } from "./fixture.js";
import { connectAs, connectFile } from "./raw.js";

test("a session is told of every change of records and settings, and of nothing else", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
    const [one, two] = [await mesh.session(a), await mesh.session(b)];
    let snapshots = 0;
    one.on("snapshot", () => snapshots++);
    await one.ready(10_000);
    await two.ready(10_000);
    await two.writeNode(factsOf(2));
    await two.writeEndpoints([{ pod: "p1", addresses: ["10.244.1.2"], labels: {}, identity: 0 }]);
    const view = () => one.snapshot() as MeshSnapshot;
    await eventually("node and endpoint are seen", () => view().endpoints.has(`${two.nodeId}.p1`));
    assert.is(view().nodes.get(two.nodeId)?.vtepMac, "0a:00:00:00:00:02");
    assert.is(view().leases.get("10.244.1.0/24")?.nodeId, two.nodeId);
    const peer = {
      name: "router",
      endpoint: "198.51.100.7",
      port: 8472,
      podCIDRs: ["10.250.0.0/24"],
      vtepMac: "0a:00:00:00:01:01",
      protocol: "vxlan" as const,
      vni: 1,
    };
    await admin.peers.add(peer);
    await eventually("the peer is seen", () => view().peers.has("router"));
    assert.equal(view().peers.get("router"), peer);
    await admin.peers.remove("router");
    await admin.config.set("mtu", "1400");
    await eventually(
      "its end is seen",
      () => view().peers.size === 0 && view().config.mtu === 1400,
    );
    await two.writeEndpoints([]);
    await eventually("the endpoint is gone", () => view().endpoints.size === 0);
    const beats = async (count: number) => {
      const { revision } = view();
      await eventually("heartbeats went on", () => view().revision > revision + count);
    };
    await beats(1);
    const before = snapshots;
    await two.writeNode(factsOf(2));
    await two.writeEndpoints([]);
    await beats(3);
    assert.is(snapshots, before, "heartbeats and unchanged records wake nobody");
    assert.ok(one.viewAge_ms() < 5_000);
  });
});

test("an unchanged record is not written again, not after a reconnect either", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const session = await mesh.session(await joinNode(token, 1));
    await session.ready(10_000);
    await session.writeNode(factsOf(1));
    const revision = async () => {
      const view = await admin.nodes.show("n1");
      assert.is(view.node?.vtepMac, factsOf(1).vtepMac);
      return JSON.parse(serializeSnapshot(session.snapshot() as MeshSnapshot)).entries.find(
        ([key]: string[]) => key === `nodes.${session.nodeId}`,
      )[1];
    };
    const first = await revision();
    await session.writeNode(factsOf(1));
    await mesh.restartServer();
    await eventually("it is back", () => session.connected && session.viewAge_ms() < 1_000);
    await eventually("a controller is back", async () => (await codeOf(admin.nodes.list())) === "");
    await session.writeNode(factsOf(1));
    assert.is(await revision(), first);
  });
});

test("a session answers administrators by verb, and what it refuses keeps its code", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const bench = async (request: unknown) => {
      const { ask } = request as { ask?: string };
      if (ask === undefined) return { heard: request };
      throw Object.assign(new Error("no, because"), { code: ask });
    };
    const session = await mesh.session(a, { answers: { bench } });
    await session.ready(10_000);
    const { nodeId } = a.identity;
    assert.equal(await admin.nodes.bench(nodeId, { x: 1 }), { heard: { x: 1 } });
    for (const [code, seen] of [
      ["MESHD_BENCH_BUSY", "MESHD_BENCH_BUSY"],
      ["EACCES", "MESHD_INTERNAL"],
    ] as const) {
      const error = await admin.nodes.bench(nodeId, { ask: code }).then(
        () => assert.unreachable(code),
        (thrown: unknown) => thrown,
      );
      assert.equal([(error as ControlError).code, (error as Error).message], [seen, "no, because"]);
    }
    const raw = await connectFile(mesh, mesh.mesh.adminCredentials, "_INBOX_ADMIN_x");
    const subject = `mesh.agent.${nodeId}.bench`;
    const elsewhere = raw.subscribe("_INBOX.reply");
    raw.publish(subject, "{}", `mesh.heartbeat.${nodeId}`);
    raw.publish(subject, "{{{", "_INBOX.reply");
    await raw.connection.flush();
    await eventually("no JSON is refused", () => elsewhere.got.length === 1);
    assert.equal(await admin.nodes.bench(nodeId, {}), { heard: {} });
  });
});

test("a session outlives a restart of the server, sees changes and serves its status", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const a = await joinNode(token, 1);
    const session = await mesh.session(a, { status: () => ({ node: "n1" }) });
    await session.ready(10_000);
    assert.equal(await admin.nodes.status("n1"), { node: "n1" });
    let kept: MeshSnapshot | null = null;
    await mesh.restartServer(async () => {
      await eventually("it noticed", () => !session.connected);
      kept = session.snapshot();
    });
    assert.is((kept as MeshSnapshot | null)?.members.size, 1, "nothing was forgotten");
    await eventually("it is back", () => session.connected);
    await joinNode(token, 2);
    await eventually("it sees the new node", () => session.snapshot()?.members.size === 2);
    assert.equal(await admin.nodes.status("n1"), { node: "n1" });
  });
});

test("a watch that was taken away is replaced, and nothing is missed", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const a = await joinNode(token, 1);
    const session = await mesh.session(a, { beatMissing_ms: 2_000, feed: false });
    await session.ready(10_000);
    const raw = await connectAs(mesh, a);
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    assert.ok(await manager.consumers.delete("KV_mesh", a.identity.nodeId));
    await joinNode(token, 2);
    await eventually("the new member is seen", () => session.snapshot()?.members.size === 2);
  });
});

let later: MemberSession | null = null;

test("a session that finds no server starts from its saved state and connects later", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const first = await mesh.session(a);
    const text = serializeSnapshot(await first.ready(10_000));
    await first.close();
    assert.is(parseSnapshot(text).members.size, 1);
    const saved = text.replace('\\"state\\":\\"active\\"', '\\"state\\":\\"removed\\"');
    await mesh.restartServer(async () => {
      const session = await MemberSession.connect({ ...a, saved: text });
      mesh.later(() => session.close());
      assert.is(session.snapshot()?.members.size, 1);
      assert.not(session.connected);
      const spoiled = await MemberSession.connect({ ...a, saved });
      assert.is(spoiled.snapshot()?.members.size, 0, "a changed file is not believed");
      await spoiled.close();
      later = session;
    });
    const session = later as MemberSession;
    await eventually("connected", () => session.connected && session.viewAge_ms() < 5_000);
  });
});
test("a store that came back empty tears nothing down, and says so", async () => {
  await withMesh({}, async (mesh) => {
    const controller = await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const session = await mesh.session(a);
    await session.ready(10_000);
    await controller.close();
    await rm(rememberedFile(mesh.mesh));
    await mesh.restartServer(() =>
      rm(`${mesh.dir}/nats/jetstream`, { recursive: true, force: true }),
    );
    await mesh.controller();
    await eventually("it tells what is gone", () =>
      (session.snapshot()?.refused ?? []).some((one) => one.reason.includes("gone from the store")),
    );
    assert.is(session.snapshot()?.members.get(session.nodeId)?.state, "active");
    assert.equal(session.snapshot()?.leases.get("10.244.0.0/24")?.state, "held");
  });
});

test("credentials are renewed with the key alone, also when the old ones do not work", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const damaged = { ...a.membership, jwt: `${a.membership.jwt.slice(0, -4)}AAAA` };
    const session = await mesh.session({ ...a, membership: damaged });
    let renewed: Membership | null = null;
    session.on("membership", (membership: Membership) => {
      renewed = membership;
    });
    await session.ready(15_000);
    assert.is((renewed as Membership | null)?.nodeId, a.identity.nodeId);
    assert.ok(session.ends.ends.credentials);
  });
});

test("credentials that end are renewed before, and the session goes on", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller({ credentials_s: 3 });
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const session = await mesh.session(a, { heartbeat_ms: 100 });
    await session.ready(10_000);
    const first = Date.parse(session.ends.ends.credentials ?? "");
    await eventually("the first credentials are over", () => Date.now() > first + 500);
    await eventually("renewed and connected", () => {
      const end = Date.parse(session.ends.ends.credentials ?? "");
      return end > first && session.connected && session.viewAge_ms() < 2_000;
    });
    assert.is((await admin.nodes.show("n1")).online, true);
  });
});

test("a controller that remembers puts back what a lost store had", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const a = await joinNode(token, 1);
    const session = await mesh.session(a);
    await session.ready(10_000);
    await session.writeNode(factsOf(1));
    await mesh.restartServer(() =>
      rm(`${mesh.dir}/nats/jetstream`, { recursive: true, force: true }),
    );
    await eventually("it is all there again", async () => {
      const fresh = await mesh.session(a);
      const snapshot = await fresh.ready(10_000);
      await fresh.close();
      const { members, leases, nodes } = snapshot;
      return members.size === 1 && leases.size === 1 && nodes.size === 1;
    });
    assert.equal((await joinNode(token, 2)).membership.podCIDRs, ["10.244.1.0/24"]);
  });
});

test("a node that leaves gives its lease to quarantine and can no longer connect", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const a = await joinNode(token, 1);
    const session = await mesh.session(a);
    await session.ready(10_000);
    await session.leave();
    assert.is((await admin.leases.list())[0]?.state, "quarantined");
    assert.equal(await admin.nodes.list(), []);
    await eventually("its credentials ended", async () => {
      const raw = await connectAs(mesh, a).catch(() => null);
      await raw?.connection.close();
      return raw === null;
    });
  });
});

test.run();
