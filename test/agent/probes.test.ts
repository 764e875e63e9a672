// Whom a prober asks, and what it makes of answers; who lives and who hears whom: life.test.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { NeighbourEar } from "../../src/agent/neighbour-probes.js";
import type { PlannedPeer } from "../../src/agent/plan/types.js";
import type { ProbeReply } from "../../src/agent/probe-packets.js";
import { PROBES_PER_SECOND, Prober, type ProberOptions } from "../../src/agent/probes.js";
import { answer, Signs } from "./probe-world.js";

function member(index: number): PlannedPeer {
  return {
    name: `n${index}`,
    nodeId: `U${index}`,
    kind: "member",
    identity: null,
    address: `192.168.77.${index}`,
    form: { protocol: "vxlan", port: 8472, vni: 1 },
    prefixes: [`10.244.${index}.0/24`],
    prefixWays: ["tunnel"],
    podCIDRs: [`10.244.${index}.0/24`],
    probeAddresses: [`10.244.${index}.0`],
    ways: { ipv4: "tunnel", ipv6: null },
  };
}

function prober(options: Partial<ProberOptions> = {}) {
  const clock = { now: 1000 };
  const sent: Uint8Array[] = [];
  const signs = new Signs([]);
  const made = new Prober({
    inject: (packet) => {
      sent.push(packet);
      return true;
    },
    signs: () => signs.read(),
    now: () => clock.now,
    ...options,
  });
  const setPeers = (...peers: PlannedPeer[]) => {
    signs.addresses = peers.map(({ address }) => address);
    made.setPeers(["10.244.1.0"], peers);
  };
  /** The host sends a packet to the first of them. */
  const send = () => signs.note(0, { isSent: true });
  /** Turns of the beat, a second apart; the count of questions in each. */
  const turns = (count: number, isBusy = false) =>
    Array.from({ length: count }, () => {
      const before = sent.length;
      if (isBusy) send();
      clock.now += 1000;
      made.tick();
      return sent.length - before;
    });
  return { made, clock, sent, signs, setPeers, send, turns };
}

test("a peer that answers is reachable with a time, and unreachable when silent", () => {
  const { made, clock, sent, setPeers, turns } = prober();
  setPeers(member(2));
  assert.is(made.health(member(2)).reachable, "unknown");
  made.tick();
  assert.is(sent.length, 1);
  clock.now += 0.25;
  assert.ok(made.onPunt(answer(sent[0] as Uint8Array)));
  const path = { toPeer: "ok", fromPeer: "ok" };
  const known = { reachable: "reachable", path, rtt_us: 250, lastSeen_ms: 0 };
  assert.equal(made.health(member(2)), known);
  assert.not.ok(made.onPunt(answer(sent[0] as Uint8Array)), "an answer counts once");
  assert.equal(turns(3, true), [1, 1, 1]);
  assert.is(made.health(member(2)).reachable, "reachable");
  clock.now += 1000;
  assert.is(made.health(member(2)).reachable, "unreachable", "4 s after its last answer");
  assert.ok(made.onPunt(answer(sent[3] as Uint8Array)), "an answer that was long under way");
  assert.equal(made.counts(), { questions: 4, answers: 2 });
  assert.is(made.health(member(2)).reachable, "reachable");
});

test("a peer without traffic is asked every 5 s, one with each second, for a minute on", () => {
  const { made, sent, turns, setPeers, send } = prober();
  setPeers(member(2));
  const answered = (count: number) => {
    let questions = 0;
    for (let turn = 0; turn < count; turn += 1) {
      const [asked = 0] = turns(1);
      if (asked > 0) made.onPunt(answer(sent.at(-1) as Uint8Array));
      questions += asked;
    }
    return questions;
  };
  assert.is(answered(100), 20);
  send();
  assert.is(answered(1), 1, "at once");
  assert.is(answered(59), 59);
  assert.is(answered(100), 20);
  assert.is(made.health(member(2)).reachable, "reachable");
});

test("without traffic a silent peer is asked each second, and seldom once it is given up", () => {
  const { made, sent, turns, setPeers } = prober();
  setPeers(member(2));
  turns(1);
  assert.ok(made.onPunt(answer(sent[0] as Uint8Array)));
  assert.equal(turns(9), [0, 0, 0, 0, 1, 1, 1, 1, 1]);
  assert.is(made.health(member(2)).reachable, "unreachable");
  turns(60);
  assert.equal(turns(10).filter((asked) => asked > 0).length, 2);
});

