// Who is asked what size and when, and what is believed: against paths of given width, on a clock
// of our own. The search itself: pmtu-search.test.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  PROBE_KIND_AT,
  PROBE_MTU_AT,
  PROBE_REPLY,
  PROBE_SEQUENCE_AT,
} from "../../assembly/shared/layout.js";
import type { PlannedPeer } from "../../src/agent/plan/types.js";
import { BUSY_PER_SECOND, IDLE_PER_SECOND, PathProber } from "../../src/agent/pmtu/prober.js";
import { LOSSES_MAX, type PathLimits } from "../../src/agent/pmtu/search.js";
import { encodeProbe } from "../../src/agent/probe-packets.js";

const LIMITS = { least: 526, base: 1230, most: 1450 };
const IPV4 = 20;
const UDP = 8;

function member(index: number): PlannedPeer {
  const prefix = `10.${index >> 8}.${index & 255}.0`;
  return {
    name: `n${index}`,
    nodeId: `U${index}`,
    kind: "member",
    identity: null,
    address: `192.0.${index >> 8}.${index & 255}`,
    form: { protocol: "vxlan", port: 8472, vni: 1 },
    prefixes: [`${prefix}/24`],
    podCIDRs: [`${prefix}/24`],
    probeAddresses: [prefix],
    prefixWays: ["tunnel"],
    ways: { ipv4: "tunnel", ipv6: null },
  };
}

const foreign: PlannedPeer = { ...member(9), name: "kernel", nodeId: "", kind: "static" };

/** What a node's hot path makes of a request: a small reply that says its own size. */
function replyTo(request: Uint8Array, mtu: number): Uint8Array {
  const isProbe = request[9] === 17;
  const reply = isProbe ? request.slice(0, IPV4 + UDP + 20) : request.slice();
  reply.set(request.subarray(16, 20), 12);
  reply.set(request.subarray(12, 16), 16);
  const view = new DataView(reply.buffer);
  if (isProbe) {
    reply[IPV4 + UDP + PROBE_KIND_AT] = PROBE_REPLY;
    view.setUint16(IPV4 + UDP + PROBE_MTU_AT, mtu);
  } else {
    reply[IPV4] = 0;
  }
  return reply;
}

/** A prober whose peers stand behind paths of one width; nothing happens but by `pass`. */
class Scene {
  now = 0;
  carries = 1500;
  back = 1450;
  isSilent = false;
  changes = 0;
  /** Which peers packets go to all the time. */
  used: number[] = [];
  private readonly counts: number[] = [];
  sent: { at: number; size: number; sequence: number; to: string }[] = [];
  readonly prober: PathProber;

  constructor(readonly peers: PlannedPeer[]) {
    this.prober = new PathProber({
      inject: (packet) => this.inject(packet),
      packetsTo: (peers) => this.counted(peers),
      now: () => this.now,
    });
    this.prober.onChange = () => {
      this.changes++;
    };
    this.plan();
  }

  plan(limits: PathLimits | null = LIMITS, peers = this.peers): void {
    const wanted = peers.map((peer) => ({ peer, limits }));
    this.prober.setPeers(["10.255.0.1"], wanted);
  }

  private counted(peers: number): number[] {
    for (let index = 0; index < peers; index++) {
      this.counts[index] = (this.counts[index] ?? 0) + (this.used[index] ?? 0);
    }
    return [...this.counts];
  }

  private waiting: Uint8Array[] = [];

  private inject(packet: Uint8Array): boolean {
    const view = new DataView(packet.buffer);
    const at = packet[9] === 17 ? IPV4 + UDP + PROBE_SEQUENCE_AT : IPV4 + 4;
    const sequence = packet[9] === 17 ? view.getUint32(at) : view.getUint16(at + 2);
    const to = packet.slice(16, 20).join(".");
    this.sent.push({ at: this.now, size: packet.length, sequence, to });
    if (packet.length <= this.carries && !this.isSilent) this.waiting.push(packet);
    return true;
  }

  /** Time passes in steps of 10 ms; answers come one step later. */
  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now += 10) {
      const answers = this.waiting;
      this.waiting = [];
      for (const packet of answers) {
        assert.ok(this.prober.onPunt(replyTo(packet, this.back)), "our own question");
      }
      if (this.now % 1000 === 0) this.prober.beat();
      this.prober.tick();
    }
    this.prober.stop();
  }

  mtu(peer: PlannedPeer | undefined = this.peers[0]): number | undefined {
    return peer === undefined ? undefined : this.prober.mtuOf(peer);
  }
}

test("the first question is a packet of the full size, and its answer proves the path", () => {
  const scene = new Scene([member(2)]);
  scene.back = 1333;
  scene.pass(100);
  assert.is(scene.sent[0]?.size, 1450);
  const finding = scene.prober.finding(member(2));
  assert.is(finding?.phase, "complete");
  assert.is(finding?.mtu, 1450);
  assert.is(finding?.back, 1333, "what the peer sends to us, as it says");
  assert.is(finding?.isRoundTrip, false);
  assert.is(scene.changes, 0);
  assert.ok(scene.sent.every(({ sequence }) => sequence >= 32_768));
});

