// Security identities in VXLAN's and Geneve's network number: what pods' and the node's own packets
// say, what a peer may claim, and what is kept of a claim that is refused. Node 1's pods are 257,
// node 2's 258.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SOCKET_GENEVE, SOCKET_VXLAN } from "../../assembly/shared/layout.js";
import { readDropRecords } from "../../src/datapath/drop-records.js";
import type { TablePeer } from "../../src/datapath/types.js";
import type { TestModule } from "../support/module.js";
import {
  frameOf,
  geneveDatagram,
  peerOf,
  pod,
  podPacket,
  vxlanDatagram,
} from "../support/nodes.js";
import { ACK, TCP } from "../support/packets.js";
import { assertExact, fromTwo, nodeOne } from "../support/scene.js";

const OURS = 257;
const THEIRS = 258;
const NODE = 6;
const BOTH = { sends: true, receives: true };
const GSO_TCP = { 4: 1, 6: 4 } as const;

interface Way {
  name: string;
  socket: number;
  peer: (changes?: Partial<TablePeer>) => TablePeer;
  /** The first four bytes of its header. */
  head: number[];
  datagram: (inner: Uint8Array, vni: number) => Uint8Array;
}

const WAYS: Way[] = [
  {
    ...{ name: "vxlan", socket: SOCKET_VXLAN, head: [8, 0, 0, 0] },
    peer: (changes) => peerOf(2, { vni: OURS, vnis: [THEIRS], identities: BOTH, ...changes }),
    datagram: (inner, vni) => vxlanDatagram(inner, { vni }),
  },
  {
    ...{ name: "geneve", socket: SOCKET_GENEVE, head: [0, 0, 0x65, 0x58] },
    peer: (changes) => {
      const framed = { protocol: "geneve", port: 6081 } as const;
      return peerOf(2, { ...framed, vni: OURS, vnis: [THEIRS], identities: BOTH, ...changes });
    },
    datagram: (inner, vni) => geneveDatagram(frameOf(inner), { vni }),
  },
];

/** Tunnel headers of all that leaves. */
function heads(module: TestModule): number[][] {
  const datagrams = module.run().wire.flatMap((out) => out.datagrams);
  return datagrams.map((bytes) => [...bytes.slice(0, 8)]);
}

const numberOf = (vni: number) => [0, vni >> 8, vni & 255, 0];

for (const { name, socket, peer, head, datagram } of WAYS) {
  for (const version of [4, 6] as const) {
    const fromNode = { source: pod(version, 1, 1) };

    test(`${name}, IPv${version}: pods' packets say their number, our own 6`, async () => {
      const module = await nodeOne([peer()]);
      for (const [changes, vni] of [
        [{}, OURS],
        [fromNode, NODE],
        [{}, OURS],
      ] as const) {
        module.feedTun(podPacket(version, 1, 2, changes));
        assert.equal(heads(module), [[...head, ...numberOf(vni)]]);
      }
    });

    test(`${name}, IPv${version}: so does each segment of a super-packet`, async () => {
      const module = await nodeOne([peer()]);
      for (const [source, vni] of [
        [pod(version, 1, 1), NODE],
        [pod(version, 1, 7), OURS],
      ] as const) {
        const payload = new Uint8Array(20_000).fill(7);
        const packet = podPacket(version, 1, 2, { protocol: TCP, payload, source, flags: ACK });
        module.feedTun(packet, { gsoType: GSO_TCP[version], gsoSize: 1000, flags: 1 });
        assert.equal(heads(module), new Array(20).fill([...head, ...numberOf(vni)]));
      }
    });

    test(`${name}, IPv${version}: a peer may claim its pods' and 6, once and again`, async () => {
      const module = await nodeOne([peer()]);
      const packet = podPacket(version, 2, 1);
      for (const vni of [THEIRS, NODE]) {
        module.feedWire(datagram(packet, vni), fromTwo({ socket }));
        module.feedWire(datagram(packet, vni), fromTwo({ socket }));
        const { tun } = module.run();
        assert.is(
          tun.reduce((sum, out) => sum + out.segments, 0),
          2,
        );
      }
      const refused = [0, 1, OURS, THEIRS + 1, THEIRS + 65_536, 0xffffff];
      for (const vni of refused) {
        module.feedWire(datagram(packet, THEIRS), fromTwo({ socket }));
        module.feedWire(datagram(packet, vni), fromTwo({ socket }));
      }
      assert.is(
        module.run().tun.reduce((sum, out) => sum + out.segments, 0),
        refused.length,
      );
      const { drops } = module.counters().ingress;
      assert.equal(Object.keys(drops), ["FOREIGN_IDENTITY"]);
      assert.is(drops.FOREIGN_IDENTITY?.packets, refused.length);
      const [record] = readDropRecords(module.views, [module.base]);
      assert.equal([record?.reason, record?.vni], ["FOREIGN_IDENTITY", 0xffffff]);
      assertExact(module);
    });
  }

  test(`${name}: identities are claims, and a source must be the peer's all the same`, async () => {
    const module = await nodeOne([peer()]);
    module.feedWire(datagram(podPacket(4, 3, 1), THEIRS), fromTwo({ socket }));
    module.run();
    assert.equal(Object.keys(module.counters().ingress.drops), ["SPOOFED_SOURCE"]);
  });

  test(`${name}: while the setting changes the number is taken too, and still sent`, async () => {
    const changing = { identities: { sends: false, receives: true }, vni: 42, vnis: [THEIRS, 42] };
    const module = await nodeOne([peer(changing)]);
    for (const vni of [THEIRS, NODE, 42]) {
      module.feedWire(datagram(podPacket(4, 2, 1), vni), fromTwo({ socket }));
    }
    module.feedTun(podPacket(4, 1, 2, { source: pod(4, 1, 1) }));
    const { wire, tun } = module.run();
    assert.is(
      tun.reduce((sum, out) => sum + out.segments, 0),
      3,
    );
    assert.equal([...(wire[0]?.bytes.slice(4, 8) ?? [])], numberOf(42));
  });

  test(`${name}: without identities 6 is a number like any other`, async () => {
    const { identities: _identities, ...bare } = peer({ vni: 42, vnis: [42] });
    const module = await nodeOne([bare]);
    module.feedWire(datagram(podPacket(4, 2, 1), NODE), fromTwo({ socket }));
    module.run();
    assert.equal(Object.keys(module.counters().ingress.drops), ["WRONG_VNI"]);
  });
}

test.run();
