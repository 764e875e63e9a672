// Peers that do not play along: silent, stubborn, looped, leaving, out of turn. Every link
// ends within a bounded time or stays up.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { LinkOptions } from "../../src/ppp/index.js";
import { readOptions, readPacket, writeOptions, writePacket } from "../../src/ppp/wire.js";
import {
  bytes,
  clientOptions,
  count,
  hex,
  makePair,
  PppEnd,
  recoded,
  seededBytes,
  serverOptions,
  upPair,
} from "../support/ppp-pair.js";

/** A peer as a function: what comes back for each frame. */
type Reaction = (frame: Uint8Array) => Uint8Array[];

/** Runs a link against such a peer until it ends. @returns when it ended, in ms; null: never */
function runAgainst(end: PppEnd, react: Reaction, limit_ms = 300_000): number | null {
  const inbox: Uint8Array[] = [];
  end.output = (frame) => inbox.push(...react(frame.slice()));
  let now_ms = 0;
  end.link.start(0);
  for (let steps = 0; steps < 20_000; steps++) {
    for (const frame of inbox.splice(0)) end.link.receive(frame, now_ms);
    if (end.closedBy !== null) return now_ms;
    const next = end.link.nextDeadline();
    if (next === null || next > limit_ms) return null;
    now_ms = inbox.length > 0 ? now_ms + 10 : Math.max(now_ms, next);
    if (next <= now_ms) end.link.tick(now_ms);
  }
  throw new Error("a link that is never done");
}

const server = (more: Partial<LinkOptions> = {}) =>
  new PppEnd(serverOptions({ random: seededBytes(3), ...more }));
const client = (more: Partial<LinkOptions> = {}) =>
  new PppEnd(clientOptions({ random: seededBytes(4), ...more }));

/** An answer to a request with options of its own. */
function nakOf(frame: Uint8Array, options: string, code = 3): Uint8Array {
  return writePacket(0xc021, { code, id: frame[3] ?? 0, data: bytes(options) });
}
const isRequest = (frame: Uint8Array) => frame[2] === 1;
const isLcp = (frame: Uint8Array) => hex(frame).startsWith("c021");
test("a peer that never answers: ten requests in 30 s, then the end", () => {
  for (const end of [server(), client()]) {
    assert.is(
      runAgainst(end, () => []),
      30_000,
    );
    assert.is(end.frames.length, 10);
    assert.is(end.closedBy, "the peer does not answer");
    assert.is(count(end.said, "closed"), 1);
    assert.is(end.link.nextDeadline(), null);
  }
});

test("a peer that naks for ever is left", () => {
  for (const end of [server(), client()]) {
    const ended = runAgainst(end, (frame) =>
      isLcp(frame) && isRequest(frame) ? [nakOf(frame, "0104 0080")] : [],
    );
    assert.ok(ended !== null && ended < 60_000, `${ended}`);
    assert.ok(end.frames.length < 20);
  }
});

test("a peer that rejects everything is left, and the server is never without proof", () => {
  for (const end of [server(), client()]) {
    const ended = runAgainst(end, (frame) =>
      isRequest(frame) && readPacket(frame)?.data.length !== 0 ? [recoded(frame, 4)] : [],
    );
    assert.ok(ended !== null && ended < 61_000, `${ended}`);
    assert.is(count(end.said, "authenticated"), 0);
    assert.is(count(end.said, "up"), 0);
  }
  assert.is(server().closedBy, null);
});

test("a peer whose every request cannot be taken is left within a minute", () => {
  // It agrees to whatever we ask, so no counter of ours ever runs out.
  for (const end of [server(), client()]) {
    const ended = runAgainst(end, (frame) => {
      const mine = writePacket(0xc021, { code: 1, id: 7, data: bytes("1104 05dc") });
      return isLcp(frame) && isRequest(frame)
        ? [recoded(frame, 2), mine]
        : isLcp(frame)
          ? [mine]
          : [];
    });
    assert.ok(ended !== null && ended <= 70_000, `${ended}`);
  }
});

