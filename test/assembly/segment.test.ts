// Segmentation against a slow twin that rebuilds every packet by hand: both families, TCP and UDP,
// options, extension headers, odd sizes; and that no byte is written outside the announced room.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import { fault, slowSegment } from "../support/judge.js";
import { openKernels } from "../support/kernels.js";
import type { PacketOptions } from "../support/packets.js";
import {
  ACK,
  be16,
  buildPacket,
  CWR,
  concat,
  FIN,
  PSH,
  pseudoHeader,
  SYN,
  setBe16,
  slowSum,
  TCP,
  UDP,
} from "../support/packets.js";
import { Random } from "../support/random.js";

const { kernels, bytes } = openKernels();
const random = new Random(2042);
const AT = 100_000;
const OUT = 1_000_000;
const TCP4 = 1;
const TCP6 = 4;
const UDP_L4 = 5;
const ECE = 0x40;
const empty = new Uint8Array(0);

const kindOf = (o: PacketOptions) => (o.protocol === UDP ? UDP_L4 : o.version === 4 ? TCP4 : TCP6);

/** Cuts with the kernel; checks that nothing around and between the segments was touched. */
function cut(packet: Uint8Array, kind: number, size: number, gap: number): Uint8Array[] | number {
  bytes.fill(0xa5, AT - 64, AT + packet.length + 64);
  bytes.set(packet, AT);
  const header = kernels.segmentHeaderLength(AT, packet.length, kind);
  if (header < 0 || size === 0) {
    return kernels.segment(AT, packet.length, kind, size, OUT, gap);
  }
  const stride = gap + header + size;
  const expected = kernels.segmentCount(packet.length - header, size);
  const room = expected * stride;
  bytes.fill(0xa5, OUT - 64, OUT + room + 64);
  const count = kernels.segment(AT, packet.length, kind, size, OUT, gap);
  if (count < 0) return count;
  assert.is(count, expected);
  assert.equal(bytes.slice(AT, AT + packet.length), packet, "the input is left as it was");
  const last = packet.length - header - (count - 1) * size;
  const end = OUT + (count - 1) * stride + gap + header + last;
  assert.ok(bytes.slice(OUT - 64, OUT).every((b) => b === 0xa5));
  assert.ok(bytes.slice(end, OUT + room + 64).every((b) => b === 0xa5));
  return Array.from({ length: count }, (_, i) => {
    const at = OUT + i * stride;
    assert.ok(
      bytes.slice(at, at + gap).every((b) => b === 0xa5),
      "gaps are left for the headers",
    );
    const length = header + (i + 1 === count ? last : size);
    return bytes.slice(at + gap, at + gap + length);
  });
}

function extensionsOf(version: 4 | 6): { kind: number; bytes: Uint8Array }[] {
  if (version === 4 || !random.once(4)) return [];
  const make = (kind: number) => {
    const units = random.between(0, 3);
    const body = random.bytes(8 + 8 * units);
    body[1] = units;
    if (kind === 43) body[3] = 0;
    return { kind, bytes: body };
  };
  return Array.from({ length: random.between(1, 3) }, () => make(random.pick([0, 43, 60])));
}

function randomOptions(payload: number): PacketOptions {
  const version = random.pick([4, 6] as const);
  const protocol = random.pick([TCP, TCP, UDP]);
  return {
    ...{ version, protocol, payload: random.bytes(payload) },
    ...{ source: random.bytes(version === 4 ? 4 : 16), sourcePort: random.between(1, 65535) },
    ...{ destinationPort: random.between(1, 65535), tos: random.between(0, 255) },
    ...{ ttl: random.between(1, 255), identification: random.between(0, 65535) },
    ...{ dontFragment: random.once(2), flowLabel: random.between(0, 0xfffff) },
    ipOptions: version === 4 && random.once(4) ? random.bytes(4 * random.between(1, 10)) : empty,
    tcpOptions: random.once(2) ? random.bytes(4 * random.between(0, 10)) : empty,
    extensions: extensionsOf(version),
    ...{ sequence: random.bits(), acknowledgment: random.bits(), window: random.between(0, 65535) },
    flags: ACK | (random.bits() & (FIN | PSH | ECE | CWR | 0x20)),
    urgent: random.between(0, 65535),
  };
}

