// Over IPv6 a packet that is larger than the path goes in outer fragments that the hot path makes:
// joined again they are the datagram, with UDP's header where there is one.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FRAGMENT_SOCKETS } from "../../assembly/shared/layout.js";
import { addressBytes, parseAddress } from "../../src/datapath/address.js";
import { setUnderlay } from "../../src/datapath/memory.js";
import type { TablePeer } from "../../src/datapath/types.js";
import { fault } from "../support/judge.js";
import { loadWorkers, type TestModule, type WireOutput } from "../support/module.js";
import { contentsOf, peerOf, podPacket } from "../support/nodes.js";
import { be16, be32, concat, UDP } from "../support/packets.js";
import { assertExact } from "../support/scene.js";

/** Bytes of a VXLAN or Geneve header and the Ethernet header behind it. */
const OUTER = 22;
const OWN = "2001:db8::1";
const PEER = "2001:db8::2";
const LINK = 1280;
const IPV6_HEADER = 40;

function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 11) & 255);
}

interface Fragment {
  next: number;
  offset: number;
  isLast: boolean;
  identification: number;
  data: Uint8Array;
}

function fragmentOf({ bytes: all, port, socket, family }: WireOutput): Fragment {
  assert.equal([port, socket, family], [0, FRAGMENT_SOCKETS, 6]);
  assert.ok(IPV6_HEADER + all.length <= LINK, `${all.length} bytes`);
  const word = be16(all, 2);
  assert.equal([all[1], word & 6], [0, 0], "reserved bits");
  const [next = 0] = all;
  const place = { next, offset: word & 0xfff8, isLast: (word & 1) === 0 };
  return { ...place, identification: be32(all, 4), data: all.slice(8) };
}

/** What the peer's kernel makes of the fragments of one packet. */
function join(fragments: readonly Fragment[]): Uint8Array {
  const [first] = fragments;
  let at = 0;
  fragments.forEach(({ next, identification, offset, isLast, data }, index) => {
    assert.equal([next, identification, offset], [first?.next, first?.identification, at]);
    assert.is(isLast, index === fragments.length - 1);
    if (!isLast) assert.is(data.length % 8, 0);
    at += data.length;
  });
  return concat(...fragments.map(({ data }) => data));
}

/** The packet that a receiver's kernel has in hand then. */
function outerUdp(datagram: Uint8Array): Uint8Array {
  const header = new Uint8Array(IPV6_HEADER);
  header.set([0x60, 0, 0, 0, datagram.length >> 8, datagram.length & 255, UDP, 64]);
  [OWN, PEER].forEach((text, index) => {
    const address = parseAddress(text);
    assert.ok(address);
    header.set(addressBytes(address), 8 + 16 * index);
  });
  return concat(header, datagram);
}

async function overIpv6(peer: Partial<TablePeer>, workers = 1): Promise<TestModule[]> {
  const modules = await loadWorkers({ workers });
  const [first] = modules;
  if (first === undefined) throw new Error("no worker");
  setUnderlay(first.views, OWN);
  const all = { mtu: 1210, ...peer, address: PEER, fragments: true };
  first.publish(contentsOf(1, [peerOf(2, all)]));
  return modules;
}

const PIECED: readonly [Partial<TablePeer>, number, number][] = [
  [{}, UDP, OUTER],
  [{ protocol: "geneve", port: 6081 }, UDP, OUTER],
  [{ protocol: "udp", port: 8285 }, UDP, 0],
  [{ protocol: "ipip", port: 0 }, 41, 0],
  [{ protocol: "gre", port: 0 }, 47, 4],
];

for (const [peer, next, outer] of PIECED) {
  const { protocol = "vxlan", port = 8472 } = peer;

  test(`over IPv6 packets by ${protocol} are cut into fragments of our own`, async () => {
    const header = next === UDP ? 8 : 0;
    const mtu = LINK - IPV6_HEADER - header - outer;
    const [module] = await overIpv6({ ...peer, mtu });
    assert.ok(module);
    for (const size of [mtu + 1, 1277, 1280]) {
      const packet = podPacket(6, 1, 2, { payload: bytes(size - 48) });
      module.feedTun(packet);
      const { wire } = module.run();
      assert.equal([wire.length, wire[0]?.segments, wire[1]?.segments], [2, 0, 1]);
      const fragments = wire.map(fragmentOf);
      const whole = join(fragments);
      assert.is(fragments[0]?.next, next);
      assert.equal(whole.slice(header + outer), packet);
      assert.is(wire[1]?.innerBytes, size);
      if (header === 0) continue;
      assert.equal([be16(whole, 0), be16(whole, 2), be16(whole, 4)], [port, port, whole.length]);
      // As a UDP packet of its own it has no fault, which its checksum is part of.
      assert.is(fault(outerUdp(whole)), undefined);
    }
    const { egress } = module.counters();
    assert.equal([egress.forwarded, egress.forwardedBytes], [3, mtu + 1 + 1277 + 1280]);
    assertExact(module);
  });
}

test("a fragment that does not leave is a packet lost", async () => {
  const [module] = await overIpv6({});
  assert.ok(module);
  module.fail = () => ({ status: 101, failed: 1 });
  module.feedTun(podPacket(6, 1, 2, { payload: bytes(1280 - 48) }));
  module.run();
  const { egress } = module.counters();
  assert.equal([egress.forwarded, egress.drops.SEND_FAILED?.packets], [0, 1]);
  assertExact(module);
});

test("a UDP super-packet over IPv6 goes in fragments, its short end as it is", async () => {
  const [module] = await overIpv6({});
  assert.ok(module);
  const gso = { gsoType: 5, gsoSize: 1232, flags: 1 };
  module.feedTun(podPacket(6, 1, 2, { payload: bytes(1232 * 2 + 100) }), gso);
  const { wire } = module.run();
  assert.equal(
    wire.map(({ segments }) => segments),
    [0, 1, 0, 1, 1],
  );
  for (const at of [0, 2]) {
    const datagram = join(wire.slice(at, at + 2).map(fragmentOf));
    assert.is(fault(datagram.slice(8 + OUTER)), undefined);
  }
  assert.ok((wire[4]?.socket ?? 99) < FRAGMENT_SOCKETS);
  assert.is(fault(wire[4]?.bytes.slice(OUTER) ?? new Uint8Array(0)), undefined);
  assert.is(module.counters().egress.forwarded, 3);
  assertExact(module);
});

test("no identification comes twice, from no worker", async () => {
  const modules = await overIpv6({}, 3);
  const seen = new Set<number>();
  for (const module of modules) {
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 50; i++) module.feedTun(podPacket(6, 1, 2, { payload: bytes(1232) }));
      for (const out of module.run().wire) seen.add(fragmentOf(out).identification);
    }
  }
  assert.is(seen.size, 3 * 20 * 50);
  const sorted = [...seen];
  const isNext = (one: number, index: number) => Math.abs(one - (sorted[index - 1] ?? 0)) < 65536;
  assert.ok(sorted.filter(isNext).length < 10, "they do not count up");
});

test.run();
