// The promise of every counter: at rest received + generated = forwarded + consumed + dropped, per
// worker and direction, whatever came in and whatever the writes came to.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { EGRESS } from "../../assembly/shared/layout.js";
import { droppedPackets } from "../../src/datapath/counters.js";
import { loadModule, loadWorkers, type TestModule, type VnetHeader } from "../support/module.js";
import { contentsOf, peerOf, podPacket, underlayOf, vxlanDatagram } from "../support/nodes.js";
import { concat, TCP, UDP } from "../support/packets.js";
import { Random } from "../support/random.js";
import { assertExact } from "../support/scene.js";

const seed = Number(process.env.MESHD_FUZZ_SEED ?? 20261122);
const ROUNDS = 300;

/** Mostly right packets between a few nodes, some of them known, and some damage. */
function somePacket(random: Random, from: readonly number[], to: readonly number[]): Uint8Array {
  const packet = podPacket(random.pick([4, 6] as const), random.pick(from), random.pick(to), {
    protocol: random.pick([TCP, UDP]),
    payload: new Uint8Array(random.pick([0, 5, 100, 100, 1390, 1600])),
    sourcePort: 1000 + (random.bits() % 5),
    sequence: (random.bits() % 4) * 1390,
    ttl: random.once(20) ? 0 : 64,
    tos: random.pick([0, 0, 2, 3]),
  });
  if (random.once(10)) packet[random.bits() % packet.length] = random.bits();
  return random.once(20) ? packet.slice(0, random.bits() % packet.length) : packet;
}

function feedEgress(module: TestModule, random: Random): void {
  const vnet: VnetHeader = {};
  if (random.once(3)) vnet.flags = random.bits() & 3;
  if (random.once(5)) vnet.checksumStart = random.bits() % 100;
  if (random.once(3)) {
    vnet.gsoType = random.pick([1, 4, 5, 3, 0x81]);
    vnet.gsoSize = random.pick([0, 1, 50, 500, 1400]);
  }
  module.feedTun(somePacket(random, [1, 1, 1, 2], [1, 2, 2, 3, 9]), vnet);
}

function feedIngress(module: TestModule, random: Random): void {
  const one = () =>
    vxlanDatagram(somePacket(random, [2, 2, 3, 9], [1, 1, 1, 2]), {
      vni: random.once(20) ? 1 : 42,
      flags: random.once(20) ? 0 : 8,
    });
  const first = one();
  const count = random.once(3) ? random.between(2, 20) : 1;
  const train = concat(...Array.from({ length: count }, (_, i) => (i % 3 === 2 ? one() : first)));
  module.feedWire(train, {
    from: underlayOf(random.pick([2, 2, 3, 200])),
    tos: random.bits() & 3,
    segment: count > 1 ? first.length : 0,
    flags: random.once(30) ? 1 : 0,
  });
}

test("the sums hold exactly over random traffic and random failures of the writes", async () => {
  const random = new Random(seed);
  const module = await loadModule();
  module.publish(contentsOf(1, [2, peerOf(3, { mtu: 600 })]));
  module.fail = () => {
    if (!random.once(10)) return undefined;
    return { status: random.pick([0, 5, 22, 105]), failed: random.bits() & 3 };
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = random.bits() % 65; i > 0; i--) feedEgress(module, random);
    for (let i = random.bits() % 65; i > 0; i--) feedIngress(module, random);
    if (random.once(2)) module.inject(somePacket(random, [1], [2, 3, 9]));
    module.run();
    module.now_us += random.bits() % 10_000;
    if (random.once(4)) module.punts();
    assertExact(module);
  }
  const { egress, ingress } = module.counters();
  assert.ok(egress.received > 5000 && ingress.received > 5000, `seed ${seed}`);
  assert.ok(egress.forwarded > 0 && ingress.forwarded > 0 && egress.generated > 0);
  assert.ok((egress.drops.SEND_FAILED?.packets ?? 0) > 0, "failed sends are drops");
  assert.ok((ingress.drops.TUN_WRITE_FAILED?.packets ?? 0) > 0, "failed writes are drops");
});

test("a send that fails for some segments of a train counts those alone", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [2]));
  module.fail = () => ({ status: 105, failed: 3 });
  for (let i = 0; i < 10; i++) module.feedTun(podPacket(4, 1, 2));
  const { wire } = module.run();
  assert.is(wire[0]?.segments, 10);
  const { egress } = module.counters();
  assert.equal([egress.forwarded, egress.drops.SEND_FAILED?.packets], [7, 3]);
  const bytes = podPacket(4, 1, 2).length;
  assert.equal([egress.forwardedBytes, egress.drops.SEND_FAILED?.bytes], [7 * bytes, 3 * bytes]);
});

test("outputs that no write ever reached count as failed", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [2]));
  module.feedTun(podPacket(4, 1, 2));
  module.hot.run(0);
  module.hot.settle();
  assert.is(module.counters().egress.drops.SEND_FAILED?.packets, 1);
  assertExact(module);
});

test("before the first tables every packet is a counted drop", async () => {
  const module = await loadModule();
  module.feedTun(podPacket(4, 1, 2));
  module.feedTun(podPacket(6, 1, 2));
  module.feedWire(vxlanDatagram(podPacket(4, 2, 1)), { from: underlayOf(2) });
  module.run();
  const { egress, ingress } = module.counters();
  assert.is(egress.drops.FOREIGN_SOURCE?.packets, 2);
  assert.is(ingress.drops.UNKNOWN_PEER?.packets, 1);
  assert.is(droppedPackets(egress) + droppedPackets(ingress), 3);
});

test("workers on one memory count apart and see the same tables", async () => {
  const workers = await loadWorkers({ workers: 3 });
  workers[0]?.publish(contentsOf(1, [2]));
  for (const [index, worker] of workers.entries()) {
    for (let i = 0; i <= index; i++) worker.feedTun(podPacket(4, 1, 2));
    assert.is(worker.run().wire.length, 1);
  }
  assert.equal(
    workers.map((worker) => worker.counters().egress.forwarded),
    [1, 2, 3],
  );
});

test("answers to what came from the overlay count in its direction", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [2]));
  module.feedTun(podPacket(4, 1, 99));
  const { tun } = module.run();
  assert.is(tun[0]?.direction, EGRESS);
  const { egress } = module.counters();
  assert.equal([egress.received, egress.generated, egress.forwarded], [1, 1, 1]);
});

test.run();
