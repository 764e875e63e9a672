// Calls between nodes without sockets and on virtual time: users, foreign servers, members.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ntHash } from "../../src/calls/index.js";
import { CallWorld, dialTo, type TestNode } from "../support/call-world.js";

const SERVER = "192.0.2.1";
const CLIENT = "192.0.2.2";

async function dialled(password = "right"): Promise<{
  world: CallWorld;
  server: TestNode;
  client: TestNode;
}> {
  const world = new CallWorld();
  const [server, client] = [world.node(SERVER), world.node(CLIENT)];
  server.addUser("alice", "right");
  await server.serve();
  await client.update({ dials: [dialTo(SERVER, "alice", password, { routes: ["10.9.0.0/16"] })] });
  world.clock.pass(5000);
  return { world, server, client };
}

test("a user dials in: both ends say what was agreed on", async () => {
  const { server, client } = await dialled();
  const [there] = server.calls.facts();
  const [here] = client.calls.facts();
  assert.is(there?.name, "alice");
  assert.is(there?.kind, "dial-in");
  assert.is(there?.remote, "10.244.1.254");
  assert.is(there?.address, CLIENT);
  assert.is(here?.local, "10.244.1.254");
  assert.is(here?.remote, "10.244.1.0");
  assert.equal(here?.routes, ["10.9.0.0/16"]);
  assert.equal([there?.encrypted, here?.encrypted], [true, true]);
  // 1,500 less 44 of underlay headers is asked for; MPPE takes four bytes of that.
  assert.equal([there?.mtu, here?.mtu], [1452, 1452]);
  assert.is(server.calls.list()[0]?.encryption, "MPPE 128-bit stateless (insecure)");
});

test("a wrong password is said at both ends, and tries of one source have an end", async () => {
  const { world, server, client } = await dialled("wrong");
  assert.equal(server.calls.facts(), []);
  assert.is(server.events("pptp.refused")[0]?.user, "alice");
  assert.ok(client.calls.list()[0]?.problem, "the dialling end says why");
  await client.update({ dials: [dialTo(SERVER, "alice", "wrong too")] });
  world.clock.pass(15_000);
  assert.is(server.events("pptp.refused").length, 5);
  assert.ok(server.events("pptp.source.refused").length > 0);
  assert.is(server.given.size, 0);
  assert.is(server.port.places.size, 0, "no place is lost");
});

test("who is refused three times in a row dials no more, and says how to go on", async () => {
  const { world, server, client } = await dialled("wrong");
  world.clock.pass(3_600_000);
  assert.is(server.events("pptp.refused").length, 3);
  assert.match(client.calls.problems()[0] ?? "", /refused 3 times.*meshd pptp dial 192\.0\.2\.1/);
  assert.is(client.port.places.size, 0);
  await client.update({ dials: [dialTo(SERVER, "alice", "right")] });
  world.clock.pass(5000);
  assert.is(client.calls.facts().length, 1);
  assert.equal(client.calls.problems(), []);
});

test("an account that goes, is disabled, expires or is changed ends its session", async () => {
  const ends: [string, (server: TestNode) => void][] = [
    ["the account was removed", (server) => server.accounts.clear()],
    ["the account is disabled", (server) => server.addUser("alice", "right", { disabled: true })],
    [
      "the account is expired",
      (server) => server.addUser("alice", "right", { expires: "2020-01-01T00:00:00Z" }),
    ],
    ["the password was changed", (server) => server.addUser("alice", "other")],
    [
      "the account's address was changed",
      (server) => server.addUser("alice", "right", { address: "10.244.1.9" }),
    ],
  ];
  for (const [why, change] of ends) {
    const { world, server, client } = await dialled();
    assert.is(server.calls.facts().length, 1, why);
    server.calls.checkAccounts();
    world.clock.pass(100);
    assert.is(server.calls.facts().length, 1, `${why}: not before`);
    change(server);
    server.calls.checkAccounts();
    world.clock.pass(500);
    assert.is(server.calls.facts().length, 0, why);
    assert.is(client.calls.facts().length, 0, why);
    assert.match(String(server.events("pptp.ended")[0]?.reason), why);
    assert.is(server.given.size, 0, why);
  }
});

test("a disabled or expired user is not let in", async () => {
  for (const more of [{ disabled: true }, { expires: "2020-01-01T00:00:00Z" }]) {
    const world = new CallWorld();
    const [server, client] = [world.node(SERVER), world.node(CLIENT)];
    server.addUser("alice", "right", more);
    await server.serve();
    await client.update({ dials: [dialTo(SERVER, "alice", "right")] });
    world.clock.pass(500);
    assert.equal(server.calls.facts(), []);
    assert.match(client.calls.list()[0]?.problem ?? "", /disabled|expired/);
  }
});

