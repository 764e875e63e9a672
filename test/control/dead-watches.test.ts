// Watches and connections that die without a word, each in its own way, against a real server: the
// reader finds out and follows again within ten seconds.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Controller, MemberSession } from "../../control/index.js";
import { eventually, factsOf, type Joined, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectAs } from "./raw.js";
import { type Frame, type Valve, type ValvedWire, valvedWire, withHeader } from "./valve.js";

/** Promised: 10 s. The rest is for a machine that is busy. */
const FOUND_MAX_MS = 13_000;

const isBatch = ({ subject }: Frame) => subject.startsWith("mesh.feed.");
const isDelivery = ({ reply }: Frame) => reply.startsWith("$JS.ACK.");
const isOfWatch = (frame: Frame) => isDelivery(frame) || frame.subject.includes(".watch.");

/** Keeps back what `picks` finds of the one subscription that it meets first. */
function withoutOne(picks: (frame: Frame) => boolean): Valve {
  let only: number | undefined;
  return (frame) => {
    if (!picks(frame)) return frame.bytes;
    only ??= frame.subscription;
    return frame.subscription === only ? null : frame.bytes;
  };
}

/**
 * As paused consumers: those that are there already deliver no more, and say that nothing is left
 * to deliver. New ones do.
 */
function paused(): Valve {
  const lasts = new Map<number, number>();
  return (frame) => {
    const { reply, subscription, headers, bytes } = frame;
    if (isDelivery(frame)) {
      // $JS.ACK.<stream>.<consumer>.<tries>.<stream sequence>.<consumer sequence>...
      const before = Number(reply.split(".")[6]) - 1;
      if (!lasts.has(subscription)) lasts.set(subscription, before);
      return lasts.get(subscription) === 0 ? bytes : null;
    }
    const last = lasts.get(subscription) ?? 0;
    if (last === 0 || !headers.includes("Nats-Last-Consumer")) return bytes;
    return withHeader(frame, "Nats-Last-Consumer", last);
  };
}

const withoutMessages: Valve = (frame) => (/^H?MSG$/.test(frame.verb) ? null : frame.bytes);
const withoutAnything: Valve = () => null;

/** One batch that carries something is lost, all others come. */
function withoutOneBatch(): Valve {
  let isDone = false;
  return (frame) => {
    if (isDone || !isBatch(frame) || !frame.bytes.includes("config")) return frame.bytes;
    isDone = true;
    return null;
  };
}

interface Case {
  what: string;
  /** A watch of its own instead of a controller's feed. */
  feed?: boolean;
  break(wire: ValvedWire, mesh: TestMesh, member: Joined): Promise<void> | void;
}

const watchCases: Case[] = [
  {
    what: "its consumer is deleted",
    break: async (_, mesh, member) => {
      const { connection } = await connectAs(mesh, member);
      const manager = await connection.jetstreamManager({ checkAPI: false });
      assert.ok(await manager.consumers.delete("KV_mesh", member.identity.nodeId));
    },
  },
  { what: "deliveries are lost", break: (wire) => wire.set(withoutOne(isDelivery)) },
  {
    what: "deliveries are lost for good",
    break: (wire) => wire.set((frame) => (isDelivery(frame) ? null : frame.bytes), "these"),
  },
  { what: "its consumer is paused", break: (wire) => wire.set(paused()) },
  { what: "nothing of the watch comes", break: (wire) => wire.set(withoutOne(isOfWatch)) },
  { what: "no message comes at all", break: (wire) => wire.set(withoutMessages, "these") },
  { what: "the connection hangs", break: (wire) => wire.set(withoutAnything, "these") },
];

const feedCases: Case[] = [
  { what: "its feed stops", break: (wire) => wire.set(withoutOne(isBatch)) },
  { what: "its feed loses a batch", break: (wire) => wire.set(withoutOneBatch()) },
  {
    what: "no feed comes, answers do",
    break: (wire) => wire.set((frame) => (isBatch(frame) ? null : frame.bytes)),
  },
  { what: "a feed, no message comes at all", break: (wire) => wire.set(withoutMessages, "these") },
];

interface Watched extends Case {
  member: Joined;
  session: MemberSession;
  wire: ValvedWire;
}

/** A member whose session runs over a wire of its own. */
async function watched(mesh: TestMesh, token: string, index: number, one: Case): Promise<Watched> {
  const member = await joinNode(token, index);
  const wire = await valvedWire(mesh.server.port);
  mesh.later(() => wire.close());
  const { feed = true } = one;
  const session = await mesh.session(member, { servers: [wire.url], feed });
  await session.ready(10_000);
  return { ...one, member, session, wire };
}

/** A second controller over a wire of its own; gives why it gave watches up, and when. */
async function watchedController(mesh: TestMesh): Promise<{ wire: ValvedWire; lost: string[] }> {
  const wire = await valvedWire(mesh.server.port);
  mesh.later(() => wire.close());
  const lost: string[] = [];
  const log = (event: string, { reason }: Record<string, unknown>) => {
    if (event === "watch-lost") lost.push(String(reason));
  };
  await mesh.controller({ servers: [wire.url], beat_ms: 5_000, log });
  return { wire, lost };
}

