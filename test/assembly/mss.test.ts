// The MSS clamp: SYN and SYN-ACK of both families at any place in the option list, checksums kept,
// and everything else - other flags, fragments, damaged lists - left as it is.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fault } from "../support/judge.js";
import { openKernels } from "../support/kernels.js";
import { ACK, be16, buildPacket, concat, SYN, setBe16, TCP, UDP } from "../support/packets.js";

const { kernels, bytes } = openKernels();
const AT = 70_000;
const empty = new Uint8Array(0);

function clamp(packet: Uint8Array, mtu: number): Uint8Array {
  bytes.fill(0xa5, AT - 64, AT + packet.length + 64);
  bytes.set(packet, AT);
  kernels.clamp(AT, packet.length, mtu);
  assert.ok(bytes.slice(AT - 64, AT).every((b) => b === 0xa5));
  assert.ok(bytes.slice(AT + packet.length, AT + packet.length + 64).every((b) => b === 0xa5));
  return bytes.slice(AT, AT + packet.length);
}

const mssOption = (value: number) => Uint8Array.of(2, 4, value >> 8, value & 255);

/** Pads an option list to whole words with end-of-list. */
function padded(...options: Uint8Array[]): Uint8Array {
  const list = concat(...options);
  return concat(list, new Uint8Array((4 - (list.length % 4)) % 4));
}

function syn(version: 4 | 6, tcpOptions: Uint8Array, flags = SYN): Uint8Array {
  return buildPacket({ version, protocol: TCP, payload: empty, flags, tcpOptions });
}

for (const version of [4, 6] as const) {
  const headers = version === 4 ? 40 : 60;

  test(`IPv${version}: an MSS above the MTU less ${headers} is lowered, no other`, () => {
    for (const flags of [SYN, SYN | ACK]) {
      const lowered = clamp(syn(version, mssOption(1460), flags), 1450);
      assert.equal(lowered, syn(version, mssOption(1450 - headers), flags));
      for (const value of [1450 - headers, 536, 0]) {
        const packet = syn(version, mssOption(value), flags);
        assert.equal(clamp(packet, 1450), packet);
      }
    }
  });

  test(`IPv${version}: the option is found behind others, at odd places too`, () => {
    const nops = (count: number) => new Uint8Array(count).fill(1);
    const sack = Uint8Array.of(4, 2);
    const scale = Uint8Array.of(3, 3, 7);
    for (const before of [nops(1), nops(3), sack, scale, concat(scale, sack), nops(7)]) {
      const list = (value: number) => padded(before, mssOption(value), sack);
      const expected = syn(version, list(1450 - headers));
      assert.equal(clamp(syn(version, list(8960)), 1450), expected);
      assert.is(fault(expected), undefined);
    }
  });
}

test("an odd place keeps the checksum right for any pair of values", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 65535 }),
      fc.integer({ min: 41, max: 65535 }),
      (mss, mtu) => {
        const list = (value: number) => padded(Uint8Array.of(1), mssOption(value));
        const expected = syn(4, list(Math.min(mss, mtu - 40)));
        assert.equal(clamp(syn(4, list(mss)), mtu), expected);
      },
    ),
    { seed: 879, numRuns: 5000 },
  );
});

test("packets without SYN, fragments, UDP and other versions are left alone", () => {
  const fragment = syn(4, mssOption(1460));
  setBe16(fragment, 6, 0x2000);
  const later = syn(4, mssOption(1460));
  setBe16(later, 6, 0x0010);
  const version5 = syn(4, mssOption(1460));
  version5[0] = 0x55;
  const packets = [
    ...[syn(4, mssOption(1460), ACK), fragment, later, version5],
    buildPacket({ version: 4, protocol: UDP, payload: Uint8Array.of(2, 4, 255, 255) }),
  ];
  for (const packet of packets) assert.equal(clamp(packet, 1000), packet);
});

test("IPv6 extension headers before TCP are followed", () => {
  const build = (value: number) =>
    buildPacket({
      ...{ version: 6, protocol: TCP, payload: empty, flags: SYN, tcpOptions: mssOption(value) },
      extensions: [{ kind: 0, bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) }],
    });
  assert.equal(clamp(build(1440), 1430), build(1370));
});

test("damaged option lists are left alone", () => {
  const damaged = [
    Uint8Array.of(2, 3, 255, 255),
    Uint8Array.of(2, 0, 255, 255),
    Uint8Array.of(2, 1, 255, 255),
    Uint8Array.of(3, 0, 0, 0, 2, 4, 255, 255),
    Uint8Array.of(3, 40, 0, 0, 2, 4, 255, 255),
    Uint8Array.of(1, 1, 1, 2),
    Uint8Array.of(1, 1, 2, 4),
    Uint8Array.of(1, 2, 4, 255),
    Uint8Array.of(0, 2, 4, 255, 255, 0, 0, 0),
  ];
  for (const options of damaged) {
    const packet = syn(4, options);
    assert.equal(clamp(packet, 1000), packet);
  }
  const beyond = syn(4, mssOption(1460));
  beyond[32] = 0xf0;
  assert.equal(clamp(beyond, 1000), beyond);
  const small = syn(4, mssOption(1460));
  small[32] = 0x40;
  assert.equal(clamp(small, 1000), small);
});

test("an MTU below the headers changes nothing", () => {
  const packet = syn(4, mssOption(1460));
  for (const mtu of [0, 20, 40]) assert.equal(clamp(packet, mtu), packet);
});

test("any option list is survived, and a change is a lowered MSS with its checksum", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 40 }),
      fc.integer({ min: 0, max: 80 }),
      fc.constantFrom(4 as const, 6 as const),
      (options, cut, version) => {
        const packet = syn(version, padded(options));
        const short = packet.slice(0, packet.length - Math.min(cut, packet.length));
        const after = clamp(short, 700);
        const differs = [...after.keys()].filter((i) => after[i] !== short[i]);
        assert.ok(differs.length <= 4);
        if (cut === 0) assert.is(fault(after), undefined);
        if (differs.length > 0) assert.is(be16(after, 0), be16(short, 0));
      },
    ),
    { seed: 1624, numRuns: 20_000 },
  );
});

test.run();
