// How a control connection begins and ends: versions, deadlines, stops, collisions.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Collisions, outranks, StartResult } from "../../src/pptp/index.js";
import { DIAL, End, exchange, hasFields, PAC_ID, PNS_ID, pair, START, started } from "./ends.js";

test("versions: another revision is good, another version is refused by both", () => {
  const revision = new End({});
  revision.control.start(0);
  revision.hear({ kind: "startRequest", ...START, version: 0x0105 });
  hasFields(revision.take()[0], { kind: "startReply", result: 1, version: 0x0100 });
  const server = new End({});
  server.control.start(0);
  server.hear({ kind: "startRequest", ...START, version: 0x0200 });
  hasFields(server.take()[0], { kind: "startReply", result: 5, version: 0x0100 });
  assert.is(server.closed?.code, "MESHD_PPTP_REFUSED");
  for (const [more, reason] of [
    [{ result: 5, version: 0x0200 }, "the other end refuses: bad version"],
    [{ result: 1, version: 0x0200 }, "the other end refuses: version 2"],
    [{ result: 2, error: 4 }, "the other end refuses: general error (no resource)"],
    [{ result: 4 }, "the other end refuses: not authorized"],
    [{ result: 77 }, "the other end refuses: result 77"],
  ] as const) {
    const client = new End({ opens: true });
    client.control.start(0);
    client.hear({ kind: "startReply", ...START, error: 0, ...more });
    assert.equal(client.closed, { code: "MESHD_PPTP_REFUSED", message: reason });
  }
  const modem = new End({ opens: true });
  modem.control.start(0);
  modem.hear({ kind: "startReply", ...START, error: 0, result: 0 });
  assert.is(modem.control.state, "established");
});

test("each wait has its end: start, message, echo, replies, clearing, stop", () => {
  const silent = new End({});
  silent.control.start(0);
  silent.pass(59_999);
  assert.is(silent.closed, null);
  silent.pass(1);
  assert.is(silent.closed?.code, "MESHD_PPTP_TIMEOUT");

  const slow = started();
  slow.control.receive(Uint8Array.of(0, 16), 0);
  slow.pass(5_000);
  slow.control.receive(Uint8Array.of(0), slow.now_ms);
  slow.pass(4_999);
  assert.is(slow.closed, null);
  slow.pass(1);
  assert.is(slow.closed?.message, "a message that began did not end in time");

  const [dialling, server] = pair();
  dialling.control.dial({ id: PNS_ID, window: 1 }, 0);
  dialling.pass(60_000);
  assert.is(dialling.closed?.message, "a reply about a call did not come in time");
  assert.is(dialling.ended[0]?.end.by, "connection");
  dialling.take();
  assert.is(server.closed, null);

  const [clearing, other] = pair();
  const call = clearing.control.dial({ id: PNS_ID, window: 1 }, 0);
  clearing.control.hangUp(call, "request", 0);
  clearing.control.hangUp(call, "request", 0);
  assert.is(clearing.take().length, 2);
  clearing.pass(60_000);
  assert.is(clearing.closed?.code, "MESHD_PPTP_TIMEOUT");
  assert.is(clearing.ended.length, 1);

  other.control.stop(0);
  assert.equal(other.take(), [{ kind: "stopRequest", reason: 3 }]);
  other.pass(60_000);
  assert.is(other.closed?.code, "MESHD_PPTP_TIMEOUT");
});

test("an idle connection is asked for life every minute, and ends without an answer", () => {
  const end = started();
  end.pass(59_999);
  assert.equal(end.take(), []);
  end.pass(1);
  assert.equal(end.take(), [{ kind: "echoRequest", identifier: 1 }]);
  end.hear({ kind: "echoReply", identifier: 1, result: 1, error: 0 });
  end.pass(30_000);
  end.hear({ kind: "echoRequest", identifier: 0xffffffff });
  hasFields(end.take()[0], { kind: "echoReply", identifier: 0xffffffff, result: 1 });
  end.pass(59_999);
  assert.equal(end.take(), [], "what came counts as life");
  end.pass(1);
  assert.equal(end.take(), [{ kind: "echoRequest", identifier: 2 }]);
  end.hear({ kind: "echoRequest", identifier: 5 });
  end.pass(60_000);
  assert.is(end.closed?.message, "no answer to Echo-Request");
});

