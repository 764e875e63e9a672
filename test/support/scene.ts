// What tests of the hot path's single packets begin and end with: node 1 of a small mesh, exact
// counters, and a table of datagrams that are refused.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { droppedPackets, packetsInFlight } from "../../src/datapath/counters.js";
import type { TablePeer } from "../../src/datapath/types.js";
import { loadModule, type TestModule, type WireInput } from "./module.js";
import { contentsOf, underlayOf } from "./nodes.js";

/** Node 1, which knows these peers. */
export async function nodeOne(peers: readonly (number | TablePeer)[]): Promise<TestModule> {
  const module = await loadModule();
  module.publish(contentsOf(1, peers));
  return module;
}

/** Input of a datagram from node 2. */
export function fromTwo(changes: Partial<WireInput> = {}): WireInput {
  return { from: underlayOf(2), ...changes };
}

/** Whether each packet that came in has left or is counted, on both ways. */
export function assertExact(module: TestModule): void {
  const { egress, ingress } = module.counters();
  assert.is(packetsInFlight(egress), 0, "egress is exact");
  assert.is(packetsInFlight(ingress), 0, "ingress is exact");
}

/** A datagram that ends here, and the drop reason it is counted by. */
export interface Refusal {
  name: string;
  reason: string;
  datagram: Uint8Array;
  input?: Partial<WireInput>;
}

/** A test for each refusal: nothing leaves `open`'s node, and one packet is counted. */
export function testRefusals(
  what: string,
  open: () => Promise<TestModule>,
  from: (changes?: Partial<WireInput>) => WireInput,
  refusals: readonly Refusal[],
): void {
  for (const { name, reason, datagram, input } of refusals) {
    test(`${what} ${name} is counted as ${reason}`, async () => {
      const module = await open();
      module.feedWire(datagram, from(input));
      const { wire, tun } = module.run();
      assert.is(wire.length + tun.length, 0);
      const { ingress } = module.counters();
      assert.equal(Object.keys(ingress.drops), [reason]);
      assert.is(droppedPackets(ingress), 1);
      assertExact(module);
    });
  }
}
