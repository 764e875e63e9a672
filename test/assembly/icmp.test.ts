// ICMP errors: whole messages against hand-built ones (the vector of wire formats among them), the
// cases in which the RFCs forbid an answer, and the rate limits.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { EGRESS, ICMP_STATE_SIZE, W_ICMP_STATE } from "../../assembly/shared/layout.js";
import { fault } from "../support/judge.js";
import type { PacketOptions } from "../support/packets.js";
import {
  address4,
  address6,
  be16,
  be32,
  buildPacket,
  concat,
  setBe16,
  TCP,
  UDP,
} from "../support/packets.js";
import { Random } from "../support/random.js";
import { openWorkerRoom, type TunOutput } from "../support/worker-room.js";

const NODE4 = address4(10, 244, 1, 1);
const NODE6 = address6(1, 1);
const room = openWorkerRoom(NODE4, NODE6);
const { kernels, bytes, base } = room;
const random = new Random(792);
const UNREACHABLE = 1;
const TIME_EXCEEDED = 2;
const TOO_BIG = 3;
const SECOND_US = 1e6;
const ICMP = 1;
const ICMPV6 = 58;

function forgetRate(): void {
  bytes.fill(0, base + W_ICMP_STATE, base + W_ICMP_STATE + ICMP_STATE_SIZE);
}

function answer(
  packet: Uint8Array,
  kind: number,
  mtu = 1450,
  now_us = SECOND_US,
): TunOutput | undefined {
  room.reset();
  const [at = 0] = room.place([packet]);
  const made = kernels.answer(base, kind, at, packet.length, mtu, now_us);
  const outputs = room.outputs();
  assert.is(outputs.length, made);
  return outputs[0];
}

const plain = (o: Partial<PacketOptions> = {}): Uint8Array =>
  buildPacket({ version: 4, protocol: UDP, payload: random.bytes(40), ...o });

test("a too large IPv4 packet is answered with the message of RFC 1191", () => {
  const path = new URL("../../../test/vectors/checksum.json", import.meta.url);
  const { icmp4 } = JSON.parse(readFileSync(path, "utf8")) as {
    icmp4: { bytes: string; mtu: number };
  };
  const expected = Uint8Array.from(Buffer.from(icmp4.bytes.replaceAll(" ", ""), "hex"));
  forgetRate();
  const output = answer(expected.slice(8), TOO_BIG, icmp4.mtu);
  assert.ok(output);
  assert.equal(output.packet.slice(20), expected);
  assert.equal(output.packet.slice(12, 20), concat(NODE4, address4(10, 0, 0, 1)));
  assert.is(fault(output.packet), undefined);
});

const EXPECTED: [number, 4 | 6, number, number][] = [
  [UNREACHABLE, 4, 3, 0],
  [TIME_EXCEEDED, 4, 11, 0],
  [TOO_BIG, 4, 3, 4],
  [UNREACHABLE, 6, 1, 0],
  [TIME_EXCEEDED, 6, 3, 0],
  [TOO_BIG, 6, 2, 0],
];

for (const [kind, version, type, code] of EXPECTED) {
  test(`kind ${kind} over IPv${version} is type ${type} code ${code} and quotes the packet`, () => {
    for (const length of [0, 1, 100, 547, 1232, 9000]) {
      forgetRate();
      const packet = plain({ version, payload: random.bytes(length), ttl: 1 });
      const output = answer(packet, kind);
      assert.ok(output, `payload ${length}`);
      const header = version === 4 ? 20 : 40;
      const quoted = Math.min(packet.length, (version === 4 ? 576 : 1280) - header - 8);
      assert.is(output.packet.length, header + 8 + quoted);
      assert.equal([output.packet[header], output.packet[header + 1]], [type, code]);
      const rest = be32(output.packet, header + 4);
      assert.is(rest, kind === TOO_BIG ? 1450 : 0);
      assert.equal(output.packet.slice(header + 8), packet.slice(0, quoted));
      assert.is(fault(output.packet), undefined);
      assert.equal(output.vnet, new Uint8Array(10));
      assert.is(output.direction, EGRESS);
      assert.is(output.segments, 1);
      assert.is(output.innerBytes, output.packet.length);
      assert.ok(output.isInArena);
    }
  });
}

test("the answer comes from the node's address and goes to the sender", () => {
  forgetRate();
  const source = address6(7, 9);
  const six = answer(plain({ version: 6, source }), UNREACHABLE);
  assert.equal(six?.packet.slice(8, 40), concat(NODE6, source));
  const four = answer(plain({ source: address4(10, 9, 8, 7) }), UNREACHABLE);
  assert.equal(four?.packet.slice(12, 20), concat(NODE4, address4(10, 9, 8, 7)));
  assert.is(four?.packet[8], 64);
  assert.is(be16(four?.packet ?? new Uint8Array(8), 6), 0x4000);
});

const icmpPacket = (version: 4 | 6, type: number) =>
  plain({
    version,
    protocol: version === 4 ? ICMP : ICMPV6,
    payload: concat(Uint8Array.of(type, 0), random.bytes(30)),
  });

