// The Internet checksum of the hot path against a byte-by-byte twin: sizes around every loop bound,
// every alignment, fused copies, pseudo-headers and RFC 1624's incremental update.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openKernels } from "../support/kernels.js";
import { address6, buildPacket, pseudoHeader, slowSum, UDP } from "../support/packets.js";
import { Random } from "../support/random.js";

const { kernels, bytes } = openKernels();
const random = new Random(1071);
const AT = 70_000;
const OUT = 200_000;

/** Sums have two zeros: 0000 for an all-zero range, FFFF otherwise. */
const swap = (word: number) => ((word & 0xff) << 8) | (word >> 8);

function randomRange(length: number, at = AT): Uint8Array {
  const range = random.bytes(length);
  bytes.set(range, at);
  return range;
}

const LENGTHS = [
  ...Array.from({ length: 300 }, (_, i) => i),
  ...[511, 512, 513, 1459, 1460, 1461, 4096, 8999, 65534, 65535],
];

test("partial equals the slow sum at every length and alignment", () => {
  for (const length of LENGTHS) {
    const at = AT + (length % 17);
    const range = randomRange(length, at);
    const initial = random.between(0, 0xffff);
    const sum = slowSum(range) + swap(initial);
    const expected = sum > 0xffff ? sum - 0xffff : sum;
    assert.is(swap(kernels.partial(at, length, initial)), expected, `length ${length}`);
  }
});

test("partial reads no byte outside its range", () => {
  for (const length of LENGTHS.slice(0, 200)) {
    const range = randomRange(length);
    for (const filler of [0x00, 0xff]) {
      bytes.fill(filler, AT - 64, AT);
      bytes.fill(filler, AT + length, AT + length + 64);
      assert.is(swap(kernels.partial(AT, length, 0)), slowSum(range), `length ${length}`);
    }
  }
});

test("a range at the very end of memory does not trap", () => {
  for (let length = 0; length < 200; length++) {
    const at = bytes.length - length;
    const range = randomRange(length, at);
    assert.is(swap(kernels.partial(at, length, 0)), slowSum(range));
    assert.is(swap(kernels.copyPartial(OUT, at, length, 0)), slowSum(range));
  }
});

test("a range of ones only sums to FFFF without an overflow", () => {
  bytes.fill(0xff, AT, AT + 65_535);
  assert.is(kernels.partial(AT, 65_534, 0xffff), 0xffff);
  assert.is(kernels.copyPartial(OUT, AT, 65_534, 0xffff), 0xffff);
});

test("copyPartial sums as partial does, copies all bytes and writes no other", () => {
  for (const length of LENGTHS) {
    const range = randomRange(length, AT + 3);
    bytes.fill(0xa5, OUT - 64, OUT + length + 64);
    assert.is(swap(kernels.copyPartial(OUT, AT + 3, length, 0)), slowSum(range));
    assert.equal(bytes.slice(OUT, OUT + length), range);
    assert.ok(
      bytes.slice(OUT - 64, OUT).every((b) => b === 0xa5),
      `before ${length}`,
    );
    assert.ok(bytes.slice(OUT + length, OUT + length + 64).every((b) => b === 0xa5));
  }
});

test("copy copies all bytes and writes no other", () => {
  for (const length of LENGTHS.slice(0, 300)) {
    const range = randomRange(length, AT + 5);
    bytes.fill(0xa5, OUT - 64, OUT + length + 64);
    kernels.copy(OUT, AT + 5, length);
    assert.equal(bytes.slice(OUT, OUT + length), range);
    assert.ok(bytes.slice(OUT - 64, OUT).every((b) => b === 0xa5));
    assert.ok(bytes.slice(OUT + length, OUT + length + 64).every((b) => b === 0xa5));
  }
});

test("pseudo-headers of both families equal their bytes' sum", () => {
  for (let i = 0; i < 200; i++) {
    const length = random.between(0, 65_000);
    const v4 = buildPacket({
      ...{ version: 4, protocol: UDP, payload: new Uint8Array(0) },
      ...{ source: random.bytes(4), destination: random.bytes(4) },
    });
    const v6 = buildPacket({
      ...{ version: 6, protocol: UDP, payload: new Uint8Array(0) },
      ...{ source: random.bytes(16), destination: address6(1, i) },
    });
    bytes.set(v4, AT);
    assert.is(swap(kernels.pseudo4(AT, 17, length)), slowSum(pseudoHeader(v4, 17, length)));
    bytes.set(v6, AT);
    assert.is(swap(kernels.pseudo6(AT, 58, length)), slowSum(pseudoHeader(v6, 58, length)));
  }
});

test("an incremental update gives the checksum of the changed bytes", () => {
  for (let i = 0; i < 20_000; i++) {
    const length = 2 * random.between(10, 40);
    randomRange(length);
    const before = kernels.finish(kernels.partial(AT, length, 0));
    const at = AT + 2 * random.between(0, length / 2 - 1);
    const from = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    const to = random.once(8) ? random.pick([0, 0xffff]) : random.between(0, 0xffff);
    bytes[at] = to;
    bytes[at + 1] = to >> 8;
    const updated = kernels.update(before, from, to);
    const full = kernels.finish(kernels.partial(AT, length, 0));
    assert.is(updated, full);
  }
});

test("fold carries around at any width", () => {
  for (const sum of [0n, 0xffffn, 0x10000n, 0xffffffffn, 0x1_0000_0000n, 2n ** 62n, 2n ** 63n]) {
    const expected = sum === 0n ? 0 : Number(((sum - 1n) % 0xffffn) + 1n);
    assert.is(kernels.fold(sum), expected);
  }
  assert.is(kernels.fold(-1n), 0xffff, "all 64 bits set");
});

test.run();
