// A datagram that looks like the one before it goes a shorter way. That way gives the same outputs
// and counters as the long one: each batch is fed twice, as trains, and with a stranger between any
// two datagrams, behind which nothing looks like the one before.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  D_CAPACITY,
  D_LENGTH,
  FEATURE_TUN_USO,
  HEADROOM,
  SLOT_SIZE,
  W_FEATURES,
  W_WIRE_SLOTS,
} from "../../assembly/shared/layout.js";
import type { DirectionCounters } from "../../src/datapath/counters.js";
import {
  addressOf,
  HostileTrains,
  isStranger,
  type Segment,
  stranger,
  trainsOf,
} from "../support/hostile-trains.js";
import { loadModule, type Outputs, type TestModule, type TunOutput } from "../support/module.js";
import { contentsOf, peerOf, podPacket, vxlanDatagram } from "../support/nodes.js";
import { ACK, be16, concat, PSH, setBe16, TCP, UDP } from "../support/packets.js";
import { seededRandom } from "../support/random.js";

const ROUNDS = Number(process.env.MESHD_FUZZ_ROUNDS ?? 1500);
/**
 * With as many strangers between them they fit the inputs of one run, and all of them make no block
 * so large that it would not be gathered with others.
 */
const SEGMENTS_MAX = 22;
const MTU = 9000;
const random = seededRandom("follow");
const hostile = new HostileTrains(random);
const STRANGER = stranger();
const STRANGER_BYTES = STRANGER.length;
const STRANGER_INNER = STRANGER_BYTES - 22;

async function openModule(): Promise<TestModule> {
  const module = await loadModule();
  module.publish(
    contentsOf(
      1,
      [2, 3].map((node) => peerOf(node, { mtu: MTU })),
    ),
  );
  return module;
}

const short = await openModule();
const long = await openModule();

function feedTrains(segments: readonly Segment[]): void {
  for (const train of trainsOf(segments, random)) {
    const [first] = train;
    if (first === undefined) continue;
    short.feedWire(concat(...train.map((segment) => segment.bytes)), {
      ...{ from: addressOf(first), tos: first.tos },
      segment: train.length > 1 ? first.bytes.length : 0,
    });
  }
}

function feedApart(segments: readonly Segment[]): void {
  for (const segment of segments) {
    long.feedWire(segment.bytes, { from: addressOf(segment), tos: segment.tos });
    long.feedWire(STRANGER, { from: addressOf({ ...segment, node: 2 }) });
  }
}

/** What came out, without the strangers. */
function seen(module: TestModule, outputs: Outputs) {
  return {
    // Where it lies is what the ways may differ in.
    tun: outputs.tun
      .filter((output) => !isStranger(output.packet))
      .map(({ isInArena: _place, ...output }) => output),
    wire: outputs.wire.flatMap((output) => output.datagrams),
    punts: module.punts(),
  };
}

/** Counters as if the strangers had not been. */
function without(counters: DirectionCounters, strangers: number): DirectionCounters {
  const { received, receivedBytes, forwarded, forwardedBytes, sends } = counters;
  return {
    ...counters,
    received: received - strangers,
    receivedBytes: receivedBytes - strangers * STRANGER_BYTES,
    forwarded: forwarded - strangers,
    forwardedBytes: forwardedBytes - strangers * STRANGER_INNER,
    sends: sends - strangers,
  };
}

test(`${ROUNDS} batches of hostile trains: the short way gives what the long way gives`, () => {
  let strangers = 0;
  let joined = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const features = random.once(4) ? 0 : FEATURE_TUN_USO;
      for (const module of [short, long]) module.setWord(W_FEATURES, features);
      const segments = hostile.draw(random.between(1, SEGMENTS_MAX));
      feedTrains(segments);
      feedApart(segments);
      strangers += segments.length;
      const outputs = short.run();
      joined += outputs.tun.filter((output) => output.segments > 1).length;
      assert.equal(seen(short, outputs), seen(long, long.run()));
      const { ingress, egress } = long.counters();
      assert.equal(short.counters().ingress, without(ingress, strangers));
      assert.equal(short.counters().egress, egress);
    }
  } catch (error) {
    process.stdout.write(`failed; again by MESHD_FUZZ_SEED=${random.seed}\n`);
    throw error;
  }
  assert.ok(joined > ROUNDS / 4, `${joined} super-packets`);
  const drops = Object.keys(short.counters().ingress.drops);
  for (const name of ["SPOOFED_SOURCE", "NOT_LOCAL", "BAD_IP_HEADER", "ECN_ILLEGAL", "BAD_LENGTH"])
    assert.ok(drops.includes(name), `${name} was reached`);
});

const from2 = { from: "192.0.2.2" };

/** A TCP train from node 2, of payloads of these sizes; datagram `bad` has a wrong checksum. */
function tcpTrain(version: 4 | 6, sizes: readonly number[], bad = -1): Uint8Array[] {
  let sequence = 0xffff_f000;
  return sizes.map((size, i) => {
    const packet = podPacket(version, 2, 1, {
      ...{ protocol: TCP, payload: random.bytes(size), sequence, identification: i },
      flags: i === sizes.length - 1 ? ACK | PSH : ACK,
    });
    sequence = (sequence + size) >>> 0;
    if (i === bad) packet[packet.length - 1] = ~(packet.at(-1) ?? 0);
    return packet;
  });
}

const counts = (tun: readonly TunOutput[]) => tun.map((output) => output.segments);
const train = (packets: readonly Uint8Array[]) =>
  concat(...packets.map((packet) => vxlanDatagram(packet)));

