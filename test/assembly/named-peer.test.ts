// Packets of the control thread that name the table entry they go by: a way that no prefix leads
// to, and that data does not take yet.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { C_GENERATION, CONTROL, SOCKET_GENEVE } from "../../assembly/shared/layout.js";
import { TableError } from "../../src/datapath/contents.js";
import { SHADOWS_MAX } from "../../src/datapath/types.js";
import { loadModule, type TestModule } from "../support/module.js";
import { contentsOf, peerOf, pod4, podPacket, underlayOf } from "../support/nodes.js";

const GENEVE_PORT = 6081;
const shadow = peerOf(2, { protocol: "geneve", port: GENEVE_PORT, prefixes: [], shadow: true });
const question = podPacket(4, 1, 2, { source: pod4(1, 1), destination: pod4(2, 1) });

async function node1(): Promise<TestModule> {
  const module = await loadModule();
  module.publish(contentsOf(1, [2, 3, shadow]));
  return module;
}

function generationOf(module: TestModule): number {
  return module.view.getUint32(CONTROL + C_GENERATION, true);
}

test("a named packet goes by that entry, data and others by the first", async () => {
  const module = await node1();
  assert.ok(module.inject(question, { index: 2, generation: generationOf(module) }));
  assert.ok(module.inject(question));
  module.feedTun(podPacket(4, 1, 2));
  const ports = module.run().wire.map(({ port }) => port);
  assert.equal(ports.sort(), [GENEVE_PORT, 8472, 8472].sort());
});

test("a name of other tables, or of nobody, is a counted drop", async () => {
  const module = await node1();
  const generation = generationOf(module);
  module.inject(question, { index: 2, generation: generation - 1 });
  module.inject(question, { index: 2, generation: generation + 1 });
  module.inject(question, { index: 3, generation });
  module.inject(question, { index: 0xffff_fffe, generation });
  assert.is(module.run().wire.length, 0);
  assert.is(module.counters().egress.drops.NO_ROUTE?.packets, 4);
});

test("what comes from the address of both entries is the first one's", async () => {
  const module = await node1();
  const packet = podPacket(4, 2, 1);
  const other = await loadModule();
  other.publish(contentsOf(2, [peerOf(1, { protocol: "geneve", port: GENEVE_PORT })]));
  other.feedTun(packet);
  const [datagram] = other.run().wire;
  assert.ok(datagram !== undefined);
  const receive = (receives: "vxlan" | "geneve") => {
    module.publish(contentsOf(1, [peerOf(2, { receives: [receives] }), 3, shadow]));
    module.feedWire(datagram.bytes, { from: underlayOf(2), socket: SOCKET_GENEVE });
    return module.run().tun.length;
  };
  assert.is(receive("geneve"), 1);
  assert.is(receive("vxlan"), 0);
  assert.is(module.counters().ingress.drops.WRONG_PROTOCOL?.packets, 1);
});

test("shadows take no peer's room, and there is an end of them", async () => {
  const module = await loadModule({ peerCapacity: 2 });
  const many = (count: number) => contentsOf(1, [2, 3, ...new Array(count).fill(shadow)]);
  module.publish(many(SHADOWS_MAX));
  assert.throws(
    () => module.publish(many(SHADOWS_MAX + 1)),
    (error: unknown) => error instanceof TableError && error.code === "MESHD_TABLE_FULL",
  );
  assert.throws(
    () => module.publish(contentsOf(1, [2, 3, 4])),
    (error: unknown) => error instanceof TableError && error.code === "MESHD_TABLE_FULL",
  );
});

test.run();