test("a path that shrinks under traffic is left within three seconds, and found out in ten", () => {
  const scene = new Scene([member(2)]);
  scene.used = [1];
  scene.pass(3000);
  scene.carries = 1320;
  scene.pass(3000);
  assert.ok((scene.mtu() ?? 9999) <= 1320, `${scene.mtu()}`);
  assert.ok(scene.changes > 0, "and the agent was told");
  scene.pass(7000);
  assert.is(scene.mtu(), 1320);
  assert.is(scene.prober.finding(member(2))?.phase, "complete");
});

test("silence is no loss: with the peer away nothing is concluded", () => {
  const scene = new Scene([member(2)]);
  scene.used = [1];
  scene.pass(3000);
  scene.isSilent = true;
  scene.pass(30_000);
  assert.is(scene.mtu(), 1450);
  assert.is(scene.changes, 0);
});

test("a foreign peer is asked by echo, and its answers are as large as the questions", () => {
  const scene = new Scene([foreign]);
  scene.carries = 1300;
  scene.pass(15_000);
  assert.is(scene.mtu(), 1300);
  assert.is(scene.prober.finding(foreign)?.isRoundTrip, true);
  assert.is(scene.prober.finding(foreign)?.back, null);
});

test("idle peers together are asked at a bounded rate, and busy ones come first", () => {
  const peers = Array.from({ length: 400 }, (_, index) => member(index + 2));
  const scene = new Scene(peers);
  scene.isSilent = true;
  scene.used = peers.map((_, index) => (index === 399 ? 1 : 0));
  scene.pass(5000);
  const idle = scene.sent.filter(({ to }) => to !== peers[399]?.probeAddresses[0]);
  // Two packets a question, and one second's worth at the start.
  assert.ok(idle.length <= 2 * IDLE_PER_SECOND * 6, `${idle.length} packets in 5 s`);
  assert.ok(idle.length >= 2 * IDLE_PER_SECOND * 4, `${idle.length} packets in 5 s`);
  assert.is(scene.sent[0]?.to, peers[399]?.probeAddresses[0]);
  scene.used = peers.map(() => 1);
  scene.sent = [];
  scene.pass(5000);
  assert.ok(scene.sent.length <= 2 * BUSY_PER_SECOND * 6, `${scene.sent.length} packets in 5 s`);
});

test("a plan keeps what is known, a moved peer begins anew, other headers shift the size", () => {
  const scene = new Scene([member(2)]);
  scene.carries = 1300;
  scene.pass(15_000);
  assert.is(scene.mtu(), 1300);
  scene.plan();
  assert.is(scene.mtu(), 1300);
  // Geneve to GRE, say: 26 bytes less outside leave 26 more inside of the same path.
  scene.carries = 1326;
  scene.plan({ least: 552, base: 1256, most: 1476 });
  assert.is(scene.mtu(), 1326);
  scene.pass(15_000);
  assert.is(scene.mtu(), 1326);
  scene.plan(LIMITS, [{ ...member(2), address: "192.0.9.9" }]);
  assert.is(scene.mtu(), 1450);
});

test("a wider interface makes the whole path hoped for again only when it was not reduced", () => {
  const scene = new Scene([member(2)]);
  scene.carries = 9000;
  scene.pass(100);
  scene.plan({ least: 526, base: 1230, most: 8950 });
  assert.is(scene.mtu(), 8950);
  scene.pass(100);
  assert.is(scene.prober.finding(member(2))?.phase, "complete");
});

test("a peer that is reached without a tunnel is not asked, nor by a family that is", () => {
  const scene = new Scene([member(2)]);
  scene.plan(null);
  scene.pass(3000);
  assert.equal(scene.sent, []);
  assert.is(scene.mtu(), undefined);
  scene.plan(LIMITS, [{ ...member(2), ways: { ipv4: "direct", ipv6: "tunnel" } }]);
  scene.pass(3000);
  assert.equal(scene.sent, []);
});

test("answers of strangers, and of questions that were not asked, are not taken", () => {
  const scene = new Scene([member(2)]);
  scene.carries = 0;
  scene.prober.tick();
  const { sequence } = scene.sent[0] ?? { sequence: 0 };
  const asked = (from: string, number: number) =>
    encodeProbe("10.255.0.1", from, number) as Uint8Array;
  assert.not.ok(scene.prober.onPunt(replyTo(asked("10.0.3.0", sequence), 0)), "a stranger");
  assert.not.ok(scene.prober.onPunt(replyTo(asked("10.0.2.0", sequence + 7), 0)), "not asked");
  scene.pass(20_000);
  assert.is(scene.prober.finding(member(2))?.proven_ms, null);
});

test("losses are judged only after several questions, each with a small one beside it", () => {
  const scene = new Scene([member(2)]);
  scene.pass(2000);
  scene.used = [1];
  scene.pass(1000);
  scene.carries = 1449;
  const before = scene.sent.length;
  while (scene.changes === 0) scene.pass(10);
  const asked = scene.sent.slice(before);
  assert.is(asked.filter(({ size }) => size === 1450).length, LOSSES_MAX + 1);
  assert.is(asked.filter(({ size }) => size < 100).length, LOSSES_MAX);
});

test.run();