test("a user who does not answer a call has refused it, in time for the other end", () => {
  const end = started();
  end.hear(DIAL);
  end.pass(30_000);
  hasFields(end.take()[0], { kind: "outgoingCallReply", result: 6, peerCallId: 0x1234 });
  assert.is(end.ended.length, 1);
  assert.is(end.closed, null);
});

test("a connection without a call is stopped after its time, not at the end of a long call", () => {
  const end = started({ timers: { callless_ms: 20_000, idle_ms: 1e9 } });
  end.pass(10_000);
  end.hear(DIAL);
  const [asked] = end.requested;
  assert.ok(asked !== undefined);
  end.control.accept(asked, { id: 1, window: 1 }, end.now_ms);
  end.pass(3_600_000);
  end.hear({ kind: "callClearRequest", callId: 0x1234 });
  end.take();
  end.pass(19_999);
  assert.equal(end.take(), []);
  end.pass(1);
  assert.equal(end.take(), [{ kind: "stopRequest", reason: 1 }]);
});

test("stop hangs up all calls first, and crossing stops end both", () => {
  const [client, server] = pair();
  client.control.dial({ id: PNS_ID, window: 16 }, 0);
  exchange(client, server);
  const asked = server.requested[0];
  assert.ok(asked !== undefined);
  server.control.accept(asked, { id: PAC_ID, window: 1 }, 0);
  client.control.offer({ id: 7, window: 16 }, 0);
  exchange(client, server);
  server.control.stop(0);
  client.control.stop(0);
  assert.equal(
    server.sent.map((bytes) => bytes[9]),
    [13, 10, 3],
  );
  exchange(client, server);
  assert.equal([client.ended.length, server.ended.length], [2, 2]);
  assert.equal([client.closed?.code, server.closed?.code], Array(2).fill("MESHD_PPTP_STOPPED"));
  assert.throws(() => client.control.dial({ id: 1, window: 1 }, 0), /is closed/);
  client.control.stop(0);
  client.control.transportClosed("late");
  const early = new End({ opens: true });
  early.control.start(0);
  early.control.stop(0);
  assert.is(early.closed?.code, "MESHD_PPTP_STOPPED");
});

test("who sends more messages in a minute than it may is cut", () => {
  const end = started({ messagesMax: 10 });
  const ask = () => end.hear({ kind: "echoRequest", identifier: 1 });
  for (let count = 0; count < 9; count++) ask();
  end.pass(60_000);
  for (let count = 0; count < 10; count++) ask();
  assert.is(end.closed, null);
  end.take();
  ask();
  assert.equal([end.closed?.code, end.take()], ["MESHD_PPTP_FLOOD", []]);
});

test("both ends open at once: the higher address's connection stays", () => {
  assert.ok(outranks("10.0.0.2", "9.255.255.255") && !outranks("10.0.0.2", "10.0.0.10"));
  assert.ok(outranks("200.0.0.1", "100.0.0.1") && !outranks("10.0.0.2", "10.0.0.2"));
  assert.ok(outranks("fd00::2", "fd00::1") && outranks("fe80::1:0", "fe80::ffff%eth0"));
  const book = new Collisions();
  let lost = 0;
  const leave = book.add("192.0.2.9", { collided: () => lost++ });
  assert.is(book.met("192.0.2.10", "192.0.2.9"), StartResult.ALREADY_EXISTS);
  assert.is(book.met("192.0.2.1", "192.0.2.8"), StartResult.OK);
  assert.equal([book.met("192.0.2.1", "192.0.2.9"), lost], [StartResult.OK, 1]);
  leave();
  assert.is(book.met("192.0.2.10", "192.0.2.9"), StartResult.OK);
  // On one TCP connection, too.
  const higher = new End({ opens: true, outranks: true });
  const lower = new End({ opens: true, outranks: false });
  higher.control.start(0);
  lower.control.start(0);
  exchange(higher, lower);
  assert.equal([higher.control.state, lower.control.state], ["established", "established"]);
  const loser = new End({ opens: true });
  loser.control.start(0);
  loser.control.collided();
  assert.is(loser.closed?.code, "MESHD_PPTP_COLLISION");
});

test("a start that its user does not want is refused and closed", () => {
  const end = new End({}, { admit: () => StartResult.NOT_AUTHORIZED });
  end.control.start(0);
  end.hear({ kind: "startRequest", ...START });
  hasFields(end.take()[0], { kind: "startReply", result: 4 });
  assert.equal(end.closed?.message, "we refused it: not authorized");
});

test.run();
