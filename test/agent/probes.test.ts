// Data-path probes: packets byte by byte, and what is believed of a peer, on a clock of our own.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  PROBE_ICMP_ID,
  PROBE_KIND_AT,
  PROBE_PORT,
  PROBE_REPLY,
} from "../../assembly/shared/layout.js";
import type { PlannedPeer } from "../../src/agent/plan/types.js";
import {
  decodeReply,
  encodeEcho,
  encodeProbe,
  type ProbeReply,
} from "../../src/agent/probe-packets.js";
import { PROBES_PER_SECOND, Prober, type ProberOptions } from "../../src/agent/probes.js";

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

/** What the far node's hot path sends back: addresses swapped, kind set. */
function answer(request: Uint8Array): Uint8Array {
  const reply = request.slice();
  const [at, size, start] = (request[0] ?? 0) >> 4 === 4 ? [12, 4, 20] : [8, 16, 40];
  reply.set(request.subarray(at + size, at + 2 * size), at);
  reply.set(request.subarray(at, at + size), at + size);
  const protocol = request[at === 12 ? 9 : 6];
  if (protocol === 17) reply[start + 8 + PROBE_KIND_AT] = PROBE_REPLY;
  else reply[start] = protocol === 1 ? 0 : 129;
  return reply;
}

/** Slow ones' complement sum over any bytes: 0xffff when the checksum inside is right. */
function slowSum(bytes: number[]): number {
  let total = 0;
  bytes.forEach((byte, at) => {
    total += at % 2 === 0 ? byte * 256 : byte;
  });
  return total % 0xffff || 0xffff;
}

test("a probe is a well-formed UDP packet in both families, at every size", () => {
  const pairs = [
    ["10.244.1.0", "10.244.2.0"],
    ["fd00:244:0:1::", "fd00:244:0:2::"],
  ] as const;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2000 }), fc.nat(0xffffffff), (size, sequence) => {
      for (const [source, destination] of pairs) {
        const packet = encodeProbe(source, destination, sequence, size) as Uint8Array;
        const four = source.includes(".");
        const start = four ? 20 : 40;
        const udp = packet.slice(start);
        const pseudo = [...packet.slice(four ? 12 : 8, start)];
        assert.is(slowSum([...pseudo, 0, 17, udp.length >> 8, udp.length & 255, ...udp]), 0xffff);
        if (four) assert.is(slowSum([...packet.slice(0, 20)]), 0xffff);
        const view = new DataView(udp.buffer);
        assert.is(view.getUint16(0), PROBE_PORT);
        assert.is(view.getUint16(2), PROBE_PORT);
        assert.is(view.getUint16(4), udp.length);
        assert.is(decodeReply(packet), null, "a question is no answer");
        assert.is(decodeReply(answer(packet))?.sequence, sequence);
      }
    }),
  );
});

test("an echo request is well formed in both families and its reply is known again", () => {
  const four = encodeEcho("10.244.1.0", "10.250.0.1", 0x12345) as Uint8Array;
  assert.is(slowSum([...four.slice(20)]), 0xffff);
  assert.is(new DataView(four.buffer).getUint16(24), PROBE_ICMP_ID);
  assert.is(decodeReply(answer(four))?.sequence, 0x2345);
  const six = encodeEcho("fd00::1", "fd00::2", 7) as Uint8Array;
  const length = six.length - 40;
  assert.is(slowSum([...six.slice(8, 40), 0, 58, 0, length, ...six.slice(40)]), 0xffff);
  assert.is(decodeReply(answer(six))?.sequence, 7);
  assert.is(encodeEcho("10.0.0.1", "fd00::2", 7), null);
});

test("no bytes make the reader throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
      const reply = decodeReply(bytes);
      assert.ok(reply === null || reply.sequence >= 0);
    }),
  );
});

