// Known answers for the tunnel headers: vectors that were calculated and, most of them, built by an
// independent tool (test/vectors/README.md), taken off here and, where we send them, made here.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_UDP,
  SOCKET_VXLAN,
} from "../../assembly/shared/layout.js";
import type { GreOptions, ProtocolName, TableContents } from "../../src/datapath/types.js";
import { loadModule, type TestModule } from "../support/module.js";
import { outerIpv4 } from "../support/nodes.js";
import { concat } from "../support/packets.js";

interface Vectors {
  inner: string;
  frame: string;
  vni: number;
  vxlan: { header: string };
  geneve: { header: string };
  geneveIpv4: { header: string };
  geneveCiliumDsr4: { header: string };
  udp: { header: string };
  gre: { header: string };
  greChecksum: { header: string };
  greKey42: { header: string };
  greKey42Sequence7: { header: string };
  greAll: { header: string };
  greAllFrame: { header: string };
  pptp: { header: string };
}

const path = new URL("../../../test/vectors/tunnels.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors;
const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const INNER = fromHex(vectors.inner);
const FRAME = concat(fromHex(vectors.frame), INNER);
const SENDER = "192.0.2.1";
const RECEIVER = "192.0.2.2";
const SOCKETS = { vxlan: SOCKET_VXLAN, geneve: SOCKET_GENEVE, udp: SOCKET_UDP, gre: SOCKET_GRE };

/** One side of the vector: 10.0.0.1 with MAC ...:01 at 192.0.2.1, or 10.0.0.2 with ...:02. */
function contents(side: 1 | 2, protocol: ProtocolName): TableContents {
  const other = 3 - side;
  const framed = protocol === "udp" ? {} : { mac: `02:00:00:00:00:0${other}`, vni: vectors.vni };
  return {
    self: {
      ...{ mac: `02:00:00:00:00:0${side}`, vni: vectors.vni, mtu: 1450, udpPort: 4789 },
      ...{ addresses: [], prefixes: [`10.0.0.${side}/32`] },
    },
    peers: [
      {
        ...{ protocol, port: 4789, mtu: 1450, prefixes: [`10.0.0.${other}/32`], ...framed },
        address: other === 1 ? SENDER : RECEIVER,
      },
    ],
  };
}

async function side(number: 1 | 2, protocol: ProtocolName): Promise<TestModule> {
  const module = await loadModule();
  module.publish(contents(number, protocol));
  return module;
}

for (const protocol of ["vxlan", "geneve", "udp"] as const) {
  const header = fromHex(vectors[protocol].header);
  const datagram = concat(header, protocol === "udp" ? INNER : FRAME);

  test(`${protocol}: the vector is made from its inner packet`, async () => {
    const module = await side(1, protocol);
    module.feedTun(INNER);
    assert.equal(module.run().wire[0]?.bytes, datagram);
  });

  test(`${protocol}: the vector gives its inner packet`, async () => {
    const module = await side(2, protocol);
    module.feedWire(datagram, { from: SENDER, socket: SOCKETS[protocol] });
    assert.equal(module.run().tun[0]?.packet, INNER);
  });
}

test("geneve: the vector with bare IPv4 gives its inner packet", async () => {
  const module = await side(2, "geneve");
  const datagram = concat(fromHex(vectors.geneveIpv4.header), INNER);
  module.feedWire(datagram, { from: SENDER, socket: SOCKET_GENEVE });
  assert.equal(module.run().tun[0]?.packet, INNER);
});

test("geneve: Cilium's DSR option is critical and not ours, so the packet ends", async () => {
  const module = await side(2, "geneve");
  const datagram = concat(fromHex(vectors.geneveCiliumDsr4.header), FRAME);
  module.feedWire(datagram, { from: SENDER, socket: SOCKET_GENEVE });
  assert.is(module.run().tun.length, 0);
  assert.is(module.counters().ingress.drops.UNKNOWN_OPTION?.packets, 1);
});

test("vxlan: group policy's flags and number play no part, whatever they are", async () => {
  const module = await side(2, "vxlan");
  // G 0x80 with I in byte 0, D 0x40 and A 0x08 in byte 1, the group in bytes 2 and 3.
  for (const [first, second] of [
    ...[
      [0x88, 0x00],
      [0x88, 0x40],
      [0x88, 0x08],
      [0x88, 0x48],
      [0xff, 0xff],
      [0x08, 0xff],
    ],
  ]) {
    const datagram = concat(fromHex(vectors.vxlan.header), FRAME);
    datagram.set([first ?? 0, second ?? 0, 0x12, 0x34], 0);
    datagram[7] = 0xff;
    module.feedWire(datagram, { from: SENDER, socket: SOCKET_VXLAN });
    assert.equal(module.run().tun[0]?.packet, INNER);
  }
  const unflagged = concat(fromHex(vectors.vxlan.header), FRAME);
  unflagged[0] = 0xf7;
  module.feedWire(unflagged, { from: SENDER, socket: SOCKET_VXLAN });
  assert.is(module.run().tun.length, 0);
  assert.is(module.counters().ingress.drops.BAD_FLAGS?.packets, 1);
});

const FROM_GRE = { from: SENDER, socket: SOCKET_GRE, before: outerIpv4(47) };
const KEY_42: GreOptions = { key: 42, checksum: false, sequence: false };
const ALL: GreOptions = { key: 42, checksum: true, sequence: true };

/** As `side`, for GRE with these words, in frames or not. */
async function greSide(number: 1 | 2, gre: GreOptions, isFramed = false): Promise<TestModule> {
  const module = await loadModule();
  const made = contents(number, "gre");
  module.publish({
    ...made,
    peers: made.peers.map((peer) => ({ ...peer, gre: { ...gre, frames: isFramed } })),
  });
  return module;
}

const GRE_VECTORS = [
  {
    name: "base",
    ...{ header: vectors.gre.header, isFramed: false, inside: INNER },
    gre: { key: null, checksum: false, sequence: false },
  },
  {
    name: "checksum",
    ...{ header: vectors.greChecksum.header, isFramed: false, inside: INNER },
    gre: { key: null, checksum: true, sequence: false },
  },
  {
    name: "key",
    ...{ header: vectors.greKey42.header, isFramed: false, inside: INNER, gre: KEY_42 },
  },
  {
    name: "all of them",
    ...{ header: vectors.greAll.header, isFramed: false, inside: INNER, gre: ALL },
  },
  {
    name: "all of them and a frame",
    ...{ header: vectors.greAllFrame.header, isFramed: true, inside: FRAME, gre: ALL },
  },
];

for (const { name, header, isFramed, inside, gre } of GRE_VECTORS) {
  const packet = concat(fromHex(header), inside);

  test(`gre with ${name}: the vector is made from its inner packet`, async () => {
    const module = await greSide(1, gre, isFramed);
    module.feedTun(INNER);
    assert.equal(module.run().wire[0]?.bytes, packet);
  });

  test(`gre with ${name}: the vector gives its inner packet`, async () => {
    const module = await greSide(2, gre, isFramed);
    module.feedWire(packet, FROM_GRE);
    assert.equal(module.run().tun[0]?.packet, INNER);
  });
}

test("gre: packet 7 of a numbered tunnel is packet 7, in and out", async () => {
  const gre = { key: 42, checksum: false, sequence: true };
  const packet = concat(fromHex(vectors.greKey42Sequence7.header), INNER);
  const from = await greSide(1, gre);
  for (let i = 0; i < 8; i++) from.feedTun(INNER);
  assert.equal(from.run().wire.flatMap((one) => one.datagrams)[7], packet);
  const to = await greSide(2, gre);
  to.feedWire(packet, FROM_GRE);
  assert.equal(to.run().tun[0]?.packet, INNER);
});

test("gre: PPTP's packets, version 1, end", async () => {
  const module = await greSide(2, KEY_42);
  const packet = concat(fromHex(vectors.pptp.header), INNER);
  module.feedWire(packet, FROM_GRE);
  assert.is(module.run().tun.length, 0);
  assert.is(module.counters().ingress.drops.UNKNOWN_CALL?.packets, 1);
});

test.run();
