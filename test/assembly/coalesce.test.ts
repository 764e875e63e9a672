// Coalescing: what GRO's rules join is joined and comes apart again as it was; what they keep apart
// stays apart; and a super-packet that was segmented comes back as it was.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { EGRESS, FEATURE_TUN_USO, INGRESS } from "../../assembly/shared/layout.js";
import type { PacketOptions } from "../support/packets.js";
import {
  ACK,
  address4,
  address6,
  buildPacket,
  CWR,
  FIN,
  PSH,
  RST,
  SYN,
  setBe16,
  TCP,
  UDP,
} from "../support/packets.js";
import { counts, deliver, random, room, TIMESTAMPS, train } from "../support/trains.js";
import { comparable, expand, type TunOutput } from "../support/worker-room.js";

const { kernels, bytes, base } = room;
const ECE = 0x40;
const URG = 0x20;

function expectSame(outputs: TunOutput[], packets: Uint8Array[]): void {
  assert.equal(outputs.flatMap(expand).map(comparable), packets.map(comparable));
}

test("one packet goes out where it lies with an empty vnet header", () => {
  const packets = train({}, [1000]);
  const [output] = deliver(packets);
  assert.ok(output);
  assert.not.ok(output.isInArena);
  assert.equal(output.vnet, new Uint8Array(10));
  assert.equal(output.packet, packets[0]);
  assert.is(output.innerBytes, 1040);
  assert.is(output.direction, INGRESS);
  assert.is(output.socket, 0);
});

for (const version of [4, 6] as const) {
  test(`a TCP train over IPv${version} becomes one super-packet`, () => {
    const packets = train({ version, tcpOptions: TIMESTAMPS }, [1400, 1400, 1400, 1400, 333]);
    const outputs = deliver(packets);
    assert.equal(counts(outputs), [5]);
    assert.ok(outputs[0]?.isInArena);
    expectSame(outputs, packets);
  });

  test(`a UDP train over IPv${version} becomes one super-packet, up to 64 datagrams`, () => {
    const packets = train({ version, protocol: UDP }, new Array<number>(70).fill(64));
    const outputs = deliver(packets);
    assert.equal(counts(outputs), [64, 6]);
    expectSame(outputs, packets);
  });
}

test("without USO on TUN every datagram stays alone", () => {
  room.setFeatures(0);
  const outputs = deliver(train({ protocol: UDP }, [64, 64, 64]));
  room.setFeatures(FEATURE_TUN_USO);
  assert.equal(counts(outputs), [1, 1, 1]);
});

test("segmented and coalesced, a super-packet is what it was", () => {
  for (let i = 0; i < 300; i++) {
    const version = random.pick([4, 6] as const);
    const protocol = random.pick([TCP, TCP, UDP]);
    const size = random.between(protocol === TCP ? 1050 : 500, 1400);
    const ends = random.once(2) ? random.pick([PSH, FIN, FIN | PSH]) : 0;
    const whole = buildPacket({
      ...{ version, protocol, payload: random.bytes(random.between(size + 1, size * 60)) },
      ...{ identification: random.bits() & 0xffff, dontFragment: random.once(2) },
      ...{ sequence: random.bits(), tos: random.bits() & 255, ttl: random.between(1, 255) },
      flags: ACK | (random.once(3) ? CWR : 0) | (random.once(3) ? ECE : 0) | ends,
      tcpOptions: random.once(2) ? TIMESTAMPS : new Uint8Array(0),
    });
    if (whole.length > 65_535) continue;
    room.reset();
    const [at = 0] = room.place([whole]);
    const kind = protocol === UDP ? 5 : version === 4 ? 1 : 4;
    const header = kernels.segmentHeaderLength(at, whole.length, kind);
    const out = at + 200_000;
    const count = kernels.segment(at, whole.length, kind, size, out, 22);
    const stride = 22 + header + size;
    for (let n = 0; n < count; n++) {
      const length = Math.min(header + size, whole.length - n * size);
      kernels.deliver(base, out + n * stride + 22, length, INGRESS);
    }
    kernels.flush(base);
    const outputs = room.outputs();
    assert.equal(counts(outputs), [count]);
    const field = (protocol === UDP ? 6 : 16) + (version === 4 ? 20 : 40);
    const joined = Uint8Array.from(outputs[0]?.packet ?? []);
    joined.set(whole.slice(field, field + 2), field);
    assert.equal(joined, whole);
    outputs.forEach(expand);
  }
});

