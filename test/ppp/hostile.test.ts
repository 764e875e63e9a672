// Peers that do not play along: silent, stubborn, looped, forgetful, leaving, or out of turn. Every
// link ends within a bounded time or stays up; nothing leaves in clear where encryption is required.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { LinkOptions } from "../../src/ppp/index.js";
import { readOptions, readPacket, writeOptions, writePacket } from "../../src/ppp/wire.js";
import type { PppPair, Said } from "../support/ppp-pair.js";
import {
  bytes,
  clientOptions,
  hex,
  makePair,
  PppEnd,
  seededBytes,
  serverOptions,
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

/** The same control packet with another code, identifier and data kept. */
function recoded(frame: Uint8Array, code: number, data?: Uint8Array): Uint8Array {
  const packet = readPacket(frame);
  assert.ok(packet);
  const protocol = (frame[0] ?? 0) * 256 + (frame[1] ?? 0);
  return writePacket(protocol, { code, id: packet.id, data: data ?? packet.data });
}
const isRequest = (frame: Uint8Array) => frame[2] === 1;
const isLcp = (frame: Uint8Array) => hex(frame).startsWith("c021");
const count = (said: readonly Said[], kind: Said["kind"]) =>
  said.filter((s) => s.kind === kind).length;

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
      isLcp(frame) && isRequest(frame) ? [recoded(frame, 3, bytes("0104 0080"))] : [],
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

/** A pair that is up, for what comes after. */
function upPair(more: Partial<LinkOptions> = {}, seed = 1): PppPair {
  const pair = makePair(more, more.mppe === undefined ? {} : { mppe: more.mppe }, seed);
  pair.start();
  assert.ok(
    pair.run(() => pair.areUp()),
    `${pair.server.closedBy} / ${pair.client.closedBy}`,
  );
  return pair;
}

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
    ["CCP", "80fd 01f0 000a 1206 01000040"],
    ["IPCP", "8021 01f0 000a 0306 0a000002"],
  ] as const) {
    const pair = upPair();
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

test("where encryption is required, a peer that does without is left", () => {
  const off = { mppe: null };
  for (const [mine, theirs] of [
    [{}, off],
    [off, {}],
    [{}, weakOnly()],
  ] as const) {
    const pair = makePair(mine, theirs);
    pair.start();
    assert.ok(pair.run(() => pair.areClosed()));
    for (const end of [pair.server, pair.client]) {
      assert.is(count(end.said, "up"), 0);
      if (end.settled.requireMppe !== true) continue;
      assert.not(end.frames.some((frame) => frame.startsWith("8021")));
      assert.match(end.closedBy ?? "", /encryption/);
    }
  }
});

function weakOnly(): Partial<LinkOptions> {
  return { mppe: { required: true, bits: [40], stateful: true } };
}

test("where encryption is wanted and not required, a peer without it comes up in clear", () => {
  const mppe = { required: false, bits: [128] as const, stateful: false };
  const pair = makePair({ mppe }, { mppe: null });
  pair.start();
  assert.ok(pair.run(() => pair.areUp()));
  assert.is(pair.server.net?.mppe, null);
  assert.is(pair.server.settled.requireMppe, false);
});

test("a peer that ends or rejects encryption ends the link where it is required", () => {
  for (const frame of ["80fd 0577 0004", "c021 0877 000a 80fd 01010004"]) {
    const pair = upPair();
    pair.server.link.receive(bytes(frame), pair.now_ms);
    assert.is(pair.server.net, null);
    assert.is(pair.server.settled.send, null);
    assert.ok(pair.run(() => pair.areClosed()));
    assert.match(pair.server.closedBy ?? "", /encryption/);
  }
});

test("a peer that agrees to several strengths at once is asked for one", () => {
  const mppe = { required: true, bits: [128, 56, 40] as const, stateful: false };
  const pair = makePair({ mppe }, { mppe });
  const { output } = pair.client;
  let isWrong = true;
  pair.client.output = (frame) => {
    const text = hex(frame);
    // Its Nak of our offer becomes an Ack.
    if (text.startsWith("80fd03") && isWrong) {
      isWrong = false;
      const asked = pair.server.said.findLast(
        (s) => s.kind === "send" && hex(s.frame).startsWith("80fd01"),
      );
      assert.ok(asked?.kind === "send");
      output(recoded(asked.frame, 2));
    } else output(frame);
  };
  pair.start();
  assert.ok(
    pair.run(() => pair.areUp()),
    `${pair.server.closedBy} / ${pair.client.closedBy}`,
  );
  assert.not(isWrong);
  assert.is(pair.server.settled.receive?.bits, 128);
});

test("a client that wants another address gets its own; a stubborn one ends", () => {
  const ipcp = { ...clientOptions().ipcp, local: "10.9.9.9", remote: null, dns: [], nbns: [] };
  const pair = makePair({}, { ipcp });
  pair.start();
  assert.ok(pair.run(() => pair.areUp()));
  assert.is(pair.server.net?.remote, "10.0.0.2");
  const stubborn = makePair({}, { ipcp: { ...ipcp, askAddress: false } });
  stubborn.start();
  assert.ok(stubborn.run(() => stubborn.areClosed()));
  assert.is(count(stubborn.server.said, "up"), 0);
});

test("a user without an address, and a server that gives none, end the link", () => {
  const asked: string[] = [];
  const base = { ...serverOptions().ipcp, remote: null, dns: [], nbns: [], local: "10.0.0.1" };
  const none = (user: string) => {
    asked.push(user);
    return null;
  };
  const pair = makePair({ ipcp: { ...base, addressFor: none } });
  pair.start();
  assert.ok(pair.run(() => pair.areClosed()));
  assert.equal(asked, ["anna"]);
  assert.match(pair.server.closedBy ?? "", /no address for this user/);
  const empty = makePair({ ipcp: base });
  empty.start();
  assert.ok(empty.run(() => empty.areClosed()));
  assert.match(empty.client.closedBy ?? "", /no address/);
});

test("an address is asked for once, also when the link is negotiated anew", () => {
  let asked = 0;
  const addressFor = () => `10.0.0.${asked++ + 2}`;
  const base = { ...serverOptions().ipcp, remote: null, dns: [], nbns: [], local: "10.0.0.1" };
  const pair = makePair({ ipcp: { ...base, addressFor } });
  pair.start();
  pair.run(() => pair.areUp());
  pair.server.link.receive(bytes("c021 01f0 000a 0506 55667788"), pair.now_ms);
  pair.run(() => pair.areUp());
  assert.is(pair.server.net?.remote, "10.0.0.2");
  assert.is(asked, 1);
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

test("a first IPCP request that is too early is kept until encryption is open", () => {
  const pair = makePair();
  pair.start();
  pair.run(() => pair.server.frames.some((frame) => frame.startsWith("80fd01")));
  const early = bytes("8021 0101 0016 0306 00000000 8106 00000000 8306 00000000");
  pair.server.link.receive(early, pair.now_ms);
  early.fill(0);
  assert.not(pair.server.frames.some((frame) => frame.startsWith("8021")));
  pair.run(() => pair.server.frames.some((frame) => frame.startsWith("8021")));
  const own = pair.server.frames.filter((frame) => frame.startsWith("8021"));
  assert.is(own[1], "802103010016030 60a00000281060a00000183060a000001".replace(" ", ""));
});

test("a peer that changes a Reject's options is not followed", () => {
  const end = server();
  runAgainst(
    end,
    (frame) => {
      if (!isRequest(frame)) return [];
      const options = readOptions(readPacket(frame)?.data ?? new Uint8Array(0)) ?? [];
      return [recoded(frame, 4, writeOptions(options.toReversed()))];
    },
    20_000,
  );
  assert.ok(
    end.frames.every((frame) => frame === end.frames[0]),
    "the same request again",
  );
});

test.run();