test("a peer that is heard by itself is asked seldom, and at once when it falls silent", () => {
  const { made, sent, signs, turns, setPeers, send } = prober();
  setPeers(member(2));
  const turn = (isHeard: boolean) => {
    if (isHeard) signs.note(0, { isHeard });
    send();
    const [asked = 0] = turns(1);
    if (asked > 0) made.onPunt(answer(sent.at(-1) as Uint8Array));
    return asked;
  };
  for (let warm = 0; warm < 5; warm++) turn(true);
  const asked = Array.from({ length: 20 }, () => turn(true));
  assert.is(asked.filter((one) => one > 0).length, 4, "for the time of the round trip");
  while (turn(true) === 0);
  assert.is(turn(true), 0);
  assert.is(turn(false), 1);
  assert.is(made.health(member(2)).reachable, "reachable");
});

test("what was counted at another place in the tables is no sign of life", () => {
  const { made, sent, signs, turns, setPeers } = prober();
  setPeers(member(2), member(3));
  turns(1);
  for (const packet of sent) made.onPunt(answer(packet));
  turns(20);
  const from = (index: number) => made.health(member(index)).path.fromPeer;
  assert.equal([from(2), from(3)], ["lost", "lost"]);
  signs.note(0, { isHeard: true });
  turns(1);
  assert.equal([from(2), from(3)], ["ok", "lost"]);
  setPeers(member(9), member(2), member(3));
  signs.note(2, { isHeard: true });
  turns(1);
  assert.equal([from(2), from(3)], ["ok", "ok"], "it stands elsewhere now");
  turns(40);
  signs.addresses = ["192.168.77.3", "192.168.77.2", "192.168.77.9"];
  for (const index of [0, 1, 2]) signs.note(index, { isHeard: true });
  turns(1);
  assert.equal([from(2), from(3)], ["ok", "lost"], "tables that are not planned so");
});

test("questions of others are within the bound, and their answers are signs of life", () => {
  let others = 5;
  const { made, turns, setPeers, clock } = prober({ others: () => others });
  const peers = Array.from({ length: 60 }, (_, index) => member(index + 2));
  setPeers(...peers);
  assert.equal(turns(2), [PROBES_PER_SECOND - 5, PROBES_PER_SECOND - 5]);
  others = 30;
  assert.equal(turns(1), [0]);
  made.onAnswerElsewhere("U2", clock.now);
  assert.is(made.health(member(2)).reachable, "reachable");
});

test("a member that never answers becomes unreachable, a foreign peer stays unknown", () => {
  const { made, clock, signs, setPeers } = prober();
  const foreign: PlannedPeer = { ...member(3), nodeId: "", kind: "static", name: "kernel" };
  setPeers(member(2), foreign);
  for (let round = 0; round < 12; round++) {
    clock.now += 1000;
    made.tick();
    made.tick();
  }
  assert.is(made.health(member(2)).reachable, "unreachable");
  assert.is(made.health(foreign).reachable, "unknown");
  signs.note(1, { isHeard: true });
  clock.now += 1000;
  made.tick();
  assert.is(made.health(foreign).reachable, "reachable", "its packets come");
  clock.now += 61_000;
  assert.is(made.health(foreign).reachable, "unknown", "but it need not send any");
});

test("an answer from another address than the one asked is not believed", () => {
  const { made, sent, setPeers } = prober();
  setPeers(member(2));
  made.tick();
  const forged = answer(sent[0] as Uint8Array);
  forged[14] = 9;
  assert.not.ok(made.onPunt(forged));
  assert.is(made.health(member(2)).reachable, "unknown");
});

test("the rate of the whole node is bounded however many peers there are", () => {
  const { sent, turns, setPeers } = prober();
  setPeers(...Array.from({ length: 200 }, (_, index) => member(index + 2)));
  assert.equal(turns(10, true), new Array(10).fill(PROBES_PER_SECOND));
  const asked = new Set(sent.map((packet) => packet.slice(16, 20).join(".")));
  assert.is(asked.size, 200, "every peer got its turn");
});

