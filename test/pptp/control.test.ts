// The control connection's automaton: both roles against each other, and against scripts that
// refuse, come late, come twice or make no sense.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { INSECURE } from "../../src/pptp/index.js";
import type { Message } from "../../src/pptp/messages.js";
import { DIAL, End, exchange, hasFields, PAC_ID, PNS_ID, pair, START, started } from "./ends.js";

test("client and server start, dial, tell line facts, clear and stop, cut at every byte", () => {
  for (let size = 1; size <= 221; size++) {
    const [client, server] = pair(size);
    assert.is(client.peer?.hostName, "server");
    assert.is(server.peer?.hostName, "client");
    const words = { dialed: "office", speed_bps: 64_000 };
    const call = client.control.dial({ id: PNS_ID, window: 16, ...words }, 0);
    exchange(client, server, size);
    const asked = server.requested[0];
    assert.ok(asked !== undefined);
    assert.equal([asked.role, asked.peerId, asked.window], ["pac", PNS_ID, 16]);
    assert.is(asked.dialed, "office");
    server.control.accept(asked, { id: PAC_ID, window: 32 }, 0);
    exchange(client, server, size);
    assert.equal([call.state, call.id, call.peerId, call.window], ["up", PNS_ID, PAC_ID, 32]);
    assert.equal([asked.state, asked.id], ["up", PAC_ID]);
    client.control.setLinkInfo(call, { send: 0, receive: 0xa0000 });
    exchange(client, server, size);
    assert.equal(server.linkInfo, [{ send: 0, receive: 0xa0000 }]);
    const sums = { crcErrors: 1, framingErrors: 2, hardwareOverruns: 3 };
    const errors = { ...sums, bufferOverruns: 4, timeouts: 5, alignmentErrors: 6 };
    server.control.tellErrors(asked, errors);
    exchange(client, server, size);
    assert.equal(client.wanErrors, [errors]);
    client.control.hangUp(call, "request", 0);
    exchange(client, server, size);
    assert.equal(client.ended, [{ call, end: { by: "us", reason: "hung up: request" } }]);
    assert.equal(server.ended[0]?.end, { by: "peer", reason: "cleared by the peer" });
    assert.equal([client.control.status.calls, server.control.status.calls], [[], []]);
    client.control.stop(0);
    exchange(client, server, size);
    assert.is(client.closed?.code, "MESHD_PPTP_STOPPED");
    assert.is(server.closed?.code, "MESHD_PPTP_STOPPED");
    assert.equal([client.control.status.ignored, server.control.status.ignored], [0, 0]);
  }
});

test("a server that hangs up notifies with its own call id and statistics", () => {
  const [client, server] = pair();
  const call = client.control.dial({ id: PNS_ID, window: 16 }, 0);
  exchange(client, server);
  const asked = server.requested[0];
  assert.ok(asked !== undefined);
  server.control.accept(asked, { id: PAC_ID, window: 32 }, 0);
  exchange(client, server);
  server.control.hangUp(asked, "admin", 0);
  const [notify] = server.take();
  assert.equal(notify, {
    kind: "callDisconnectNotify",
    callId: PAC_ID,
    result: 3,
    error: 0,
    cause: 0,
    statistics: "rx 1 tx 2",
  });
  client.hear(notify as Message);
  const end = { by: "peer", reason: "disconnected: admin shutdown", statistics: "rx 1 tx 2" };
  assert.equal(client.ended, [{ call, end }]);
  assert.is(client.closed, null);
});

test("an access server offers an incoming call, and both windows arrive", () => {
  for (const size of [1, 7, 1000]) {
    const [nas, server] = pair(size);
    const words = { dialed: "mesh", dialing: "line 3" };
    const call = nas.control.offer({ id: PAC_ID, window: 8, ...words }, 0);
    exchange(nas, server, size);
    const asked = server.requested[0];
    assert.ok(asked !== undefined);
    assert.equal([asked.role, asked.dialed, asked.dialing], ["pns", "mesh", "line 3"]);
    server.control.accept(asked, { id: PNS_ID, window: 24 }, 0);
    assert.is(asked.state, "connecting");
    exchange(nas, server, size);
    assert.equal([call.state, call.peerId, call.window], ["up", PNS_ID, 24]);
    assert.equal([asked.state, asked.peerId, asked.window], ["up", PAC_ID, 8]);
    // The PNS clears by request, the PAC answers with a notify.
    server.control.hangUp(asked, "request", 0);
    assert.is(asked.state, "clearing");
    exchange(nas, server, size);
    assert.equal([call.state, asked.state], ["ended", "ended"]);
    assert.is(server.ended.length, 1);
  }
});

