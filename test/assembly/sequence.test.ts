// Sequence numbers of GRE tunnels: numbering that neither tables nor other peers disturb, and which
// packets are old (RFC 2890 section 2.2).
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SOCKET_GRE } from "../../assembly/shared/layout.js";
import type { TablePeer } from "../../src/datapath/types.js";
import { loadModule, type TestModule } from "../support/module.js";
import {
  contentsOf,
  grePacket,
  outerIpv4,
  peerOf,
  podPacket,
  underlayOf,
} from "../support/nodes.js";
import { be32, TCP } from "../support/packets.js";

const NUMBERED = { key: null, checksum: false, sequence: true };
/** Old numbers in a row that mean a new beginning. */
const RESTART_RUN = 16;

function numbered(node: number): TablePeer {
  const { mac: _mac, vni: _vni, ...rest } = peerOf(node, { protocol: "gre", port: 0 });
  return { ...rest, gre: NUMBERED };
}

async function node1(...peers: number[]): Promise<TestModule> {
  const module = await loadModule({ peerCapacity: 4 });
  module.publish(contentsOf(1, (peers.length === 0 ? [2, 3] : peers).map(numbered)));
  return module;
}

/** Feeds packets of these numbers from a node, each in a run of its own; which were taken. */
function taken(module: TestModule, numbers: number[], from = 2): number[] {
  return numbers.filter((sequence) => {
    module.feedWire(grePacket(podPacket(4, from, 1), { sequence }), {
      ...{ from: underlayOf(from), socket: SOCKET_GRE, before: outerIpv4(47) },
    });
    return module.run().tun.length === 1;
  });
}

const from = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

/** The numbers of all packets sent to a node, in order. */
function sentTo(module: TestModule, node: number): number[] {
  return module
    .run()
    .wire.filter(({ peer }) => peer[3] === node)
    .flatMap(({ datagrams }) => datagrams.map((bytes) => be32(bytes, 4)));
}

test("each peer's packets are numbered from 0 on, however they are mixed and joined", async () => {
  const module = await node1();
  const super2 = podPacket(4, 1, 2, { protocol: TCP, payload: new Uint8Array(5000) });
  for (let i = 0; i < 20; i++) {
    const size = 20 + ((i * 7) % 30);
    // Flows that would go by different sockets, with marks that do not fit one train.
    const changes = { payload: new Uint8Array(size), sourcePort: 1000 + i, tos: i % 3 };
    module.feedTun(podPacket(4, 1, i % 2 === 0 ? 2 : 3, changes));
    if (i % 5 === 4) {
      module.feedTun(super2, {
        ...{ flags: 1, gsoType: 1, headerLength: 40, gsoSize: 1000 },
        ...{ checksumStart: 20, checksumOffset: 16 },
      });
    }
  }
  const { wire } = module.run();
  const numbers = (node: number) =>
    wire
      .filter(({ peer }) => peer[3] === node)
      .flatMap(({ datagrams }) => datagrams.map((bytes) => be32(bytes, 4)));
  assert.equal(numbers(2), from(0, 30));
  assert.equal(numbers(3), from(0, 10));
});

test("numbers go on over new tables, in whatever order peers stand there", async () => {
  const module = await node1();
  const send = () => {
    for (const node of [2, 3]) module.feedTun(podPacket(4, 1, node));
  };
  send();
  assert.equal(sentTo(module, 3), [0]);
  assert.equal(taken(module, [100, 101]), [100, 101]);
  module.publish(contentsOf(1, [4, 3, 2].map(numbered)));
  send();
  assert.equal(sentTo(module, 3), [1]);
  assert.equal(taken(module, [100, 101, 102]), [102]);
  assert.equal(taken(module, [5, 6], 3), [5, 6]);
});

test("a peer that went and came back begins anew, whose record rested a generation", async () => {
  const module = await node1(2);
  assert.equal(taken(module, [50, 49]), [50]);
  module.publish(contentsOf(1, [numbered(3)]));
  assert.equal(taken(module, [7, 6], 3), [7]);
  module.publish(contentsOf(1, [numbered(4)]));
  assert.equal(taken(module, [1, 0], 4), [1]);
  module.publish(contentsOf(1, [numbered(4), numbered(2)]));
  assert.equal(taken(module, [3, 2]), [3]);
  assert.equal(taken(module, [1, 2], 4), [2]);
});

test("what comes late or twice is dropped and counted, whatever the first number was", async () => {
  const module = await node1();
  assert.equal(taken(module, [9, 9, 8, 10, 12, 11, 13]), [9, 10, 12, 13]);
  const { drops } = module.counters().ingress;
  assert.equal(Object.keys(drops), ["OLD_SEQUENCE"]);
  assert.is(drops.OLD_SEQUENCE?.packets, 3);
});

test("numbers wrap, and half of them are old at any time", async () => {
  const module = await node1();
  const top = 2 ** 32;
  assert.equal(taken(module, [top - 2, top - 1, 0, top - 1, 1]), [top - 2, top - 1, 0, 1]);
  assert.equal(taken(module, [2 ** 31 + 2, 1, 2, 3]), [2, 3]);
  assert.equal(taken(module, [2 ** 31, 2 ** 31 + 1]), [2 ** 31, 2 ** 31 + 1]);
});

test("a sender that began anew is heard again after a short run, losses in it or not", async () => {
  for (const step of [1, 3]) {
    const module = await node1();
    assert.equal(taken(module, [100_000]), [100_000]);
    const anew = from(0, RESTART_RUN + 4).map((i) => i * step);
    assert.equal(taken(module, anew), anew.slice(RESTART_RUN - 1));
  }
});

test("a stream that comes twice is taken once", async () => {
  const module = await node1();
  assert.equal(taken(module, from(0, 40)), from(0, 40));
  const twice = from(40, 60).flatMap((number) => [number, number - 20]);
  assert.equal(taken(module, twice), from(40, 60));
});

test("old packets that do not rise are no new beginning", async () => {
  const module = await node1();
  assert.equal(taken(module, [100_000]), [100_000]);
  assert.equal(taken(module, from(0, 99).reverse()), []);
  const same = new Array<number>(60).fill(5);
  assert.equal(taken(module, same), []);
});

test.run();
