// Peers to which each datagram is a send of its own: sockets without checksums send no trains.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadModule } from "../support/module.js";
import { contentsOf, macOf, peerOf, podPacket, vxlanDatagram } from "../support/nodes.js";
import { ACK, concat, PSH, TCP } from "../support/packets.js";
import { assertExact } from "../support/scene.js";

const GSO_TCP6 = 4;

test("to a peer whose sockets send no checksums each packet leaves alone", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { lone: true }), 3]));
  const singles = [0, 1, 2].map((i) => podPacket(4, 1, 2, { identification: i }));
  for (const packet of singles) module.feedTun(packet);
  const whole = podPacket(6, 1, 2, {
    protocol: TCP,
    payload: Uint8Array.from({ length: 60_000 }, (_, i) => (i * 7) & 255),
    flags: ACK | PSH,
  });
  module.feedTun(whole, { gsoType: GSO_TCP6, gsoSize: 1390, flags: 1 });
  const { wire } = module.run();
  assert.is(wire.length, 3 + Math.ceil(60_000 / 1390));
  assert.ok(wire.every((out) => out.segments === 1 && out.segment === 0));
  assert.equal(
    wire.slice(0, 3).map((out) => out.bytes),
    singles.map((packet) => vxlanDatagram(packet, { to: macOf(2), from: macOf(1) })),
  );
  const inner = wire.slice(3).map((out) => out.bytes.slice(22 + 60));
  assert.equal(concat(...inner), whole.slice(60));
  module.feedTun(podPacket(4, 1, 3));
  module.feedTun(podPacket(4, 1, 3));
  assert.equal(
    module.run().wire.map((out) => out.segments),
    [2],
  );
  assertExact(module);
});

test.run();
