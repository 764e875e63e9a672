// Encryption and addresses with peers that want something else: agreed on, or the link ends;
// nothing leaves in clear where encryption is required.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { LinkOptions } from "../../src/ppp/index.js";
import {
  bytes,
  clientOptions,
  count,
  hex,
  makePair,
  recoded,
  serverOptions,
  upPair,
} from "../support/ppp-pair.js";

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

test("a peer that ends encryption goes on in clear where it is not required", () => {
  const pair = upPair({ mppe: { required: false, bits: [128] as const, stateful: false } });
  assert.ok(pair.server.net?.mppe);
  pair.server.link.receive(bytes("80fd 0577 0004"), pair.now_ms);
  assert.is(pair.server.net, null, "down, before anything passes in clear");
  assert.is(pair.server.settled.send, null);
  assert.ok(pair.run(() => pair.server.net !== null, 4_000));
  assert.is(pair.server.net?.mppe, null);
});

test("a peer that ends or rejects encryption ends the link where it is required", () => {
  for (const frame of ["80fd 0577 0004", "c021 0877 000a 80fd 01010004"]) {
    const pair = upPair();
    pair.server.link.receive(bytes(frame), pair.now_ms);
    assert.is(pair.server.net, null);
    assert.is(pair.server.settled.send, null);
    assert.is(pair.server.link.status().phase, "terminate", "at once");
    assert.ok(pair.run(() => pair.areClosed()));
    assert.match(pair.server.closedBy ?? "", /encryption/);
  }
});

test("a peer that wants to receive in clear is left, though it takes our own offer", () => {
  const pair = makePair();
  const { output } = pair.client;
  pair.client.output = (frame) => {
    const text = hex(frame);
    output(text.startsWith("80fd01") ? bytes("80fd 0109 0004") : frame);
  };
  pair.start();
  assert.ok(pair.run(() => pair.server.closedBy !== null, 20_000));
  assert.match(pair.server.closedBy ?? "", /encryption is required/);
  assert.is(count(pair.server.said, "up"), 0);
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

test("a Success that was lost comes again, to a peer that does not ask for it", () => {
  const pair = makePair();
  const { output } = pair.server;
  const { output: answer } = pair.client;
  let [successes, responses] = [0, 0];
  pair.server.output = (frame) => {
    const isSuccess = hex(frame).startsWith("c22303");
    if (isSuccess) successes += 1;
    if (!isSuccess || successes > 1) output(frame);
  };
  // As pppd: one Response to a Challenge.
  pair.client.output = (frame) => {
    if (hex(frame).startsWith("c22302")) responses += 1;
    if (!hex(frame).startsWith("c22302") || responses === 1) answer(frame);
  };
  pair.start();
  assert.ok(pair.run(() => pair.areUp(), 10_000));
  assert.is(successes, 2);
  pair.pass(15_000);
  assert.is(successes, 2, "no more once the network begins");
});

test("CCP's last Ack lost: a peer that went on to the network is not made to start anew", () => {
  for (const first of ["server", "client"] as const) {
    const pair = makePair();
    const other = pair[first];
    const { output } = other;
    let isLost = false;
    other.output = (frame) => {
      const isAck = hex(frame).startsWith("80fd02");
      if (isAck && !isLost) isLost = true;
      else output(frame);
    };
    pair.start();
    assert.ok(pair.run(() => pair.areUp(), 10_000));
    pair.pass(10_000);
    assert.ok(isLost && pair.areUp());
    const end = first === "server" ? pair.client : pair.server;
    const requests = end.frames.filter((frame) => frame.startsWith("80fd01"));
    assert.is(requests.length, 1, `${first}: asked once`);
    assert.is(count(pair.server.said, "down") + count(pair.client.said, "down"), 0);
    assert.equal(end.settled.send?.startKey, other.settled.receive?.startKey);
  }
});

test("two equal interface identifiers, and zero, become different ones", () => {
  const same = { ipv6cp: { interfaceId: 5n } };
  for (const theirs of [same, { ipv6cp: { interfaceId: 0n } }]) {
    const pair = makePair(same, theirs);
    pair.start();
    const areSix = () => [pair.server, pair.client].every(({ net }) => net?.ipv6 === true);
    assert.ok(pair.run(areSix));
    const ids = [pair.server.net?.remoteInterfaceId, pair.client.net?.remoteInterfaceId];
    assert.is.not(ids[0], ids[1]);
    assert.ok(ids.every((id) => id !== null && id !== 0n));
  }
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

test.run();