test("segments equal those of the slow twin and are well-formed", () => {
  for (let i = 0; i < 1500; i++) {
    const size = random.once(5) ? random.between(8, 64) : random.between(200, 9000);
    const payload = random.between(0, Math.min(64_000, size * random.between(1, 50)));
    const options = randomOptions(payload);
    const packet = buildPacket(options);
    const pieces = cut(packet, kindOf(options), size, random.pick([0, 22, 36, 50]));
    if (typeof pieces === "number") throw new Error(`refused with ${pieces}`);
    assert.equal(pieces, slowSegment(packet, size));
    for (const piece of pieces) assert.is(fault(piece), undefined);
  }
});

test("whatever a kernel left in the checksum fields does not matter", () => {
  const options = { ...randomOptions(10_000), version: 4 as const, source: random.bytes(4) };
  const packet = buildPacket(options);
  const header = ((packet[0] ?? 0) & 15) * 4;
  const dirty = Uint8Array.from(packet);
  setBe16(dirty, header + (options.protocol === TCP ? 16 : 6), random.between(0, 65535));
  setBe16(dirty, 10, random.between(0, 65535));
  const pieces = cut(dirty, kindOf(options), 1400, 22);
  assert.equal(pieces, slowSegment(packet, 1400));
});

test("FIN and PSH stay on the last segment, CWR on the first, ECE on all", () => {
  const flags = ACK | FIN | PSH | CWR | ECE;
  const packet = buildPacket({ version: 4, protocol: TCP, payload: random.bytes(3000), flags });
  const pieces = cut(packet, TCP4, 1000, 22) as Uint8Array[];
  const seen = pieces.map((piece) => piece[33]);
  assert.equal(seen, [ACK | CWR | ECE, ACK | ECE, ACK | FIN | PSH | ECE]);
});

test("sequence and identification wrap", () => {
  const packet = buildPacket({
    ...{ version: 4, protocol: TCP, payload: random.bytes(4000) },
    ...{ sequence: 0xfffffc00, identification: 0xfffe },
  });
  const pieces = cut(packet, TCP4, 1000, 0) as Uint8Array[];
  assert.equal(
    pieces.map((piece) => be16(piece, 4)),
    [0xfffe, 0xffff, 0, 1],
  );
  assert.equal(pieces, slowSegment(packet, 1000));
});

test("a payload that fits makes one whole packet, and none at all too", () => {
  for (const length of [0, 1, 999, 1000]) {
    const packet = buildPacket({ version: 6, protocol: TCP, payload: random.bytes(length) });
    const pieces = cut(packet, TCP6, 1000, 22) as Uint8Array[];
    assert.equal(pieces, [packet]);
  }
});

test("65,535 bytes are cut to the last byte", () => {
  for (const protocol of [TCP, UDP]) {
    const header = protocol === TCP ? 40 : 28;
    const packet = buildPacket({ version: 4, protocol, payload: random.bytes(65_535 - header) });
    const pieces = cut(packet, protocol === TCP ? TCP4 : UDP_L4, 1448, 22);
    assert.equal(pieces, slowSegment(packet, 1448));
  }
});

test("a kind that does not fit the packet is refused", () => {
  const tcp4 = buildPacket({ version: 4, protocol: TCP, payload: random.bytes(3000) });
  const tcp6 = buildPacket({ version: 6, protocol: TCP, payload: random.bytes(3000) });
  const udp4 = buildPacket({ version: 4, protocol: UDP, payload: random.bytes(3000) });
  const refused: [Uint8Array, number][] = [
    ...[TCP6, UDP_L4, 0, 2, 3, 6, 255].map((kind): [Uint8Array, number] => [tcp4, kind]),
    ...[TCP4, UDP_L4, 3].map((kind): [Uint8Array, number] => [tcp6, kind]),
    ...[TCP4, TCP6, 3].map((kind): [Uint8Array, number] => [udp4, kind]),
  ];
  for (const [packet, kind] of refused) assert.is(cut(packet, kind, 1000, 22), -Drop.BAD_OFFLOAD);
});