test("a fixed address goes to the newest session of its user", async () => {
  const world = new CallWorld();
  const [server, first, second] = [SERVER, CLIENT, "192.0.2.3"].map((one) => world.node(one));
  assert.ok(server && first && second);
  server.addUser("alice", "right", { address: "10.244.1.77" });
  await server.serve();
  await first.update({ dials: [dialTo(SERVER, "alice", "right")] });
  world.clock.pass(500);
  assert.is(first.calls.facts()[0]?.local, "10.244.1.77");
  world.cut.add(CLIENT);
  await second.update({ dials: [dialTo(SERVER, "alice", "right")] });
  world.clock.pass(500);
  assert.is(second.calls.facts()[0]?.local, "10.244.1.77");
  assert.is(server.calls.facts().length, 1);
});

test("without required encryption a call ends; an optional one goes on in clear", async () => {
  for (const [rule, up] of [
    ["required-128", 0],
    ["optional", 1],
  ] as const) {
    const world = new CallWorld();
    const [server, client] = [world.node(SERVER), world.node(CLIENT)];
    server.addUser("alice", "right");
    await server.serve(rule);
    await client.update({ dials: [dialTo(SERVER, "alice", "right", { encryption: "off" })] });
    world.clock.pass(20_000);
    const facts = server.calls.facts();
    assert.is(facts.length, up, rule);
    assert.is(facts[0]?.encrypted ?? false, false);
    if (up === 1) assert.is(facts[0]?.mtu, 1456);
  }
});

test("a client that falls silent is given up, and its address is free", async () => {
  const { world, server } = await dialled();
  world.cut.add(CLIENT);
  world.clock.pass(45_000);
  assert.is(server.calls.facts().length, 1, "not before the echoes stay unanswered");
  world.clock.pass(60_000);
  assert.is(server.calls.facts().length, 0);
  assert.is(server.given.size, 0);
});

test("pauses between dials grow, and a server that comes is found", async () => {
  const world = new CallWorld();
  const [server, client] = [world.node(SERVER), world.node(CLIENT)];
  server.addUser("alice", "right");
  await client.update({ dials: [dialTo(SERVER, "alice", "right")] });
  world.clock.pass(60_000);
  const tries = client.events("pptp.dial.failed").length;
  assert.ok(tries >= 4 && tries <= 8, `${tries} tries in a minute`);
  assert.is(client.calls.list()[0]?.problem, "nobody listens");
  await server.serve();
  world.clock.pass(75_000);
  assert.is(client.calls.facts().length, 1);
  assert.is(client.calls.list()[0]?.problem, null);
});

test("an administrator ends one session; hanging up ends a dial for good", async () => {
  const { world, server, client } = await dialled();
  const slot = server.calls.list()[0]?.slot ?? -1;
  assert.is(server.calls.disconnect(999), false);
  assert.is(server.calls.disconnect(slot), true);
  world.clock.pass(50);
  assert.is(server.calls.facts().length, 0);
  world.clock.pass(10_000);
  assert.is(server.calls.facts().length, 1, "the client dials again");
  await client.update({ dials: [] });
  world.clock.pass(200);
  assert.is(server.calls.facts().length, 0);
  assert.equal(client.calls.list(), []);
  world.clock.pass(120_000);
  assert.is(server.calls.facts().length, 0);
  assert.is(client.port.places.size, 0);
});

test("a dial that is dropped is in no list at once, and the next one has no past", async () => {
  const { world, client } = await dialled("wrong");
  assert.ok(client.calls.list()[0]?.problem);
  client.calls.dropDial("192.0.2.99");
  assert.is(client.calls.list().length, 1, "of another server: nothing");
  client.calls.dropDial(SERVER);
  assert.equal(client.calls.list(), []);
  await client.update({ dials: [dialTo(SERVER, "alice", "right")] });
  assert.is(client.calls.list()[0]?.problem, null);
  world.clock.pass(5000);
  assert.is(client.calls.facts().length, 1);
});

test("packets of a call that is hung up pass until it is over", async () => {
  const { world, client } = await dialled();
  await client.update({ dials: [] });
  assert.is(client.calls.isOpen, true);
  world.clock.pass(200);
  await client.update({ dials: [] });
  assert.is(client.calls.isOpen, false);
  assert.match(String(client.events("pptp.ended")[0]?.reason), "not wanted any more");
});