function prober(neighbours?: ProberOptions["neighbours"]) {
  const clock = { now: 1000 };
  const pods = { packets: 0 };
  const sent: Uint8Array[] = [];
  const made = new Prober({
    inject: (packet) => {
      sent.push(packet);
      return true;
    },
    traffic: () => pods.packets,
    now: () => clock.now,
    ...(neighbours === undefined ? {} : { neighbours }),
  });
  /** Turns of the beat, a second apart; the count of questions in each. */
  const turns = (count: number, isBusy = false) =>
    Array.from({ length: count }, () => {
      const before = sent.length;
      pods.packets += Number(isBusy);
      clock.now += 1000;
      made.tick();
      return sent.length - before;
    });
  return { made, clock, sent, pods, turns };
}

test("a peer that answers is reachable with a time, and unreachable when silent", () => {
  const { made, clock, sent, turns } = prober();
  made.setPeers(["10.244.1.0"], [member(2)]);
  assert.is(made.health(member(2)).reachable, "unknown");
  made.tick();
  assert.is(sent.length, 1);
  clock.now += 0.25;
  assert.ok(made.onPunt(answer(sent[0] as Uint8Array)));
  assert.equal(made.health(member(2)), { reachable: "reachable", rtt_us: 250, lastSeen_ms: 0 });
  assert.not.ok(made.onPunt(answer(sent[0] as Uint8Array)), "an answer counts once");
  assert.equal(turns(4, true), [1, 1, 1, 1]);
  assert.is(made.health(member(2)).reachable, "reachable");
  clock.now += 1000;
  assert.is(made.health(member(2)).reachable, "unreachable", "5 s after its last answer");
  assert.ok(made.onPunt(answer(sent[4] as Uint8Array)), "an answer that was long under way");
  assert.is(made.health(member(2)).reachable, "reachable");
});

test("a node without traffic asks every 5 s, one with traffic each second, for a minute on", () => {
  const { made, sent, turns, pods } = prober();
  made.setPeers(["10.244.1.0"], [member(2)]);
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
  pods.packets += 1;
  assert.is(answered(1), 1, "at once");
  assert.is(answered(59), 59);
  assert.is(answered(100), 20);
  assert.is(made.health(member(2)).reachable, "reachable");
});

test("without traffic a silent peer is asked each second, and seldom once it is given up", () => {
  const { made, sent, turns } = prober();
  made.setPeers(["10.244.1.0"], [member(2)]);
  turns(1);
  assert.ok(made.onPunt(answer(sent[0] as Uint8Array)));
  assert.equal(turns(9), [0, 0, 0, 0, 1, 1, 1, 1, 1]);
  assert.is(made.health(member(2)).reachable, "unreachable");
  turns(60);
  assert.equal(turns(10).filter((asked) => asked > 0).length, 2);
});

test("a member that never answers becomes unreachable, a foreign peer stays unknown", () => {
  const { made, clock } = prober();
  const foreign: PlannedPeer = { ...member(3), nodeId: "", kind: "static", name: "kernel" };
  made.setPeers(["10.244.1.0"], [member(2), foreign]);
  for (let round = 0; round < 12; round++) {
    clock.now += 1000;
    made.tick();
    made.tick();
  }
  assert.is(made.health(member(2)).reachable, "unreachable");
  assert.is(made.health(foreign).reachable, "unknown");
});

test("an answer from another address than the one asked is not believed", () => {
  const { made, sent } = prober();
  made.setPeers(["10.244.1.0"], [member(2)]);
  made.tick();
  const forged = answer(sent[0] as Uint8Array);
  forged[14] = 9;
  assert.not.ok(made.onPunt(forged));
  assert.is(made.health(member(2)).reachable, "unknown");
});

test("the rate of the whole node is bounded however many peers there are", () => {
  const { made, sent, turns } = prober();
  const peers = Array.from({ length: 200 }, (_, index) => member(index + 2));
  made.setPeers(["10.244.1.0"], peers);
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
  const opened: string[][] = [];
  let reply: (reply: ProbeReply) => void = () => undefined;
  const { made, sent } = prober((onReply) => {
    reply = onReply;
    return {
      setAddresses: (addresses) => opened.push([...addresses]),
      send: (source, destination, sequence) => {
        asked.push(`${source} ${destination} ${sequence}`);
        return true;
      },
    };
  });
  return { made, sent, asked, opened, reply: (one: ProbeReply) => reply(one) };
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
