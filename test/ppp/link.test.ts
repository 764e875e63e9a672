// Two links on a wire: every combination of options comes up, settings come in order with frames.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AuthMethod, LinkAuth, LinkOptions } from "../../src/ppp/index.js";
import type { PppEnd, PppPair } from "../support/ppp-pair.js";
import { clientOptions, hex, makePair, serverOptions } from "../support/ppp-pair.js";

const withMethods = (auth: LinkAuth, methods: AuthMethod[]): LinkAuth => ({ ...auth, methods });

function assertUp(pair: PppPair, name: string): void {
  const reasons = `${name}: ${pair.server.closedBy} / ${pair.client.closedBy}`;
  assert.ok(pair.areUp(), reasons);
}

/** Both directions have the same keys at both ends, and the roles are not mixed up. */
function assertKeys(pair: PppPair): void {
  const { settled: server } = pair.server;
  const { settled: client } = pair.client;
  assert.ok(server.send && server.receive && client.send && client.receive);
  assert.equal(hex(server.send.startKey), hex(client.receive.startKey));
  assert.equal(hex(client.send.startKey), hex(server.receive.startKey));
}

test("more than authentication is let in before the frame that tells the peer so", () => {
  for (const [method, welcome] of [
    ["ms-chap-v2", "c22303"],
    ["pap", "c02302"],
  ] as const) {
    const server = serverOptions();
    const client = clientOptions();
    const pair = makePair(
      { ...server, auth: withMethods(server.auth, [method]), mppe: null },
      { ...client, auth: withMethods(client.auth, [method]), mppe: null },
    );
    pair.start();
    assert.ok(
      pair.run(() => pair.areUp()),
      method,
    );
    const { said } = pair.server;
    const isWelcome = (frame: Uint8Array) => hex(frame).replaceAll(" ", "").startsWith(welcome);
    const told = said.findIndex((one) => one.kind === "send" && isWelcome(one.frame));
    const set = said.findIndex(
      (one) => one.kind === "settings" && one.settings.phase === "network",
    );
    assert.ok(set >= 0 && set < told, `${method}: ${set} is before ${told}`);
  }
});

test("who lets the peer in waits for its first frame, and not for long", () => {
  const pair = makePair();
  pair.start();
  const isCcp = (frame: string) => frame.replaceAll(" ", "").startsWith("80fd01");
  const welcome = () => pair.server.frames.findIndex((frame) => frame.startsWith("c22303"));
  assert.ok(pair.run(() => welcome() >= 0));
  assert.not.ok(pair.server.frames.some(isCcp), "nothing can overtake the Success");
  pair.client.output = () => undefined;
  const said_ms = pair.now_ms;
  assert.ok(pair.run(() => pair.server.frames.some(isCcp)));
  assert.is(pair.now_ms - said_ms, 250);
});

test("a client that dials in gets address, name server and keys", () => {
  const pair = makePair();
  pair.start();
  assert.ok(
    pair.run(() => pair.areUp()),
    `${pair.server.closedBy} / ${pair.client.closedBy}`,
  );
  assert.ok(pair.now_ms < 2_000, "no timeout was needed");
  const { net } = pair.server;
  assert.is(net?.user, "anna");
  assert.is(net?.method, "ms-chap-v2");
  assert.equal([net?.local, net?.remote], ["10.0.0.1", "10.0.0.2"]);
  assert.equal([pair.client.net?.local, pair.client.net?.remote], ["10.0.0.2", "10.0.0.1"]);
  assert.equal(pair.client.net?.dns, ["10.0.0.1"]);
  assert.equal(net?.mppe, { bits: 128, stateful: false });
  assert.equal([net?.mru, net?.acfc, net?.pfc, net?.ipv6], [1456, true, true, false]);
  assertKeys(pair);
  assert.is(pair.server.settled.requireMppe, true);
  assert.is.not(
    hex(pair.server.settled.send?.startKey ?? new Uint8Array()),
    hex(pair.server.settled.receive?.startKey ?? new Uint8Array()),
  );
});