test("a node that stops tells its clients by PPP, and they dial again", async () => {
  const { world, server, client } = await dialled();
  const stopped = server.calls.stop();
  world.clock.pass(2000);
  await stopped;
  assert.match(String(client.events("pptp.ended")[0]?.reason), /node stops|terminate/i);
  assert.is(server.port.places.size, 0);
  assert.is(server.onCall, null);
});

const pairEnd = (nodeId: string, address: string, [local, remote]: [string, string]) => ({
  ...{ nodeId, name: nodeId, address, local, remote, interfaceId: null },
});

async function paired(secrets: [string, string] = ["s", "s"]) {
  const world = new CallWorld();
  const low = world.node("192.0.2.11", { ownId: "UA" });
  const high = world.node("192.0.2.12", { ownId: "UB" });
  low.secrets.set("UB", secrets[0]);
  high.secrets.set("UA", secrets[1]);
  await high.update({ pairs: [pairEnd("UA", low.address, ["10.244.2.0", "10.244.1.0"])] });
  await low.update({ pairs: [pairEnd("UB", high.address, ["10.244.1.0", "10.244.2.0"])] });
  world.clock.pass(3000);
  return { world, low, high };
}

test("of two members the lower one dials, and both have the call", async () => {
  const { low, high } = await paired();
  const [a] = low.calls.facts();
  const [b] = high.calls.facts();
  assert.equal([a?.kind, a?.nodeId, a?.encrypted], ["pair", "UB", true]);
  assert.equal([b?.kind, b?.nodeId, b?.encrypted], ["pair", "UA", true]);
  assert.equal([a?.mtu, b?.mtu], [1456, 1456]);
  assert.is(low.onCall !== null, true, "both listen: a third member may be lower");
});

test("another window or other rules for users end no call that stands", async () => {
  const { world, low, high } = await paired();
  await low.serve("optional");
  for (const node of [low, high]) await node.update({ windowMode: "strict", stateful: true });
  world.clock.pass(5000);
  assert.equal([low.calls.facts().length, high.calls.facts().length], [1, 1]);
  assert.equal([...low.events("pptp.ended"), ...high.events("pptp.ended")], []);
});

test("an administrator ends users' sessions alone, not a member's call", async () => {
  const { world, high } = await paired();
  const [fact] = high.calls.facts();
  assert.is(high.calls.disconnect(fact?.slot ?? -1), false);
  world.clock.pass(100);
  assert.is(high.calls.facts().length, 1);
});

test("members with different secrets have no call", async () => {
  const { low, high } = await paired(["s", "t"]);
  assert.equal([low.calls.facts(), high.calls.facts()], [[], []]);
  assert.ok(low.calls.list()[0]?.problem);
});

test("a lost pair call is dialled again; a member has its own address alone", async () => {
  const { world, low, high } = await paired();
  world.cut.add(low.address);
  world.clock.pass(40_000);
  assert.equal([low.calls.facts(), high.calls.facts()], [[], []]);
  world.cut.clear();
  world.clock.pass(15_000);
  assert.equal([low.calls.facts().length, high.calls.facts().length], [1, 1]);
  const thief = world.node("192.0.2.13", { ownId: "UA" });
  thief.secrets.set("UB", "s");
  await thief.update({ pairs: [pairEnd("UB", high.address, ["10.244.1.0", "10.244.2.0"])] });
  world.clock.pass(3000);
  assert.equal(thief.calls.facts(), []);
  assert.match(thief.calls.list()[0]?.problem ?? "", /not-allowed/);
});

test("a call whose keys are lost ends, and members have a new one", async () => {
  const { world, low, high } = await paired();
  const [before] = high.calls.facts();
  high.port.emit(before?.slot ?? -1, "lost-keys");
  world.clock.pass(100);
  assert.equal([low.calls.facts(), high.calls.facts()], [[], []]);
  assert.match(String(high.events("pptp.ended")[0]?.reason), /keys/);
  world.clock.pass(5000);
  const [after] = high.calls.facts();
  assert.ok(after !== undefined && after.slot !== before?.slot);
  assert.is(low.calls.facts().length, 1);
});

test("keys of a call are the same at both ends, and crosswise", async () => {
  const { low, high } = await paired();
  const keysOf = (node: TestNode) => [...node.port.places.values()][0]?.settings;
  const [a, b] = [keysOf(low), keysOf(high)];
  assert.ok(a?.send && a.receive && b?.send && b.receive);
  assert.equal(a.send.startKey, b.receive.startKey);
  assert.equal(a.receive.startKey, b.send.startKey);
  assert.not.equal(a.send.startKey, a.receive.startKey);
  assert.is(ntHash("x").length, 16);
});

test.run();
