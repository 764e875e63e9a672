// The server publishes acknowledgments, answers and deliveries to whatever subject a client names,
// unchecked: a member can make it write on any key. Signatures make such a value a refused one, and
// controllers put the good one back.
import { AckPolicy, DeliverPolicy } from "nats";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { MemberSession, Refusal } from "../../control/index.js";
import { keyOf } from "../../control/keys.js";
import { thisPlace } from "../../control/twins.js";
import { eventually, factsOf, type Joined, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectAs, connectFile } from "./raw.js";

interface Scene {
  mesh: TestMesh;
  attacker: Joined;
  victim: Joined;
  /** The victim's and the attacker's sessions. */
  watching: MemberSession;
  own: MemberSession;
}

async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const [attacker, victim] = [await joinNode(token, 1), await joinNode(token, 2)];
    const log = (event: string, fields: object) =>
      void mesh.log.push({ event, fields: { ...fields } });
    // A watch hears of what is mended at once, too; a feed tells what a record became.
    const watching = await mesh.session(victim, { log, feed: false });
    const own = await mesh.session(attacker);
    await Promise.all([watching.ready(10_000), own.ready(10_000)]);
    await watching.writeNode(factsOf(2));
    await eventually("victim's node is known", () => own.snapshot()?.nodes.size === 1);
    await own.close();
    await work({ mesh, attacker, victim, watching, own });
  });
}

test("a member's record overwritten by way of a reply subject is refused and mended", async () => {
  await withScene(async ({ mesh, attacker, victim, watching }) => {
    const refused: Refusal[] = [];
    watching.on("refused", (refusal: Refusal) => refused.push(refusal));
    const raw = await connectAs(mesh, attacker);
    const key = `members.${victim.identity.nodeId}`;
    raw.publish(`$KV.mesh.nodes.${attacker.identity.nodeId}`, "{}", `$KV.mesh.${key}`);
    await eventually("the spoiled record was refused", () =>
      refused.some((one) => one.key === key),
    );
    await eventually("the controller mended it", () =>
      mesh.log.some((line) => line.event === "record-mended" && line.fields.key === key),
    );
    await eventually("nothing is refused any more", () => {
      const now = watching.snapshot()?.refused ?? [];
      return !now.some((one) => one.key === key);
    });
    assert.is(watching.snapshot()?.members.get(victim.identity.nodeId)?.state, "active");
    const late = await mesh.session(victim);
    const snapshot = await late.ready(10_000);
    assert.is(snapshot.members.get(victim.identity.nodeId)?.name, "n2");
  });
});

test("forged bytes on another node's key are refused, and the owner writes anew", async () => {
  await withScene(async ({ mesh, attacker, victim, watching }) => {
    const refused: Refusal[] = [];
    watching.on("refused", (refusal: Refusal) => refused.push(refusal));
    const raw = await connectAs(mesh, attacker);
    const own = `$KV.mesh.nodes.${attacker.identity.nodeId}`;
    const key = `nodes.${victim.identity.nodeId}`;
    const forged = { nodeId: victim.identity.nodeId, ...factsOf(1) };
    raw.publish(
      own,
      JSON.stringify({ record: forged, serial: Date.now() + 1e9, signature: "AAAA" }),
    );
    // A delivery needs somebody who listens there: the stream of the bucket does. A read by direct
    // get needs no right of the victim either.
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    await manager.consumers
      .add("KV_mesh", {
        name: attacker.identity.nodeId,
        filter_subject: own,
        deliver_subject: `$KV.mesh.${key}`,
        deliver_policy: DeliverPolicy.LastPerSubject,
        ack_policy: AckPolicy.None,
      })
      .catch(() => undefined);
    raw.publish(own, "{}", `$KV.mesh.${key}`);
    await eventually("the forged record was refused", () => refused.some((one) => one.key === key));
    await eventually("the victim's record is in force again", async () => {
      const late = await mesh.session(victim);
      const snapshot = await late.ready(10_000);
      await late.close();
      return snapshot.nodes.get(victim.identity.nodeId)?.vtepMac === factsOf(2).vtepMac;
    });
  });
});

test("a member that uses up the identities of writes to come stops no controller", async () => {
  await withScene(async ({ mesh, attacker, victim }) => {
    const raw = await connectAs(mesh, attacker);
    const stream = raw.connection.jetstream();
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    const own = `$KV.mesh.nodes.${attacker.identity.nodeId}`;
    const { nodeId } = attacker.identity;
    const leases = attacker.membership.podCIDRs.map((cidr) => keyOf.lease(cidr));
    const keys = [keyOf.member(nodeId), keyOf.member(victim.identity.nodeId), ...leases];
    for (const key of keys) {
      const { seq, header } = await manager.streams.getMessage("KV_mesh", {
        last_by_subj: `$KV.mesh.${key}`,
      });
      // What it was called is no secret once it is written: what comes next must not follow of it.
      const last = header.get("Nats-Msg-Id");
      for (const msgID of [`${key}@${seq}`, last.replace(/\d+$/, String(seq))]) {
        await stream.publish(own, "{}", { msgID });
      }
    }
    const admin = await mesh.admin();
    await admin.nodes.rename("n2", "m2");
    await admin.nodes.remove("n1");
    assert.equal(
      (await admin.nodes.list()).map(({ name }) => name),
      ["m2"],
    );
  });
});

