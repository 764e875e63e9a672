// Feeds: their bytes and digests, what members get by them, and what an attacker may try with the
// subjects of a real server.
import { AckPolicy, DeliverPolicy } from "nats";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  Contents,
  cutRows,
  openBatch,
  readStretch,
  rowOf,
  type Stretch,
  sealBatch,
  stretchText,
} from "../../control/feed/index.js";
import { loadSecrets } from "../../control/founding/mesh.js";
import type { MemberSession } from "../../control/index.js";
import { Ledger } from "../../control/ledger.js";
import { feedOf } from "../../control/member/source.js";
import { View } from "../../control/member/view.js";
import { Bucket, createKey, Link, signingKey, userJwt } from "../../control/nats/index.js";
import { nodePermissions } from "../../control/permissions.js";
import { inboxOf } from "../../control/subjects.js";
import { Random } from "../support/random.js";
import { refusalOf } from "../support/refusal.js";
import { eventually, factsOf, type Joined, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectAs } from "./raw.js";

const ID = createKey("user").publicKey;
const stretch: Stretch = { controllerId: ID, from: 4, to: 9, digest: null };

const read = (text: string) => readStretch(Buffer.from(text));

test("what was written is read: any text, markers of deletes, entries in their order", () => {
  const entries = [
    { key: "config", revision: 5, value: '{"a":"ä\n\n€"}', deleted: false, time_ms: 12 },
    { key: "names.ü", revision: 7, value: "", deleted: true, time_ms: 0 },
    { key: "names.b", revision: 9, value: "\n", deleted: false, time_ms: 1e12 },
  ];
  const text = stretchText({ ...stretch, digest: "0123456789abcdef" }, entries.map(rowOf));
  assert.equal(read(text), { stretch: { ...stretch, digest: "0123456789abcdef" }, entries });
});

test("a stretch that is damaged, or says what cannot be, is refused whole", () => {
  const rows = [5, 7].map((revision) =>
    rowOf({ key: `names.a${revision}`, revision, value: "v", deleted: false }),
  );
  const whole = stretchText(stretch, rows);
  assert.is(
    refusalOf(() => read(whole)),
    "taken",
  );
  assert.match(
    refusalOf(() => read(stretchText(stretch, [...rows].reverse()))),
    "do not rise",
  );
  assert.match(
    refusalOf(() => read(stretchText({ ...stretch, from: 5 }, rows))),
    "do not rise",
  );
  assert.match(
    refusalOf(() => read(stretchText({ ...stretch, to: 6 }, rows))),
    "beyond its end",
  );
  assert.match(
    refusalOf(() => read(stretchText({ ...stretch, from: 10 }, []))),
    "before it begins",
  );
  assert.match(
    refusalOf(() => read(whole.slice(0, -3))),
    /length is wrong|within an entry/,
  );
  assert.match(
    refusalOf(() => read(`${whole}x`)),
    "within an entry",
  );
  assert.match(
    refusalOf(() => read(whole.replace(" - 2\n", " - 3\n"))),
    "as many entries",
  );
  assert.match(
    refusalOf(() => read(whole.replace(ID, "nobody"))),
    "names no controller",
  );
  assert.match(
    refusalOf(() => read("")),
    "no first line",
  );
});

test("a batch is believed by the signature of its mesh's grant key alone", () => {
  const [grant, other] = [createKey("account"), createKey("account")].map(({ seed }) =>
    signingKey(seed),
  );
  assert.ok(grant && other);
  const trust = { meshId: "m1", grantKey: grant.publicKey };
  const text = stretchText(stretch, []);
  const bytes = Buffer.from(sealBatch("m1", text, grant));
  assert.is(openBatch(trust, bytes).toString(), text);
  for (const forged of [sealBatch("m2", text, grant), sealBatch("m1", text, other)]) {
    assert.match(
      refusalOf(() => openBatch(trust, Buffer.from(forged))),
      "not signed",
    );
  }
  for (let at = 0; at < bytes.length; at += 7) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    assert.not.equal(
      refusalOf(() => openBatch(trust, damaged)),
      "taken",
      `byte ${at}`,
    );
  }
  assert.match(
    refusalOf(() => openBatch(trust, Buffer.alloc(0))),
    "no signature",
  );
});