test("a size too small, a SYN, a fragment and a cut-off header are refused", () => {
  const o = { version: 4, protocol: TCP, payload: random.bytes(3000) } as const;
  const packet = buildPacket(o);
  assert.is(cut(packet, TCP4, 7, 22), -Drop.BAD_OFFLOAD);
  assert.is(cut(packet, TCP4, 0, 22), -Drop.BAD_OFFLOAD);
  assert.is(kernels.segmentCount(100, 0) >>> 0, 0xffffffff, "no division by zero");
  assert.is(cut(buildPacket({ ...o, flags: SYN }), TCP4, 1000, 22), -Drop.BAD_OFFLOAD);
  const fragment = Uint8Array.from(packet);
  setBe16(fragment, 6, 0x2000);
  assert.is(cut(fragment, TCP4, 1000, 22), -Drop.BAD_OFFLOAD);
  for (let length = 0; length < 40; length++) {
    assert.is(cut(packet.slice(0, length), TCP4, 1000, 22), -Drop.BAD_OFFLOAD, `length ${length}`);
  }
  const longHeader = Uint8Array.from(packet.slice(0, 50));
  longHeader[32] = 0xf0;
  assert.is(cut(longHeader, TCP4, 1000, 22), -Drop.BAD_OFFLOAD, "TCP offset beyond the packet");
});

test("IPv6 chains that cannot be followed are refused", () => {
  const build = (extensions: { kind: number; bytes: Uint8Array }[]) =>
    buildPacket({ version: 6, protocol: TCP, payload: random.bytes(2000), extensions });
  const plain = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0);
  const beyond = Uint8Array.of(0, 255, 0, 0, 0, 0, 0, 0);
  const unfinished = Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 0);
  assert.type(cut(build([{ kind: 0, bytes: plain }]), TCP6, 1000, 0), "object");
  const bad = [
    [{ kind: 43, bytes: unfinished }],
    [{ kind: 44, bytes: plain }],
    [{ kind: 51, bytes: plain }],
    new Array(9).fill({ kind: 60, bytes: plain }),
  ];
  for (const chain of bad) assert.is(cut(build(chain), TCP6, 1000, 0), -Drop.BAD_OFFLOAD);
  const short = build([{ kind: 0, bytes: beyond }]).slice(0, 300);
  assert.is(cut(short, TCP6, 1000, 0), -Drop.BAD_OFFLOAD);
});

test("random headers and sizes never write outside their room", () => {
  for (let i = 0; i < 20_000; i++) {
    const packet = random.bytes(random.between(0, 200));
    if (packet.length > 0) packet[0] = random.pick([0x45, 0x46, 0x60, packet[0] ?? 0]);
    if (packet.length > 9 && random.once(2)) packet[random.pick([6, 9])] = random.pick([TCP, UDP]);
    const pieces = cut(packet, random.pick([TCP4, TCP6, UDP_L4]), random.between(0, 100), 22);
    if (typeof pieces === "number") assert.is(pieces, -Drop.BAD_OFFLOAD);
  }
});

test("a checksum left unfinished by the kernel is completed", () => {
  for (let i = 0; i < 500; i++) {
    const options = { ...randomOptions(random.between(0, 3000)), extensions: [] };
    const packet = buildPacket(options);
    const start = options.version === 6 ? 40 : ((packet[0] ?? 0) & 15) * 4;
    const offset = options.protocol === TCP ? 16 : 6;
    const unfinished = Uint8Array.from(packet);
    const pseudo = pseudoHeader(packet, options.protocol, packet.length - start);
    setBe16(unfinished, start + offset, slowSum(pseudo));
    bytes.fill(0xa5, AT - 64, AT + packet.length + 64);
    bytes.set(unfinished, AT);
    assert.is(kernels.completeChecksum(AT, packet.length, start, offset), packet.length);
    const done = bytes.slice(AT, AT + packet.length);
    assert.is(fault(done), undefined);
    assert.ok(bytes.slice(AT + packet.length, AT + packet.length + 64).every((b) => b === 0xa5));
  }
});

test("a checksum place outside the packet is refused and nothing is written", () => {
  const packet = buildPacket({ version: 4, protocol: UDP, payload: random.bytes(20) });
  bytes.fill(0xa5, AT - 64, AT + 200);
  bytes.set(packet, AT);
  const bad = [
    [0, 6],
    [12, 6],
    [20, 27],
    [47, 0],
    [48, 0],
    [65535, 65535],
    [20, 65535],
  ] as const;
  for (const [start, offset] of bad) {
    assert.is(kernels.completeChecksum(AT, packet.length, start, offset), -Drop.BAD_OFFLOAD);
  }
  assert.equal(
    bytes.slice(AT - 64, AT + 200),
    concat(new Uint8Array(64).fill(0xa5), packet, new Uint8Array(200 - packet.length).fill(0xa5)),
  );
});

test.run();