test("calls are refused with the words of either side", () => {
  for (const [why, words] of [
    ["busy", "refused: busy"],
    ["not-allowed", "refused: not accepted"],
    ["no-resource", "refused: general error (no resource)"],
    ["timeout", "refused: timeout"],
  ] as const) {
    const [client, server] = pair();
    client.control.dial({ id: PNS_ID, window: 16 }, 0);
    exchange(client, server);
    const asked = server.requested[0];
    assert.ok(asked !== undefined);
    server.control.refuse(asked, why, 0);
    exchange(client, server);
    assert.equal(client.ended[0]?.end, { by: "peer", reason: words });
    assert.is(server.ended[0]?.end.by, "us");
    assert.is(client.closed, null);
  }
  const [nas, server] = pair();
  nas.control.offer({ id: PAC_ID, window: 16 }, 0);
  exchange(nas, server);
  const asked = server.requested[0];
  assert.ok(asked !== undefined);
  server.control.refuse(asked, "busy", 0);
  exchange(nas, server);
  assert.is(nas.ended[0]?.end.reason, "refused: not accepted");
});

test("a call that nobody wants, in a role that we have not, is refused", () => {
  const client = started({ roles: ["pns"] });
  client.hear(DIAL);
  hasFields(client.take()[0], { kind: "outgoingCallReply", result: 7, peerCallId: 0x1234 });
  const server = started({ roles: ["pac"] });
  const offer = { callId: 9, serial: 1, bearer: 3, channel: 0, dialedLength: 0, dialingLength: 0 };
  const texts = { dialed: "", dialing: "", subaddress: "" };
  server.hear({ kind: "incomingCallRequest", ...offer, ...texts });
  hasFields(server.take()[0], { kind: "incomingCallReply", result: 3, peerCallId: 9 });
  assert.throws(() => server.control.dial({ id: 1, window: 1 }, 0), /is no pns/);
  assert.is(server.closed, null);
});

test("an id that is in use, and calls beyond the limit, get the general error that fits", () => {
  const end = started({ callsMax: 2 });
  end.hear(DIAL);
  end.hear(DIAL);
  hasFields(end.take()[0], { result: 2, error: 5, peerCallId: 0x1234 });
  end.hear({ ...DIAL, callId: 0 });
  assert.is(end.requested.length, 2, "0 is an id like others");
  end.hear({ ...DIAL, callId: 3 });
  hasFields(end.take()[0], { result: 2, error: 4, peerCallId: 3 });
  assert.throws(() => end.control.dial({ id: 1, window: 1 }, 0), /at most 2 calls/);
  const [first, second] = end.requested;
  assert.ok(first !== undefined && second !== undefined);
  end.control.accept(first, { id: 5, window: 1 }, 0);
  assert.throws(() => end.control.accept(second, { id: 5, window: 1 }, 0), /in use/);
  assert.throws(() => end.control.accept(second, { id: 0, window: 1 }, 0), /range/);
  assert.throws(() => end.control.accept(first, { id: 6, window: 1 }, 0), /waits for no answer/);
});

test("messages about calls that are not there are answered or ignored, never fatal", () => {
  const end = started();
  const reply = { peerCallId: 77, error: 0, window: 1, delay: 0 };
  const line = { cause: 0, connectSpeed: 0, channel: 0 };
  end.hear({ kind: "callClearRequest", callId: 77 });
  const unknown = { kind: "callDisconnectNotify", result: 2, error: 5, cause: 0, statistics: "" };
  assert.equal(end.take(), [{ ...unknown, callId: 0 }]);
  end.hear({ kind: "outgoingCallReply", callId: 1, result: 1, ...line, ...reply });
  assert.equal(end.take(), [{ kind: "callClearRequest", callId: 77 }]);
  end.hear({ kind: "outgoingCallReply", callId: 1, result: 2, ...line, ...reply });
  end.hear({ kind: "incomingCallReply", callId: 1, result: 1, ...reply });
  assert.equal(end.take(), [{ ...unknown, callId: 77 }]);
  const connected = { peerCallId: 77, connectSpeed: 0, window: 1, delay: 0, framing: 1 };
  end.hear({ kind: "incomingCallConnected", ...connected });
  assert.equal(end.take(), [{ kind: "callClearRequest", callId: 77 }]);
  const notify = { result: 1, error: 0, cause: 0, statistics: "" };
  end.hear({ kind: "callDisconnectNotify", callId: 77, ...notify });
  end.hear({ kind: "setLinkInfo", peerCallId: 77, sendAccm: 0, receiveAccm: 0 });
  end.hear({ kind: "echoReply", identifier: 1, result: 1, error: 0 });
  assert.equal([end.take(), end.closed], [[], null]);
  assert.ok(end.control.status.ignored >= 5);
});

