// Calls under attack, without sockets: who proves nothing ends, uses up and learns nothing that is
// another's.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { OfferedCall } from "../../src/calls/control-port.js";
import { CallWorld, dialTo, type TestNode } from "../support/call-world.js";

const SERVER = "192.0.2.1";
const ATTACKER = "192.0.2.66";

/** A server with users, and how often it looked at each one's password. */
async function served(...users: string[]) {
  const world = new CallWorld();
  const server = world.node(SERVER);
  for (const user of users) server.addUser(user, `${user}'s`);
  const looked = new Map<string, number>();
  const get = server.accounts.get.bind(server.accounts);
  server.accounts.get = (user: string) => {
    const name = user.toLowerCase();
    looked.set(name, (looked.get(name) ?? 0) + 1);
    return get(name);
  };
  await server.serve();
  return { world, server, looked };
}

/** Asks for a call and says nothing more. */
function silent(server: TestNode, source: string, phoneNumber = ""): { answer: () => string } {
  let answer = "none";
  let ended: Parameters<OfferedCall["onEnd"]>[0] = () => undefined;
  server.onCall?.(
    { source, hostName: "x", phoneNumber },
    {
      accept: () => {
        answer = "accepted";
      },
      refuse: (why) => {
        answer = why;
      },
      clear: (why) => {
        answer = "cleared";
        ended(why);
      },
      onConnected: () => undefined,
      onEnd: (handler) => {
        ended = handler;
      },
      onStatistics: () => undefined,
    },
  );
  return { answer: () => answer };
}

const pairEnd = (nodeId: string, address: string, [local, remote]: [string, string]) => ({
  ...{ nodeId, name: nodeId, address, local, remote, interfaceId: null },
});

async function paired() {
  const world = new CallWorld();
  const low = world.node("192.0.2.11", { ownId: "UA" });
  const high = world.node("192.0.2.12", { ownId: "UB" });
  low.secrets.set("UB", "s");
  high.secrets.set("UA", "s");
  await high.update({ pairs: [pairEnd("UA", low.address, ["10.244.2.0", "10.244.1.0"])] });
  await low.update({ pairs: [pairEnd("UB", high.address, ["10.244.1.0", "10.244.2.0"])] });
  world.clock.pass(3000);
  assert.is(high.calls.facts().length, 1);
  return { world, low, high };
}

test("who only says a member's name does not end that member's call", async () => {
  const { world, low, high } = await paired();
  for (let i = 0; i < 40; i++) silent(high, low.address, "UA");
  assert.is(high.calls.facts().length, 1);
  // The call that stands, and four that may yet prove something.
  assert.is(high.calls.list().length, 5);
  const dialled = low.lines.length;
  world.clock.pass(5000);
  assert.is(low.lines.length, dialled, "the member noticed nothing");
});

test("failures at a member's address do not keep the member out", async () => {
  const { world, low, high } = await paired();
  low.secrets.set("UB", "wrong");
  await low.update({ pairs: [] });
  await low.update({ pairs: [pairEnd("UB", high.address, ["10.244.1.0", "10.244.2.0"])] });
  world.clock.pass(30_000);
  assert.ok(high.events("pptp.refused").length > 4);
  assert.equal(high.calls.facts(), []);
  low.secrets.set("UB", "s");
  await low.update({ pairs: [] });
  await low.update({ pairs: [pairEnd("UB", high.address, ["10.244.1.0", "10.244.2.0"])] });
  world.clock.pass(3000);
  assert.is(high.calls.facts().length, 1);
});

test("calls that prove nothing take few places: of one source, and of all", async () => {
  const { server } = await served();
  const first = silent(server, ATTACKER);
  for (let i = 0; i < 100; i++) silent(server, ATTACKER);
  assert.is(server.calls.list().length, 16);
  assert.is(first.answer(), "cleared", "the oldest goes first");
  for (let i = 0; i < 1000; i++) silent(server, `192.0.${3 + (i >> 7)}.${i & 127}`);
  assert.is(server.calls.list().length, 256);
  assert.is(server.port.places.size, 256);
});