test("a line that brings back our own frames is known as a loop", () => {
  for (const end of [server(), client()]) {
    const ended = runAgainst(end, (frame) => [frame]);
    assert.ok(ended !== null && ended < 20_000, `${ended}`);
    assert.is(end.closedBy, "the line is looped back to us");
    assert.is(count(end.said, "up"), 0);
  }
});

test("a loop that comes later is known by the echoes", () => {
  const pair = upPair();
  const end = pair.server;
  pair.client.link.abort("test", pair.now_ms);
  end.output = (frame) => end.link.receive(frame, pair.now_ms);
  pair.run(() => end.closedBy !== null, 200_000);
  assert.is(end.closedBy, "the line is looped back to us");
});

test("a peer that falls silent is missed after three echoes", () => {
  const pair = upPair();
  const began_ms = pair.now_ms;
  pair.impairment = { loss: 1 };
  pair.run(() => pair.areClosed());
  assert.is(pair.server.closedBy, "the peer answers no echo any more");
  assert.ok(pair.now_ms - began_ms <= 4 * 20_000 + 6_000);
  assert.is(pair.server.link.status().counters.echoesLost, 3);
  assert.is(pair.server.net, null);
});

test("a peer without Echo-Request is not asked again", () => {
  const pair = upPair();
  pair.server.link.receive(bytes("c021 0701 000c 0901 0008 00000000"), pair.now_ms);
  pair.impairment = { loss: 1 };
  pair.client.link.abort("test", pair.now_ms);
  assert.not(pair.run(() => pair.server.closedBy !== null, 600_000));
});

test("both sides may negotiate anew while open: down first, then all again", () => {
  for (const [name, request] of [
    ["LCP", "c021 01f0 000a 0506 55667788"],
    ["IPCP", "8021 01f0 000a 0306 0a000002"],
  ] as const) {
    const pair = upPair();
    const before = pair.server.settled.send?.startKey;
    pair.server.said.length = 0;
    pair.server.link.receive(bytes(request), pair.now_ms);
    const kinds = pair.server.said.map(({ kind }) => kind);
    assert.ok(kinds.includes("down"), `${name}: ${kinds}`);
    if (name !== "IPCP") {
      assert.is(pair.server.settled.send, null, `${name}: no key is left`);
    }
    assert.is(pair.server.settled.requireMppe, true);
    pair.run(() => pair.areUp());
    pair.pass(5_000);
    assert.ok(pair.areUp(), `${name}: ${pair.server.closedBy} / ${pair.client.closedBy}`);
    assert.ok(pair.server.settled.send && pair.client.settled.receive);
    assert.equal(pair.server.settled.send.startKey, pair.client.settled.receive.startKey);
    const isNew = hex(pair.server.settled.send.startKey) !== hex(before ?? new Uint8Array(0));
    assert.is(
      isNew,
      name === "LCP",
      "a new proof has new keys; the old ones go on where they were",
    );
  }
});

test("no key stream begins twice: after CCP was negotiated anew there are new keys", () => {
  for (const required of [true, false]) {
    const pair = upPair({ mppe: { required, bits: [128], stateful: false } });
    const ends = [pair.server, pair.client];
    for (let round = 0; round < 3; round++) {
      pair.server.link.receive(bytes("80fd 01f0 000a 1206 01000040"), pair.now_ms);
      assert.is(pair.server.net, null, "down at once");
      assert.is(pair.server.settled.send, null);
      pair.pass(10_000);
      assert.ok(pair.areUp(), `${pair.server.closedBy} / ${pair.client.closedBy}`);
    }
    for (const { said } of ends) {
      const begun = said.flatMap((s) =>
        s.kind === "settings" && s.settings.send ? [hex(s.settings.send.startKey)] : [],
      );
      assert.ok(begun.length > 3, `${begun.length}`);
      assert.is(new Set(begun).size, begun.length);
    }
  }
});