/** Two packets that one difference must keep apart. */
const APART: [string, Partial<PacketOptions>, Partial<PacketOptions>][] = [
  ["another window", {}, { window: 511 }],
  ["another acknowledgment", {}, { acknowledgment: 2001 }],
  ["an ECE", {}, { flags: ACK | ECE }],
  ["a CWR in the second", {}, { flags: ACK | CWR }],
  ["a PSH in the first", { flags: ACK | PSH }, {}],
  ["a FIN in the first", { flags: ACK | FIN }, {}],
  ["a SYN", {}, { flags: ACK | SYN }],
  ["a RST", {}, { flags: ACK | RST }],
  ["an URG", { flags: ACK | URG }, { flags: ACK | URG }],
  [
    "other options",
    { tcpOptions: TIMESTAMPS },
    { tcpOptions: Uint8Array.from(TIMESTAMPS, (b, i) => (i === 7 ? 9 : b)) },
  ],
  ["options in one alone", { tcpOptions: TIMESTAMPS }, {}],
  ["a gap in the sequence", {}, { sequence: 6001 }],
  ["a repeated sequence", {}, { sequence: 5000 }],
  ["a larger second", {}, { payload: random.bytes(1001) }],
  ["another TTL", {}, { ttl: 63 }],
  ["another TOS", {}, { tos: 1 }],
  ["another port", {}, { sourcePort: 40001 }],
  ["another address", {}, { source: address4(10, 0, 0, 9) }],
  ["fragmenting allowed in one", {}, { dontFragment: false }],
  ["IPv4 options", { ipOptions: new Uint8Array(4) }, { ipOptions: new Uint8Array(4) }],
  ["a bad checksum in the first", { checksum: 1 }, {}],
  ["a bad checksum in the second", {}, { checksum: 1 }],
];

for (const [name, first, second] of APART) {
  test(`${name} keeps packets apart`, () => {
    const packets = train({}, [1000, 1000], (i) => (i === 0 ? first : second));
    const outputs = deliver(packets);
    assert.equal(counts(outputs), [1, 1]);
    assert.equal(
      outputs.map((o) => o.packet),
      packets,
      "both unmodified and in order",
    );
  });
}

test("IPv6: flow label, hop limit and traffic class keep packets apart", () => {
  const base6 = { version: 6 as const };
  for (const change of [{ flowLabel: 7 }, { ttl: 63 }, { tos: 2 }, { source: address6(0, 9) }]) {
    const packets = train(base6, [1000, 1000], (i) => (i === 0 ? {} : change));
    assert.equal(counts(deliver(packets)), [1, 1]);
  }
});

test("without don't-fragment the identification must count up, with it it means nothing", () => {
  const ids = (dontFragment: boolean, step: number) =>
    train({ dontFragment }, [500, 500, 500], (i) => ({
      identification: (65_534 + i * step) & 0xffff,
    }));
  assert.equal(counts(deliver(ids(false, 1))), [3]);
  assert.equal(counts(deliver(ids(false, 2))), [1, 1, 1]);
  assert.equal(counts(deliver(ids(true, 77))), [3]);
});

test("PSH, FIN or a shorter packet end a super-packet", () => {
  for (const flags of [ACK | PSH, ACK | FIN]) {
    const packets = train({}, [900, 900, 900, 900], (i) => (i === 1 ? { flags } : {}));
    const outputs = deliver(packets);
    assert.equal(counts(outputs), [2, 2]);
    expectSame(outputs, packets);
  }
  assert.equal(counts(deliver(train({}, [900, 800, 800, 900]))), [2, 1, 1]);
});