test("what is known of a peer survives a new plan, unless it moved", () => {
  const { made, sent } = prober();
  made.setPeers(["10.244.1.0"], [member(2)]);
  made.tick();
  made.onPunt(answer(sent[0] as Uint8Array));
  made.setPeers(["10.244.1.0"], [member(2), member(3)]);
  assert.is(made.health(member(2)).reachable, "reachable");
  made.setPeers(["10.244.1.0"], [{ ...member(2), address: "192.168.77.99" }]);
  assert.is(made.health(member(2)).reachable, "unknown");
});

/** A prober whose questions to neighbours are kept, and can be answered. */
function neighbourly() {
  const asked: string[] = [];
  const openings: string[][] = [];
  let ear: NeighbourEar | undefined;
  const neighbours = (opened: NeighbourEar) => {
    ear = opened;
    return {
      setAddresses: (addresses: readonly string[]) => openings.push([...addresses]),
      send: (source: string, destination: string, sequence: number) => {
        asked.push(`${source} ${destination} ${sequence}`);
        return true;
      },
    };
  };
  const { made, sent, clock, signs } = prober({ neighbours });
  const reply = (one: ProbeReply) => ear?.onReply(one);
  const request = (value: bigint, said: number) => ear?.onRequest({ family: 4, value }, said);
  return { made, sent, asked, opened: openings, reply, request, clock, signs };
}

test("a peer beside the tunnel is asked the way its packets go, in each family", () => {
  const { made, sent, asked, opened, reply } = neighbourly();
  const peer: PlannedPeer = {
    ...member(2),
    ...{ ways: { ipv4: "direct", ipv6: "tunnel" }, prefixWays: ["direct", "tunnel"] },
  };
  made.setPeers(["10.244.1.0"], [peer]);
  made.tick();
  assert.equal([asked, sent.length], [["10.244.1.0 10.244.2.0 1"], 0]);
  reply({ sequence: 1, source: { family: 4, value: 0x0af40300n } });
  assert.is(made.health(peer).reachable, "unknown", "an answer of somebody else");
  reply({ sequence: 1, source: { family: 4, value: 0x0af40200n } });
  assert.is(made.health(peer).reachable, "reachable");
  made.setPeers(["fd00::1"], [{ ...peer, probeAddresses: ["fd00:2::"] }, member(3)]);
  made.stop();
  assert.equal(opened, [["10.244.1.0"], ["fd00::1"], []]);
});

test("loss one way between directly routed peers is named by what they ask", () => {
  const { made, request, reply, clock, signs } = neighbourly();
  const peer: PlannedPeer = {
    ...member(2),
    ...{ ways: { ipv4: "direct", ipv6: null }, prefixWays: ["direct"] },
  };
  made.setPeers(["10.244.1.0"], [peer]);
  made.tick();
  reply({ sequence: 1, source: { family: 4, value: 0x0af40200n } });
  for (let said = 2; said < 8; said++) {
    clock.now += 1000;
    request(0x0af40200n, said);
    made.tick();
  }
  assert.equal(made.health(peer).path, { toPeer: "lost", fromPeer: "ok" });
  const heard = () => made.health(peer).lastSeen_ms;
  signs.addresses = [peer.address];
  signs.note(0, { isHeard: true, isAsked: true, said: 1 });
  clock.now += 1000;
  made.tick();
  assert.is(heard(), 1000, "what came by the tunnel says nothing of that way");
  request(0x0af40300n, 1);
  request(0x0af40200n, 1);
  assert.is(made.health(peer).path.toPeer, "ok", "it says that it hears us again");
});

test("no socket is opened while every peer is encapsulated", () => {
  const { made, asked, opened, sent } = neighbourly();
  made.setPeers(["10.244.1.0"], [member(2), member(3)]);
  made.tick();
  assert.equal([asked, opened, sent.length], [[], [[]], 2]);
});

test("a peer without a way is asked by the kernel: the tunnel would answer for it", () => {
  const { made, asked, sent } = neighbourly();
  const lost = { ...member(2), ways: { ipv4: "none" as const, ipv6: null } };
  made.setPeers(["10.244.1.0"], [{ ...lost, prefixWays: ["none"] }]);
  made.tick();
  assert.equal([asked.length, sent.length], [1, 0]);
});

test.run();