test("two that were given the same have the same digest, in whatever steps it came", () => {
  const random = new Random(7);
  const last = new Map<string, number>();
  const live = new Contents();
  for (let revision = 1; revision <= 2_000; revision++) {
    const key = `nodes.${random.bits() % 300}`;
    last.set(key, revision);
    assert.ok(live.take(key, revision));
    assert.not.ok(live.take(key, revision), "once");
  }
  const listed = new Contents();
  for (const [key, revision] of last) listed.take(key, revision);
  assert.is(listed.digest, live.digest);
  const digests = new Set([live.digest]);
  for (const [key, revision] of last) {
    const lacking = new Contents();
    for (const [other, at] of last) lacking.take(other, other === key ? revision - 1 : at);
    digests.add(lacking.digest);
  }
  assert.is(digests.size, last.size + 1, "one key at an earlier revision is another digest");
});

test("rows are cut where a message would be too long, and none is lost", () => {
  const rows = Array.from({ length: 100 }, (_, at) =>
    rowOf({ key: `names.${at}`, revision: at + 1, value: "x".repeat(9_000), deleted: false }),
  );
  const parts = [...cutRows(rows, 1_048_576)];
  assert.equal(parts.flat(), rows);
  assert.ok(parts.length > 3);
  for (const part of parts) assert.ok(stretchText(stretch, part).length < 300_000);
  assert.equal([...cutRows([], 1_048_576)], [[]]);
  const wide = rowOf({
    key: "names.w",
    revision: 101,
    value: "\u20ac".repeat(20_000),
    deleted: false,
  });
  assert.is(wide.bytes, Buffer.byteLength(wide.text), "bytes, not letters");
  const payload_max = 65_536;
  for (const part of cutRows([...rows, wide, ...rows], payload_max)) {
    assert.ok(Buffer.byteLength(stretchText(stretch, part)) < payload_max, `${part.length} rows`);
  }
});

interface Scene {
  mesh: TestMesh;
  fed: MemberSession;
  watching: MemberSession;
  members: Joined[];
  lost: string[];
}

/** A member that is fed, another that watches. */
async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { token } = await (await mesh.admin()).tokens.create({ uses: 3 });
    const members = [await joinNode(token, 1), await joinNode(token, 2), await joinNode(token, 3)];
    const lost: string[] = [];
    const log = (event: string, { reason }: Record<string, unknown>) => {
      if (event === "watch-lost") lost.push(String(reason));
    };
    const [one, two] = members as [Joined, Joined];
    const fed = await mesh.session(one, { log });
    const watching = await mesh.session(two, { feed: false });
    await Promise.all([fed.ready(10_000), watching.ready(10_000)]);
    await eventually("it is fed", () => fed.isFed);
    assert.not.ok(watching.isFed);
    await work({ mesh, fed, watching, members, lost });
  });
}

function shown(session: MemberSession): unknown {
  const { revision: _, ...rest } = session.snapshot() ?? { revision: 0 };
  return JSON.stringify(rest, (__, value) => (value instanceof Map ? [...value].sort() : value));
}

test("a feed tells what a watch tells: records, removals, deletes, what is refused", async () => {
  await withScene(async ({ mesh, fed, watching, members, lost }) => {
    const admin = await mesh.admin();
    await fed.writeNode(factsOf(1));
    await watching.writeNode(factsOf(2));
    await admin.config.set("mtu", 1300);
    await admin.nodes.rename("n3", "n4");
    const [, , third] = members as [Joined, Joined, Joined];
    const raw = await connectAs(mesh, third);
    const spoiled = `nodes.${third.identity.nodeId}`;
    raw.publish(`$KV.mesh.${spoiled}`, "{}");
    await eventually("the spoiled record is refused by both", () =>
      [fed, watching].every((one) => one.snapshot()?.refused.some(({ key }) => key === spoiled)),
    );
    await eventually("both show the same", () => shown(fed) === shown(watching));
    await admin.nodes.remove("n4");
    await eventually("both show the same again", () => {
      const is = fed.snapshot()?.members.get(third.identity.nodeId)?.state === "removed";
      return is && shown(fed) === shown(watching);
    });
    assert.equal(lost, []);
    assert.ok(fed.isFed);
  });
});

/** What a member heard on the feeds' subjects, with the replies. */
function heard(raw: Awaited<ReturnType<typeof connectAs>>) {
  const all: { subject: string; data: Uint8Array; reply: string }[] = [];
  raw.connection.subscribe("mesh.feed.*", {
    callback: (error, { subject, data, reply = "" }) => {
      if (!error) all.push({ subject, data, reply });
    },
  });
  return all;
}