test("ICMP errors are never answered, echo and other questions are", () => {
  for (const type of [3, 4, 5, 11, 12])
    assert.is(answer(icmpPacket(4, type), UNREACHABLE), undefined);
  for (const type of [0, 1, 2, 3, 4, 127, 137]) {
    assert.is(answer(icmpPacket(6, type), UNREACHABLE), undefined);
  }
  forgetRate();
  assert.ok(answer(icmpPacket(4, 8), UNREACHABLE));
  assert.ok(answer(icmpPacket(6, 128), UNREACHABLE));
});

test("an ICMPv6 error behind extension headers is found", () => {
  const extensions = [0, 60].map((kind) => ({
    kind,
    bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0),
  }));
  const make = (type: number) =>
    plain({
      version: 6,
      protocol: ICMPV6,
      payload: concat(Uint8Array.of(type, 0), random.bytes(30)),
      extensions,
    });
  forgetRate();
  assert.is(answer(make(1), UNREACHABLE), undefined);
  assert.ok(answer(make(128), UNREACHABLE));
});

test("multicast, broadcast, loopback and unspecified addresses are never answered", () => {
  const bad4 = [
    [224, 0, 0, 1],
    [255, 255, 255, 255],
    [0, 0, 0, 0],
    [127, 0, 0, 1],
    [240, 1, 2, 3],
  ];
  for (const parts of bad4) {
    assert.is(answer(plain({ source: address4(...parts) }), UNREACHABLE), undefined);
    assert.is(answer(plain({ destination: address4(...parts) }), UNREACHABLE), undefined);
  }
  const multicast = address6(0, 1);
  multicast[0] = 0xff;
  const loopback = new Uint8Array(16);
  loopback[15] = 1;
  for (const address of [multicast, loopback, new Uint8Array(16)]) {
    assert.is(answer(plain({ version: 6, source: address }), TOO_BIG), undefined);
    assert.is(answer(plain({ version: 6, destination: address }), TOO_BIG), undefined);
  }
});

test("later fragments are not answered, first ones are", () => {
  const first = plain();
  setBe16(first, 6, 0x2000);
  const later = plain();
  setBe16(later, 6, 0x2001);
  const fragment6 = (offset: number) =>
    plain({
      version: 6,
      extensions: [{ kind: 44, bytes: Uint8Array.of(0, 0, offset >> 8, offset & 255, 0, 0, 0, 1) }],
    });
  forgetRate();
  assert.ok(answer(first, TOO_BIG));
  assert.is(answer(later, TOO_BIG), undefined);
  assert.ok(answer(fragment6(1), TOO_BIG));
  assert.is(answer(fragment6(8), TOO_BIG), undefined);
});

test("packets cut short are survived; without 8 bytes behind the header none is answered", () => {
  for (const version of [4, 6] as const) {
    const packet = plain({ version, protocol: TCP });
    const header = version === 4 ? 20 : 40;
    for (let length = 0; length <= packet.length; length++) {
      forgetRate();
      const output = answer(packet.slice(0, length), UNREACHABLE);
      assert.is(output !== undefined, length >= header + 8, `IPv${version}, ${length} bytes`);
    }
  }
});

test("one sender gets a burst of 20 and then 100 a second; others are not hurt by it", () => {
  forgetRate();
  const ask = (host: number, now_us: number) =>
    answer(plain({ source: address4(10, 3, 0, host) }), UNREACHABLE, 1450, now_us) !== undefined;
  let now_us = 5 * SECOND_US;
  const count = (host: number) =>
    Array.from({ length: 500 }, () => ask(host, now_us)).filter(Boolean).length;
  assert.is(count(1), 20);
  assert.is(count(2), 20);
  now_us += SECOND_US / 20;
  assert.is(count(1), 5);
  now_us -= SECOND_US;
  assert.is(count(1), 0, "a clock that goes backwards gives nothing");
});

test("all senders together get a burst of 200 and then 1000 a second", () => {
  forgetRate();
  let now_us = 9 * SECOND_US;
  const sweep = () => {
    let made = 0;
    for (let i = 0; i < 4000; i++) {
      const source = address4(10, 4, i >> 8, i & 255);
      if (answer(plain({ source }), UNREACHABLE, 1450, now_us) !== undefined) made++;
    }
    return made;
  };
  assert.is(sweep(), 200);
  now_us += SECOND_US / 10;
  assert.is(sweep(), 100);
});

test("a node without an address of the family stays silent, and so does a full arena", () => {
  forgetRate();
  room.reset();
  const packet = plain();
  const [at = 0] = room.place([packet]);
  room.setArenaUsed(4_194_304 - 1024);
  assert.is(kernels.answer(base, UNREACHABLE, at, packet.length, 0, SECOND_US), 0);
  assert.ok(answer(packet, UNREACHABLE), "and it took no token");
  const none = openWorkerRoom(NODE4, NODE6);
  none.setAddresses(false, true);
  const [there = 0] = none.place([packet]);
  assert.is(none.kernels.answer(none.base, UNREACHABLE, there, packet.length, 0, SECOND_US), 0);
});

test.run();