test("peers that name our id in clear requests and notifies are understood", () => {
  for (const callId of [PAC_ID, 0x1234]) {
    const server = started();
    server.hear(DIAL);
    const [asked] = server.requested;
    assert.ok(asked !== undefined);
    server.control.accept(asked, { id: PAC_ID, window: 1 }, 0);
    server.take();
    server.hear({ kind: "callClearRequest", callId });
    hasFields(server.take()[0], { kind: "callDisconnectNotify", callId: PAC_ID, result: 4 });
    assert.is(server.ended.length, 1);
  }
  // A server that answers our clearing with an id out of nowhere, or with its own after we left.
  for (const callId of [9999, PNS_ID, PAC_ID]) {
    const [client, server] = pair();
    const call = client.control.dial({ id: PNS_ID, window: 16 }, 0);
    client.control.hangUp(call, "request", 0);
    const reply = { callId: PAC_ID, peerCallId: PNS_ID, result: 1, error: 0, window: 4, delay: 0 };
    client.hear({ kind: "outgoingCallReply", ...reply, cause: 0, connectSpeed: 0, channel: 0 });
    assert.is(client.control.status.calls.length, 1);
    const notify = { result: 4, error: 0, cause: 0, statistics: "" };
    client.hear({ kind: "callDisconnectNotify", callId, ...notify });
    assert.equal(client.control.status.calls, [], `${callId}`);
    assert.is(client.ended.length, 1);
    assert.equal(server.closed, client.closed);
  }
});

const LATER: Message[] = [
  { kind: "startReply", ...START, result: 1, error: 0 },
  { kind: "stopReply", result: 1, error: 0 },
  { kind: "startRequest", ...START },
];

test("messages out of order end the connection, and its calls", () => {
  const all: Message[] = [
    ...LATER,
    { kind: "stopRequest", reason: 1 },
    { kind: "echoRequest", identifier: 1 },
    DIAL,
    { kind: "callClearRequest", callId: 1 },
  ];
  for (const message of all.filter(({ kind }) => kind !== "startRequest")) {
    const silent = new End({});
    silent.control.start(0);
    silent.hear(message);
    assert.equal([silent.closed?.code, silent.take()], ["MESHD_PPTP_BAD_ORDER", []], message.kind);
  }
  for (const message of all.filter(({ kind }) => !/^start|^stopRequest/.test(kind))) {
    const client = new End({ opens: true });
    client.control.start(0);
    client.hear(message);
    assert.is(client.closed?.code, "MESHD_PPTP_BAD_ORDER", message.kind);
  }
  for (const message of LATER) {
    const server = started();
    server.hear(DIAL);
    server.hear(message);
    assert.is(server.closed?.code, "MESHD_PPTP_BAD_ORDER", message.kind);
    assert.is(server.ended[0]?.end.by, "connection");
    server.hear({ kind: "echoRequest", identifier: 1 });
    const again = message.kind === "startRequest" ? [["startReply", 3]] : [];
    const said = server.take().map((one) => [one.kind, "result" in one ? one.result : 0]);
    assert.equal(said, again, "after the end nothing is answered");
  }
});

test("a reply that comes a second time ends the connection", () => {
  const [client, server] = pair();
  client.control.dial({ id: PNS_ID, window: 16 }, 0);
  exchange(client, server);
  const asked = server.requested[0];
  assert.ok(asked !== undefined);
  server.control.accept(asked, { id: PAC_ID, window: 32 }, 0);
  const [reply] = server.take();
  client.hear(reply as Message);
  client.hear(reply as Message);
  assert.is(client.closed?.code, "MESHD_PPTP_BAD_ORDER");
  assert.is(client.ended.length, 1);
});

test("bad bytes end the connection; bytes before them count", () => {
  const end = started();
  end.control.receive(Buffer.from("GET / HTTP/1.1\r\n\r\n"), 0);
  assert.equal(end.closed, {
    code: "MESHD_PPTP_BAD_MESSAGE",
    message: "the magic number is not PPTP's",
  });
  assert.is(end.control.nextDeadline(), null);
});

test("a handler may hang up or stop from inside of an event", () => {
  const end: End = started({}, { requested: (call) => end.control.refuse(call, "busy", 0) });
  end.hear(DIAL);
  hasFields(end.take()[0], { kind: "outgoingCallReply", result: 4 });
  const brisk: End = started({}, { ended: () => brisk.control.stop(0) });
  brisk.hear(DIAL);
  brisk.hear({ kind: "callClearRequest", callId: 0x1234 });
  assert.equal(
    brisk.take().map(({ kind }) => kind),
    ["callDisconnectNotify", "stopRequest"],
  );
});

test("the sentence of honesty names what is broken and what to use", () => {
  for (const word of ["insecure", "MS-CHAP", "MPPE", "WireGuard", "IPsec"]) {
    assert.ok(INSECURE.includes(word), word);
  }
});

test.run();
