// Known answers for the tunnel headers: vectors that were calculated and, most of them, built by an
// independent tool (test/vectors/README.md), taken off here and, where we send them, made here.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SOCKET_GENEVE, SOCKET_UDP, SOCKET_VXLAN } from "../../assembly/shared/layout.js";
import type { ProtocolName, TableContents } from "../../src/datapath/types.js";
import { loadModule, type TestModule } from "../support/module.js";
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
}

const path = new URL("../../../test/vectors/tunnels.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors;
const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const INNER = fromHex(vectors.inner);
const FRAME = concat(fromHex(vectors.frame), INNER);
const SENDER = "192.0.2.1";
const RECEIVER = "192.0.2.2";
const SOCKETS = { vxlan: SOCKET_VXLAN, geneve: SOCKET_GENEVE, udp: SOCKET_UDP };

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

test.run();