test("a TCP packet of a few bytes ends a super-packet, and never begins one", () => {
  const packets = train({}, [700, 700, 3]);
  const outputs = deliver(packets);
  assert.equal(counts(outputs), [3]);
  expectSame(outputs, packets);
  assert.equal(counts(deliver(train({}, [7, 7, 7]))), [1, 1, 1]);
  assert.equal(counts(deliver(train({}, [8, 8, 8]))), [3]);
});

test("CWR in the first packet is kept and said in the vnet header", () => {
  const packets = train({}, [900, 900], (i) => (i === 0 ? { flags: ACK | CWR } : {}));
  const outputs = deliver(packets);
  assert.equal(counts(outputs), [2]);
  assert.is(outputs[0]?.vnet[1], 0x81);
  expectSame(outputs, packets);
});

test("a pure acknowledgment does not overtake the data before it", () => {
  const data = train({}, [700, 700]);
  const ack = buildPacket({
    version: 4,
    protocol: TCP,
    payload: new Uint8Array(0),
    sequence: 6400,
  });
  const outputs = deliver([...data, ack]);
  assert.equal(counts(outputs), [2, 1]);
  assert.equal(outputs[1]?.packet, ack);
});

test("a fragment between the same addresses does not overtake what is open", () => {
  const data = train({ protocol: UDP }, [700, 700]);
  const fragment = buildPacket({ version: 4, protocol: UDP, payload: random.bytes(100) });
  setBe16(fragment, 6, 0x2000);
  const outputs = deliver([...data, fragment]);
  assert.equal(counts(outputs), [2, 1]);
});

test("datagrams without a checksum, empty or with a false length stay alone", () => {
  assert.equal(counts(deliver(train({ protocol: UDP, checksum: 0 }, [99, 99]))), [1, 1]);
  assert.equal(counts(deliver(train({ protocol: UDP }, [0, 0]))), [1, 1]);
  const packets = train({ protocol: UDP }, [99, 99]);
  for (const packet of packets) setBe16(packet, 24, 90);
  assert.equal(counts(deliver(packets)), [1, 1]);
});

test("packets of another direction are not joined", () => {
  room.reset();
  const packets = train({}, [600, 600, 600]);
  const directions = [INGRESS, EGRESS, EGRESS];
  room.place(packets).forEach((at, i) => {
    kernels.deliver(base, at, packets[i]?.length ?? 0, directions[i] ?? 0);
  });
  kernels.flush(base);
  assert.equal(counts(room.outputs()), [1, 2]);
  assert.equal(
    room.outputs().map((o) => o.direction),
    [INGRESS, EGRESS],
  );
});

test("a super-packet never passes 65,535 bytes", () => {
  for (const version of [4, 6] as const) {
    const packets = train({ version }, new Array<number>(20).fill(8900));
    const outputs = deliver(packets);
    assert.ok(outputs.every((o) => o.packet.length <= 65_535));
    assert.equal(counts(outputs), [7, 7, 6]);
    expectSame(outputs, packets);
  }
});

test("what lies in the slots is not written but for the ten bytes before each packet", () => {
  const packets = train({}, [700, 700, 700, 100]);
  room.reset();
  const places = room.place(packets);
  const first = (places[0] ?? 0) - 300;
  const before = bytes.slice(first, first + 4000);
  places.forEach((at) => {
    before.fill(0, at - 10 - first, at - first);
  });
  places.forEach((at, i) => {
    kernels.deliver(base, at, packets[i]?.length ?? 0, INGRESS);
  });
  kernels.flush(base);
  const after = bytes.slice(first, first + 4000);
  places.forEach((at) => {
    after.fill(0, at - 10 - first, at - first);
  });
  assert.equal(after, before);
});

test.run();