for (const version of [4, 6] as const) {
  test(`IPv${version}: a wrong checksum in a train leaves that packet as it came`, async () => {
    for (const size of [40, 700, 1399]) {
      for (const bad of [0, 1, 2, 17, 19]) {
        const module = await openModule();
        const packets = tcpTrain(version, new Array<number>(20).fill(size), bad);
        const segment = (packets[0]?.length ?? 0) + 22;
        module.feedWire(train(packets), { ...from2, segment });
        const { tun } = module.run();
        const alone = tun.filter((output) => output.segments === 1).map((output) => output.packet);
        assert.ok(alone.some((packet) => Buffer.compare(packet, packets[bad] ?? packet) === 0));
        const total = tun.reduce((sum, output) => sum + output.segments, 0);
        assert.is(total, packets.length);
        assert.equal(module.counters().ingress.drops, {});
      }
    }
  });

  test(`IPv${version}: datagrams of slots of their own become one super-packet`, async () => {
    const module = await openModule();
    const sizes = new Array<number>(44).fill(1398);
    for (const packet of tcpTrain(version, sizes)) module.feedWire(vxlanDatagram(packet), from2);
    const { tun } = module.run();
    assert.equal(counts(tun), [44]);
    assert.is(module.counters().ingress.forwarded, 44);
  });
}

/** Bytes of the slot of input `index`, from `from` bytes behind its headroom on. */
function slotBytes(module: TestModule, index: number, from: number): Uint8Array {
  const slot = module.base + W_WIRE_SLOTS + index * SLOT_SIZE;
  return module.views.bytes.slice(slot + HEADROOM + from, slot + SLOT_SIZE);
}

test("nothing is written behind the room that a descriptor names", async () => {
  const module = await openModule();
  const packets = tcpTrain(4, [1000, 1000, 1000]);
  for (const packet of packets) {
    const at = module.feedWire(vxlanDatagram(packet), from2);
    module.view.setUint32(at + D_CAPACITY, packet.length + 22, true);
  }
  const { tun } = module.run();
  assert.equal(counts(tun), [3]);
  packets.forEach((packet, i) => {
    assert.ok(slotBytes(module, i, packet.length + 22).every((byte) => byte === 0xa5));
  });
});

test("a super-packet that begins late in its slot goes on beyond the slot's end", async () => {
  const module = await openModule();
  const begun = tcpTrain(4, new Array<number>(42).fill(1398)).slice(0, 41);
  const first = tcpTrain(4, new Array<number>(30).fill(1398));
  const segment = 1398 + 40 + 22;
  module.feedWire(train([...begun, ...first.slice(0, 1)]), { ...from2, segment });
  for (const packet of first.slice(1)) module.feedWire(vxlanDatagram(packet), from2);
  const { tun } = module.run();
  assert.is(tun[0]?.segments, 41);
  assert.ok(tun.length <= 3 && tun.reduce((sum, output) => sum + output.segments, 0) === 71);
  const joined = concat(...first.map((packet) => packet.subarray(40)));
  assert.equal(concat(...tun.slice(1).map((output) => output.packet.subarray(40))), joined);
});

test("a cut datagram is dropped as ever, whatever the slot still holds behind it", async () => {
  for (const version of [4, 6] as const) {
    for (let length = 0; length < 90; length++) {
      const results = [true, false].map(async (hasForerunner) => {
        const module = await openModule();
        const [first, second] = tcpTrain(version, [500, 500, 500]).map((p) => vxlanDatagram(p));
        if (hasForerunner) module.feedWire(first ?? STRANGER, from2);
        const at = module.feedWire(second ?? STRANGER, from2);
        module.view.setUint32(at + D_LENGTH, length, true);
        module.run();
        return module.counters().ingress.drops;
      });
      const [behind, alone] = await Promise.all(results);
      assert.equal(behind, alone, `${length} bytes`);
      assert.is(Object.keys(alone ?? {}).length, 1);
    }
  }
});

test("a datagram without a checksum stays alone, even where the sum would be right", async () => {
  const module = await openModule();
  module.setWord(W_FEATURES, FEATURE_TUN_USO);
  const packet = (checksum?: number) => {
    const build = (last: number) => {
      const payload = new Uint8Array(40).fill(7);
      setBe16(payload, 38, last);
      return podPacket(4, 2, 1, { payload, ...(checksum === undefined ? {} : { checksum }) });
    };
    const plain = podPacket(4, 2, 1, { payload: new Uint8Array(40).fill(7).fill(0, 38) });
    return build(be16(plain, 26));
  };
  assert.is(be16(packet(), 26), 0xffff);
  module.feedWire(train([packet(), packet(), packet(0)]), { ...from2, segment: 22 + 68 });
  assert.equal(counts(module.run().tun), [2, 1]);
});

test("probes behind each other, of one header, are each looked at", async () => {
  const module = await openModule();
  module.setWord(W_FEATURES, FEATURE_TUN_USO);
  const probe = (kind: number) => {
    const payload = new Uint8Array(40);
    payload.set([0x6d, 0x70, 0x72, 0x62, kind]);
    return podPacket(4, 2, 1, {
      ...{ protocol: UDP, payload, sourcePort: 51_997, destinationPort: 51_997 },
      destination: Uint8Array.of(10, 244, 1, 1),
    });
  };
  const packets = [probe(9), probe(9), probe(0), probe(1), probe(9)];
  module.feedWire(train(packets), { ...from2, segment: 22 + 68 });
  const { tun, wire } = module.run();
  assert.is(
    tun.reduce((sum, output) => sum + output.segments, 0),
    3,
  );
  assert.is(wire.length, 1);
  assert.is(module.punts().length, 1);
});

test.run();