test("a member gets nothing into another's feed: not its own, not an old batch again", async () => {
  await withScene(async ({ mesh, fed, watching, members, lost }) => {
    const [, , third] = members as [Joined, Joined, Joined];
    const { nodeId } = third.identity;
    const raw = await connectAs(mesh, third);
    const all = heard(raw);
    await eventually("a batch came", () => all.length > 0);
    const { subject = "", data = new Uint8Array() } = all[0] ?? {};
    raw.connection.publish(subject, data);
    await eventually("the server refuses it", () => raw.refused.includes(`publish ${subject}`));
    // The server delivers a record wherever its reader says, and acknowledges wherever its writer
    // says; what a member may read it has answered anywhere.
    const own = `$KV.mesh.nodes.${nodeId}`;
    raw.connection.publish(own, data, { reply: subject });
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    await manager.consumers.add("KV_mesh", {
      ...{ name: nodeId, filter_subject: own, ack_policy: AckPolicy.None },
      ...{ deliver_policy: DeliverPolicy.LastPerSubject, deliver_subject: subject },
    });
    // One of his own making: it would make who believed it think that nothing is left to come.
    const controllerId = subject.split(".").at(-1) ?? "";
    const forged = stretchText({ controllerId, from: 0, to: 2 ** 40, digest: null }, []);
    raw.publish(own, `${"A".repeat(86)}\n${forged}`);
    const question = JSON.stringify({ last_by_subj: own });
    raw.publish("$JS.API.STREAM.MSG.GET.KV_mesh", question, subject);
    raw.publish(`mesh.node.${nodeId}.feed`, '{"since":0}', subject);
    await eventually("the old batch was delivered there again", () =>
      all.some(({ reply }) => reply.startsWith("$JS.ACK.")),
    );
    await eventually("acknowledgment and answer, too", () =>
      ['"stream"', "stream_msg_get"].every((part) =>
        all.some((one) => Buffer.from(one.data).includes(part)),
      ),
    );
    const isForged = ({ data: one }: { data: Uint8Array }) => Buffer.from(one).includes(forged);
    await eventually("the forged one, too", () => all.some(isForged));
    assert.not.ok(all.some((one) => Buffer.from(one.data).toString().startsWith("meshd-feed")));
    assert.ok(mesh.log.some(({ event }) => event === "reply-refused"));
    await watching.writeNode(factsOf(2, { mtu: 1234 }));
    const { nodeId: second } = watching;
    await eventually(
      "what is new still comes",
      () => fed.snapshot()?.nodes.get(second)?.mtu === 1234,
    );
    assert.equal(lost, []);
    assert.ok(fed.isFed);
  });
});

/** As a controller of an earlier version gave them: no word of feeds. */
async function withOldRights({ mesh }: TestMesh, member: Joined): Promise<Joined> {
  const { signer } = await loadSecrets(mesh);
  const { nodeId, name } = member.membership;
  const { publish, subscribe, ...rest } = nodePermissions(mesh.name, nodeId);
  const without = (subjects: string[]) => subjects.filter((one) => !/feed/.test(one));
  const permissions = { ...rest, publish: without(publish), subscribe: without(subscribe) };
  const jwt = await userJwt({ name, key: nodeId, account: mesh.accountKey, signer, permissions });
  return { ...member, membership: { ...member.membership, jwt } };
}

test("where credentials or controllers know no feeds, members watch", async () => {
  await withScene(async ({ mesh, members: [, , third] }) => {
    assert.ok(third);
    const old = await mesh.session(await withOldRights(mesh, third));
    await old.ready(10_000);
    assert.not.ok(old.isFed);
    const { identity, membership } = third;
    const link = await Link.open({
      servers: [mesh.server.url],
      user: () => ({ jwt: membership.jwt, seed: identity.seed }),
      ca: () => membership.ca ?? null,
      ...{ inbox: inboxOf.node(identity.nodeId), name: "test" },
    });
    mesh.later(() => link.close());
    const ledger = new Ledger(membership);
    // Any question that a controller refuses as one that it does not know.
    const feed = { ...feedOf(membership), asking: `mesh.node.${identity.nodeId}.present` };
    const times = { relist_ms: 300_000, beatMissing_ms: 7_000 };
    const view = new View({ ledger, consumer: identity.nodeId, feed, ...times });
    mesh.later(() => view.close());
    view.attach(link, new Bucket(link, "mesh"));
    await eventually("it is listed by a watch", () => ledger.complete && !view.isListing);
    assert.not.ok(view.isFeed);
  });
});

test.run();