test("a user who is proven stays, whoever asks for calls", async () => {
  const { world, server } = await served("alice");
  await world.node(ATTACKER).update({ dials: [dialTo(SERVER, "alice", "alice's")] });
  world.clock.pass(2000);
  for (let i = 0; i < 300; i++) silent(server, ATTACKER);
  for (let i = 0; i < 600; i++) silent(server, `192.0.${3 + (i >> 7)}.${i & 127}`);
  assert.is(server.calls.facts().length, 1);
});

test("a name in other case is the same user", async () => {
  const { world, server, looked } = await served("alice");
  for (let i = 0; i < 40; i++) {
    const name = [..."alice"].map((letter, at) => ((i >> at) & 1 ? letter.toUpperCase() : letter));
    const client = world.node(`192.0.3.${i}`);
    await client.update({ dials: [dialTo(SERVER, name.join(""), "wrong")] });
    world.clock.pass(700);
    await client.update({ dials: [] });
    world.clock.pass(100);
  }
  assert.is(server.events("pptp.refused").length, 40);
  assert.is(looked.get("alice"), 20);
  world.clock.pass(60_000);
  const late = world.node("192.0.4.1");
  await late.update({ dials: [dialTo(SERVER, "Alice", "alice's")] });
  world.clock.pass(2000);
  assert.is(server.calls.facts().length, 1, "a minute later the user is heard again");
});

test("tries of one source count, though all its calls began before the first failed", async () => {
  const { world, server, looked } = await served("alice");
  const users = Array.from({ length: 16 }, (_, i) => `user${i}`);
  await world.node(ATTACKER).update({ dials: users.map((user) => dialTo(SERVER, user, "x")) });
  world.clock.pass(900);
  assert.is(server.events("pptp.refused").length, 16);
  assert.is(
    [...looked.values()].reduce((sum, count) => sum + count, 0),
    5,
  );
});

test("an account that is right buys its source no more tries", async () => {
  const { world, looked } = await served("alice", "eve");
  const client = world.node(ATTACKER);
  for (let i = 0; i < 15; i++) {
    await client.update({ dials: [dialTo(SERVER, "alice", `guess ${i}`)] });
    world.clock.pass(700);
    await client.update({ dials: [dialTo(SERVER, "eve", "eve's")] });
    world.clock.pass(1200);
  }
  assert.is(looked.get("alice"), 5);
});

test("a user has eight sessions at most: the oldest goes, and its address with it", async () => {
  const { world, server } = await served("alice");
  let next = 0;
  const { addresses } = (server.calls as unknown as { options: { addresses: TestBook } }).options;
  const free = new Set<string>();
  addresses.take = () => `10.244.1.${++next}`;
  addresses.release = (address) => void free.add(address);
  for (let i = 0; i < 10; i++) {
    const name = i % 2 === 0 ? "alice" : "ALICE";
    await world.node(`192.0.3.${i}`).update({ dials: [dialTo(SERVER, name, "alice's")] });
    // Twice this is less than the 750 ms after which the first that was sent away dials again.
    world.clock.pass(350);
  }
  assert.is(server.calls.facts().length, 8);
  assert.equal([...free], ["10.244.1.1", "10.244.1.2"]);
});

interface TestBook {
  take: () => string;
  release: (address: string) => void;
}

test("a node that stops does not wait for callers that never began", async () => {
  const { server } = await served("alice");
  for (let i = 0; i < 3; i++) silent(server, ATTACKER);
  assert.is(server.calls.list().length, 3);
  // No time passes here: what is waited for must have come.
  await server.calls.stop();
  assert.equal(server.calls.list(), []);
  assert.is(server.port.places.size, 0);
});

test.run();