test("network protocols before the proof are ignored without a word", () => {
  const end = server();
  end.link.start(0);
  const ours = readPacket(bytes(end.frames[0] ?? ""));
  assert.ok(ours);
  end.link.receive(writePacket(0xc021, { ...ours, code: 2 }), 0);
  end.link.receive(bytes("c021 0101 0004"), 0);
  const before = end.frames.length;
  for (const frame of [
    "8021 0101 000a 0306 0a000063",
    "80fd 0101 000a 1206 01000040",
    "8057 0101 000e 010a 0000000000000001",
    "0021 4500",
    "00fd 9000",
    "8031 0101 0004",
    "c227 0101 0004",
  ]) {
    end.link.receive(bytes(frame), 0);
  }
  assert.is(end.frames.length, before, "nothing is answered");
  assert.is(end.settled.phase, "link");
  assert.is(end.link.status().phase, "authenticate");
  assert.is(end.link.status().counters.ignored, 7);
});

test("a wrong password, an unknown user, nobody at all: no network, one report", () => {
  for (const [user, clear] of [
    ["anna", "wrong"],
    ["nobody", "long enough 12"],
  ] as const) {
    const { methods } = clientOptions().auth;
    const pair = makePair({}, { auth: { role: "peer", methods, user, secret: { clear } } });
    pair.start();
    assert.ok(pair.run(() => pair.areClosed()));
    assert.is(count(pair.server.said, "authFailed"), 1);
    assert.is(count(pair.server.said, "authenticated"), 0);
    assert.not(pair.server.frames.some((frame) => /^(80fd|8021)/.test(frame)));
    assert.not(
      pair.server.said.some((s) => s.kind === "settings" && s.settings.phase === "network"),
    );
  }
});

test("no common method: the link ends and says why", () => {
  const auth = { ...serverOptions().auth, methods: ["chap-md5" as const] };
  const pair = makePair({ auth, mppe: null });
  pair.start();
  assert.ok(pair.run(() => pair.areClosed()));
  assert.match(pair.server.closedBy ?? "", /none of our authentication methods/);
  const none = new PppEnd(serverOptions({ auth }));
  none.link.start(0);
  assert.match(none.closedBy ?? "", /yields keys/);
  assert.equal(
    none.frames.filter((frame) => frame.includes("c22305")),
    [],
    "it is not offered",
  );
});

test("close and the peer's Terminate-Request end both sides; abort sends nothing", () => {
  const pair = upPair();
  pair.server.link.close("the node stops", pair.now_ms);
  assert.is(pair.server.net, null, "down at once");
  assert.ok(pair.run(() => pair.areClosed(), 7_000));
  assert.is(pair.server.closedBy, "the node stops");
  assert.is(pair.client.closedBy, "the peer ended the link: the node stops");
  const other = upPair();
  const before = other.client.frames.length;
  other.client.link.abort("gone", other.now_ms);
  assert.is(other.client.closedBy, "gone");
  assert.equal([other.client.frames.length, other.client.net], [before, null]);
  other.client.link.receive(bytes("c021 0101 0004"), other.now_ms);
  other.client.link.close("again", other.now_ms);
  other.client.link.abort("again", other.now_ms);
  other.client.link.tick(other.now_ms + 100_000);
  assert.is(other.client.frames.length, before, "a closed link says nothing more");
  assert.is(count(other.client.said, "closed"), 1);
});

test("a link that is closed or aborted before its start tells that it ended, once", () => {
  for (const verb of ["close", "abort"] as const) {
    const end = server();
    end.link[verb]("not wanted", 0);
    end.link.start(0);
    assert.is(end.closedBy, "not wanted");
    assert.equal([count(end.said, "closed"), end.frames.length], [1, 0]);
  }
});

test("handlers may call the link again from within", () => {
  const pair = makePair();
  pair.server.up = () => pair.server.link.close("at once", pair.now_ms);
  pair.start();
  assert.ok(pair.run(() => pair.areClosed()));
  assert.is(pair.server.closedBy, "at once");
});

test("a peer that changes a Reject's options is not followed", () => {
  const end = server();
  runAgainst(
    end,
    (frame) => {
      if (!isRequest(frame)) return [];
      const options = readOptions(readPacket(frame)?.data ?? new Uint8Array(0)) ?? [];
      return [nakOf(frame, hex(writeOptions(options.toReversed())), 4)];
    },
    20_000,
  );
  assert.ok(
    end.frames.every((frame) => frame === end.frames[0]),
    "the same request again",
  );
});

test.run();

test.run();