test("a member that has its record delivered as another's twin ends no agent", async () => {
  await withScene(async ({ mesh, attacker, victim, watching }) => {
    const raw = await connectAs(mesh, attacker);
    const { nodeId } = attacker.identity;
    const own = `$KV.mesh.nodes.${nodeId}`;
    // Not in the alphabet of runs, below and above all of them: the victim is to judge, or not to.
    const place = { host: "thief", bootId: "b", address: "192.0.2.9", home: true, alone_ms: 1e15 };
    const words = ["zz", "!"].map((run) => ({ ...place, id: run, run, yields: thisPlace().run }));
    for (const word of words) {
      await raw.connection.jetstream().publish(own, JSON.stringify(word));
      const manager = await raw.connection.jetstreamManager({ checkAPI: false });
      await manager.consumers.delete("KV_mesh", nodeId).catch(() => false);
      await manager.consumers.add("KV_mesh", {
        ...{ name: nodeId, filter_subject: own, ack_policy: AckPolicy.None },
        ...{ deliver_policy: DeliverPolicy.LastPerSubject },
        deliver_subject: `mesh.agent.${victim.identity.nodeId}.twin`,
      });
    }
    const said = () => mesh.log.filter(({ event }) => event === "reply-refused").length;
    await eventually("it was heard", () => said() >= 2 || watching.twins.duplicate !== null);
    assert.is(watching.twins.duplicate, null);
    await watching.writeNode(factsOf(2, { mtu: 1400 }));
    await eventually("the victim's agent goes on", () => {
      const node = watching.snapshot()?.nodes.get(victim.identity.nodeId);
      return node?.mtu === 1400;
    });
  });
});

test("a member's record delivered as another's heartbeat makes nobody look alive", async () => {
  await withScene(async ({ mesh, attacker }) => {
    const admin = await mesh.admin();
    const silent = await joinNode((await admin.tokens.create()).token, 3);
    const raw = await connectAs(mesh, attacker);
    const { nodeId } = attacker.identity;
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    const made = await manager.consumers.add("KV_mesh", {
      ...{ name: nodeId, ack_policy: AckPolicy.None, deliver_policy: DeliverPolicy.LastPerSubject },
      ...{
        filter_subject: "$KV.mesh.>",
        deliver_subject: `mesh.heartbeat.${silent.identity.nodeId}`,
      },
    });
    assert.ok(made.num_pending + made.delivered.consumer_seq > 0);
    for (let round = 0; round < 5; round++) {
      raw.publish(`$KV.mesh.nodes.${nodeId}`, "{}", `mesh.heartbeat.${silent.identity.nodeId}`);
      await raw.connection.flush();
      assert.is((await admin.nodes.show("n3")).lastSeen, null);
    }
    await (await mesh.session(silent)).ready(10_000);
    const seen = async () => (await admin.nodes.show("n3")).lastSeen !== null;
    await eventually("its own word counts", seen, 10_000);
  });
});

test("a node that says it has another's underlay address is not believed by anybody", async () => {
  await withScene(async ({ mesh, attacker, victim, watching }) => {
    const session = await mesh.session(attacker);
    await session.ready(10_000);
    await session.writeNode(factsOf(1, { underlay: factsOf(2).underlay }));
    const key = `nodes.${attacker.identity.nodeId}`;
    await eventually("refused by the readers", () => {
      const refused = watching.snapshot()?.refused ?? [];
      return refused.some((one) => one.key === key && one.reason.includes("claimed by n2"));
    });
    const nodes = watching.snapshot()?.nodes;
    assert.not(nodes?.has(attacker.identity.nodeId));
    assert.ok(nodes?.has(victim.identity.nodeId));
  });
});

test("acknowledgments and answers sent to the server's own subjects change no stream", async () => {
  await withScene(async ({ mesh, attacker, victim }) => {
    const raw = await connectAs(mesh, attacker);
    const own = attacker.identity.nodeId;
    const verbs = ["PURGE", "DELETE", "UPDATE", "MSG.DELETE", "SNAPSHOT", "RESTORE"];
    const subjects = [
      ...verbs.flatMap((verb) => [
        `$JS.API.STREAM.${verb}.KV_mesh`,
        `$JS.API.STREAM.${verb}.KV_mesh-secrets`,
      ]),
      // Its answer names the consumer: a stream of that name would be made.
      `$JS.API.STREAM.CREATE.${own}`,
    ];
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    for (const target of subjects) {
      raw.publish(`$KV.mesh.nodes.${own}`, "{}", target);
      raw.publish(`$JS.API.CONSUMER.DELETE.KV_mesh.${own}`, "", target);
      raw.publish(
        `$JS.API.CONSUMER.CREATE.KV_mesh.${own}.$KV.mesh.>`,
        JSON.stringify({ stream_name: "KV_mesh", config: { name: own, ack_policy: "none" } }),
        target,
      );
      raw.publish("$JS.API.STREAM.MSG.GET.KV_mesh", '{"last_by_subj":"$KV.mesh.config"}', target);
      // Deliveries, and the empty heartbeats of a consumer.
      await manager.consumers
        .add("KV_mesh", {
          ...{ name: own, filter_subject: `$KV.mesh.nodes.${own}`, deliver_subject: target },
          ...{ deliver_policy: DeliverPolicy.LastPerSubject, ack_policy: AckPolicy.None },
          ...{ idle_heartbeat: 100e6, flow_control: true },
        })
        .catch(() => undefined);
    }
    const admin = await mesh.admin();
    await eventually("all of it was heard", async () => (await admin.nodes.list()).length === 2);
    const { connection } = await connectFile(mesh, mesh.mesh.adminCredentials, "_INBOX");
    const names = (await connection.request("$JS.API.STREAM.NAMES")).json() as { streams: [] };
    assert.equal(names.streams, ["KV_mesh", "KV_mesh-secrets"]);
    const late = await mesh.session(victim);
    const { members, leases } = await late.ready(10_000);
    assert.equal([members.size, leases.size], [2, 2], "a fresh reader finds everything");
  });
});

test.run();