test("every combination of options comes up", () => {
  let count = 0;
  for (const method of ["ms-chap-v2", "ms-chap-v1", "chap-md5", "pap"] as const) {
    for (const bits of [128, 56, 40, null] as const) {
      for (const word of [0, 1, 2, 3, 4, 5, 6, 7]) {
        if (bits !== null && !method.startsWith("ms-")) continue;
        const [pfc, acfc, stateful] = [(word & 1) > 0, (word & 2) > 0, (word & 4) > 0];
        const mppe = bits === null ? null : { required: true, bits: [bits], stateful };
        const more: Partial<LinkOptions> = { pfc, acfc, mppe };
        const server = { ...more, auth: withMethods(serverOptions().auth, [method]) };
        const client = { ...more, auth: withMethods(clientOptions().auth, [method]) };
        const pair = makePair(server, { ...client, pfc: !pfc }, word + 1);
        pair.start();
        pair.run(() => pair.areUp());
        assertUp(pair, `${method} ${bits} ${word}`);
        assert.equal(pair.server.net?.mppe ?? null, bits === null ? null : { bits, stateful });
        assert.equal([pair.server.net?.pfc, pair.client.net?.pfc], [!pfc, pfc]);
        assert.equal([pair.server.net?.acfc, pair.client.net?.acfc], [acfc, acfc]);
        if (bits !== null) assertKeys(pair);
        count += 1;
      }
    }
  }
  assert.is(count, (2 * 4 + 2) * 8);
});

test("a bad wire delays a link and never keeps it from coming up", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const stateful = seed % 2 === 0;
    const mppe = { required: seed % 3 !== 0, bits: [128, 56, 40] as const, stateful };
    const ipv6 = { ipv6cp: { interfaceId: BigInt(seed) } };
    const pair = makePair({ mppe, ...ipv6 }, { mppe, ipv6cp: { interfaceId: 77n } }, seed);
    pair.impairment = { loss: 8, duplicate: 12, reorder: 10 };
    pair.start();
    pair.run(() => pair.areUp() && (pair.client.net?.ipv6 ?? false));
    assertUp(pair, `seed ${seed}`);
    // Late copies may start a negotiation anew: with the wire well again it ends in peace.
    pair.impairment = {};
    pair.pass(10_000);
    assert.ok(
      pair.run(() => pair.areUp()),
      `seed ${seed}, after`,
    );
    assert.equal(pair.client.net?.mppe, { bits: 128, stateful });
    assertKeys(pair);
    assert.is(pair.server.net?.remoteInterfaceId, 77n);
    assert.is(pair.client.net?.remoteInterfaceId, BigInt(seed));
  }
});

/** Index of the first thing said that fits. */
const firstOf = (end: PppEnd, fits: (said: PppEnd["said"][number]) => boolean) =>
  end.said.findIndex(fits);
const isFrame = (said: PppEnd["said"][number], start: string) =>
  said.kind === "send" && hex(said.frame).startsWith(start);

test("keys for receiving are there before the Configure-Ack, IP comes after encryption", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const pair = makePair({}, {}, seed);
    pair.impairment = seed > 1 ? { loss: 6 } : {};
    pair.start();
    pair.run(() => pair.areUp());
    for (const end of [pair.server, pair.client]) {
      const receive = firstOf(end, (s) => s.kind === "settings" && s.settings.receive != null);
      const ack = firstOf(end, (s) => isFrame(s, "80fd02"));
      const send = firstOf(end, (s) => s.kind === "settings" && s.settings.send != null);
      const ipcp = firstOf(end, (s) => isFrame(s, "8021"));
      const open = firstOf(end, (s) => s.kind === "settings" && s.settings.phase === "network");
      const ccp = firstOf(end, (s) => isFrame(s, "80fd"));
      const up = firstOf(end, (s) => s.kind === "up");
      const order = [open, ccp, receive, ack];
      assert.equal(
        order,
        [...order].sort((a, b) => a - b),
        `seed ${seed}`,
      );
      assert.ok(0 <= open && ack < ipcp && send >= 0 && send < ipcp && ipcp < up, `seed ${seed}`);
    }
  }
});

test.run();