/** Milliseconds until a session knows the MTU. */
async function found(session: MemberSession, mtu: number): Promise<number> {
  const begun = performance.now();
  await eventually("it follows", () => session.snapshot()?.config.mtu === mtu, 30_000);
  return performance.now() - begun;
}

test("a watch that dies without a word is replaced within ten seconds", async () => {
  await withMesh({ tls: false }, async (mesh) => {
    await mesh.controller({ beat_ms: 5_000 });
    const admin = await mesh.admin();
    const whole = [...watchCases.map((one) => ({ ...one, feed: false })), ...feedCases];
    const { token } = await admin.tokens.create({ uses: whole.length });
    const second = await watchedController(mesh);
    const all = await Promise.all(whole.map((one, at) => watched(mesh, token, at + 1, one)));
    await eventually("all have heard a heartbeat", () =>
      all.every(({ session }) => session.viewAge_ms() < 4_000),
    );
    await Promise.all(all.map((one) => one.break(one.wire, mesh, one.member)));
    second.wire.set(paused());
    await admin.config.set("mtu", 1300);
    await admin.tokens.create();
    const begun = performance.now();
    const times = await Promise.all(all.map(({ session }) => found(session, 1300)));
    const said = times.map((ms, at) => `${all[at]?.what}: ${(ms / 1000).toFixed(1)} s`);
    console.log(`    ${said.join("; ")}`);
    assert.ok(
      times.every((ms) => ms < FOUND_MAX_MS),
      said.join("; "),
    );
    // Members' bucket and that of secrets, which has no heartbeat.
    await eventually("the controller found both", () => second.lost.length === 2);
    assert.ok(performance.now() - begun < FOUND_MAX_MS);
    const proof = "the store has what was not delivered";
    assert.equal(second.lost, [proof, proof]);
    const anew = all.filter(({ wire }) => wire.connections > 1).map(({ what }) => what);
    const hopeless = whole.filter(({ what }) => /for good|at all|hangs/.test(what));
    assert.equal(
      anew,
      hopeless.map(({ what }) => what),
    );
  });
});

interface Loss {
  what: string;
  /** Whether another controller runs. */
  hasOther: boolean;
  break(wire: ValvedWire, controller: Controller): Promise<void> | void;
}

const losses: Loss[] = [
  { what: "it is paused, another runs", hasOther: true, break: (wire) => wire.pause() },
  { what: "it is paused, there is no other", hasOther: false, break: (wire) => wire.pause() },
  {
    what: "it hears nothing and speaks, another runs",
    hasOther: true,
    break: (wire) => wire.set(withoutMessages, "these"),
  },
  {
    what: "it hears nothing and speaks, there is no other",
    hasOther: false,
    break: (wire) => wire.set(withoutMessages, "these"),
  },
  { what: "it ends, another runs", hasOther: true, break: (_, one) => one.close() },
  { what: "it ends, there is no other", hasOther: false, break: (_, one) => one.close() },
];

/** Milliseconds until a member whose feed is this controller's sees what another one writes. */
async function afterLoss(loss: Loss): Promise<number> {
  let took_ms = Number.POSITIVE_INFINITY;
  await withMesh({ tls: false }, async (mesh) => {
    const wire = await valvedWire(mesh.server.port);
    mesh.later(() => wire.close());
    const controller = await mesh.controller({ servers: [wire.url], beat_ms: 5_000 });
    const { token } = await (await mesh.admin()).tokens.create({ uses: 2 });
    const [one, other] = [await joinNode(token, 1), await joinNode(token, 2)];
    const reader = await mesh.session(one);
    const writer = await mesh.session(other, { feed: false });
    await Promise.all([reader.ready(10_000), writer.ready(10_000)]);
    const isSeen = () => reader.snapshot()?.nodes.get(other.identity.nodeId)?.mtu;
    await writer.writeNode(factsOf(2));
    await eventually("it is seen by the feed", () => isSeen() === 1450 && reader.isFed);
    if (loss.hasOther) await mesh.controller({ beat_ms: 5_000 });
    await loss.break(wire, controller);
    const begun = performance.now();
    await writer.writeNode(factsOf(2, { mtu: 1300 }));
    await eventually("what is new is seen", () => isSeen() === 1300, 30_000);
    took_ms = performance.now() - begun;
  });
  return took_ms;
}

test("members find another source when the controller is lost that feeds them", async () => {
  const times = await Promise.all(losses.map(afterLoss));
  const said = times.map((ms, at) => `${losses[at]?.what}: ${(ms / 1000).toFixed(1)} s`);
  console.log(`    ${said.join("; ")}`);
  assert.ok(
    times.every((ms) => ms < FOUND_MAX_MS),
    said.join("; "),
  );
});

test.run();
