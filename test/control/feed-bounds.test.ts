// What a controller's feed bears: members that ask over and over, a view that is blind, an end.
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Allowance } from "../../control/controller/allowance.js";
import { FeedServer } from "../../control/controller/feed.js";
import { seal } from "../../control/envelope.js";
import { readStretch } from "../../control/feed/index.js";
import { Ledger } from "../../control/ledger.js";
import { Sources } from "../../control/member/source.js";
import { View } from "../../control/member/view.js";
import { type Bucket, createKey, type Link, signingKey } from "../../control/nats/index.js";
import { codeOf, eventually, joinNode, withMesh } from "./fixture.js";
import { connectAs } from "./raw.js";

const grant = signingKey(createKey("account").seed);
const trust = { meshId: "m1", grantKey: grant.publicKey };
const feed = { ...trust, asking: "mesh.node.x.feed", subjectOf: (id: string) => `mesh.feed.${id}` };
const controllerId = createKey("user").publicKey;

/** A controller's feed without a server: what its view brings comes from here. */
class Scene {
  readonly sent: string[] = [];
  readonly server: FeedServer;
  readonly #view = new EventEmitter();
  #revision = 0;

  constructor(allowance?: Allowance) {
    const publish = (_: string, text: string) => void this.sent.push(text);
    const link = Object.assign(new EventEmitter(), { connected: true, publish });
    const options = {
      controllerId,
      mesh: { name: "mesh", meshId: trust.meshId },
      signer: grant,
      link: link as unknown as Link,
      log: () => undefined,
    };
    this.server = new FeedServer(options, ...(allowance ? [allowance] : []));
    this.server.follow(this.#view as unknown as View);
    this.#view.emit("listing");
    for (const key of ["names.a", "names.b", "names.c"]) this.write(key);
    this.#view.emit("listed");
    this.sent.length = 0;
  }

  write(key: string, value = "v"): void {
    const revision = ++this.#revision;
    this.#view.emit("entry", { key, revision, value, deleted: false, time_ms: 1 });
  }

  beat(): void {
    const record = { controllerId, time: new Date().toISOString() };
    this.write("heartbeat", seal(trust.meshId, "heartbeat", record, this.#revision + 1, grant));
  }
}

/** A member's connection to the controllers that `answering` gives, and to a store that is deaf. */
function linkTo(answering: () => Scene): Bucket {
  const request = async (_: string, text: string) => ({
    bytes: answering().server.page("x", JSON.parse(text)),
    error: null,
  });
  const link = Object.assign(new EventEmitter(), {
    ...{ connected: true, request, answers: async () => true },
    subscribe: () => ({ unsubscribe: () => undefined }),
  });
  return { link, get: () => new Promise(() => undefined) } as unknown as Bucket;
}

test("a member gets so many pages at once, and another all of its own", async () => {
  let now_ms = 0;
  const { server } = new Scene(new Allowance(2, 1, () => now_ms));
  const asked = async (nodeId: string) =>
    readStretch(server.page(nodeId, { since: 0 })).entries.length;
  assert.is(await asked("a"), 3);
  assert.is(await asked("a"), 3);
  assert.is(await codeOf(asked("a")), "MESHD_TOO_MANY");
  assert.is(await asked("b"), 3);
  now_ms = 1_000;
  assert.is(await asked("a"), 3);
  server.close();
});

test("a member that asks thousands of times gets pages for a few, and is said once", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { token } = await (await mesh.admin()).tokens.create();
    const member = await joinNode(token, 1);
    const { nodeId } = member.identity;
    const { connection } = await connectAs(mesh, member);
    let [pages, refused] = [0, 0];
    connection.subscribe(`_INBOX_${nodeId}.x.*`, {
      callback: (_, { headers }) => {
        if (!headers?.has("Nats-Service-Error")) pages++;
        else if (headers.get("Nats-Service-Error").startsWith("MESHD_TOO_MANY")) refused++;
      },
    });
    for (let at = 0; at < 3_000; at++) {
      const reply = `_INBOX_${nodeId}.x.${at}`;
      connection.publish(`mesh.node.${nodeId}.feed`, '{"since":0}', { reply });
    }
    await eventually("all are answered", () => pages + refused === 3_000);
    assert.ok(pages >= 512 && refused >= 1_000, `${pages} pages, ${refused} refused`);
    assert.ok(mesh.log.some((line) => line.event === "feed-refused"));
  });
});

test("removals in a row do not hold one another back", async () => {
  const scene = new Scene();
  const { server, sent } = scene;
  for (let at = 0; at < 60 && sent.length === 0; at++) {
    scene.write(`members.a${at}`, '{"state":"removed"}');
    await sleep(5);
  }
  assert.ok(sent.length > 0, "one went out while others came");
  server.close();
});

test("a feed that was closed keeps no timer, whatever its view still brings", () => {
  const timers = () => process.getActiveResourcesInfo().filter((one) => one === "Timeout").length;
  const before = timers();
  const scene = new Scene();
  assert.ok(timers() > before);
  scene.server.close();
  scene.write("names.d");
  assert.is(timers(), before);
});

test("a working watch is not left for a controller that has less than it brought", async () => {
  const [whole, blind] = [new Scene(), new Scene()];
  let answering = whole;
  whole.write("names.d");
  const bucket = linkTo(() => answering);
  const sources = new Sources({ consumer: "x", feed, trouble: () => undefined });
  const nothing = () => undefined;
  const handlers = { begins: nothing, entry: nothing, listed: nothing, lost: nothing };
  const source = await sources.start(
    bucket,
    { ...handlers, isCurrent: () => true },
    { timeout_ms: 1_000, isWhole: false },
  );
  assert.is(source.revision, 4);
  assert.ok(await sources.hasFeed(bucket));
  answering = blind;
  assert.not.ok(await sources.hasFeed(bucket));
  await source.stop(false);
  for (const { server } of [whole, blind]) server.close();
});

test("a page makes no view younger, a heartbeat in it does", async () => {
  const scene = new Scene();
  scene.beat();
  const bucket = linkTo(() => scene);
  const ledger = new Ledger(trust);
  const times = { relist_ms: 300_000, beatMissing_ms: 60_000 };
  const view = new View({ ledger, consumer: "x", feed, ...times });
  let listed = 0;
  view.on("listed", () => listed++);
  view.attach(bucket.link, bucket);
  await eventually("it is listed", () => listed === 1);
  const begun = performance.now();
  await sleep(50);
  view.relist();
  await eventually("it is listed again", () => listed === 2);
  const now = performance.now();
  assert.ok(view.age_ms() >= now - begun, "as old as before");
  scene.beat();
  const beaten = performance.now();
  view.relist();
  await eventually("and again", () => listed === 3);
  assert.ok(view.age_ms() <= performance.now() - beaten, "younger than the heartbeat");
  await view.close();
  scene.server.close();
});

test.run();
