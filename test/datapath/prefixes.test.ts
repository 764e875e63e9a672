// Prefixes of the tables: the fast reading agrees with the thorough one, on any text; and a list
// of routes finds two owners of one prefix.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parsePrefix, readPrefix4, readPrefix6 } from "../../src/datapath/address.js";
import { RouteList } from "../../src/datapath/routes.js";

const RUNS = 20_000;

const octet = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom("", "00", "01", "1e1"));
const text4 = fc
  .tuple(fc.array(octet, { minLength: 3, maxLength: 5 }), fc.integer({ min: 0, max: 40 }))
  .map(([parts, length]) => `${parts.join(".")}/${length}`);
const group = fc.oneof(
  fc.integer({ min: 0, max: 0x1_0fff }).map((value) => value.toString(16)),
  fc.constantFrom("", "0", "0000", "FFFF", "1.2.3.4"),
);
const text6 = fc
  .tuple(fc.array(group, { minLength: 1, maxLength: 9 }), fc.integer({ min: 0, max: 140 }))
  .map(([groups, length]) => `${groups.join(":")}/${length}`);
/** Good networks in their usual spelling, of which the fast reading has to read each. */
const network6 = fc
  .tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.integer({ min: 64, max: 128 }))
  .map(([bits, length]) => {
    const groups = [48n, 32n, 16n, 0n].map((shift) => ((bits >> shift) & 0xffffn).toString(16));
    return `${groups.join(":")}::/${length}`;
  });
const network4 = fc
  .tuple(fc.integer({ min: 0, max: 2 ** 24 - 1 }), fc.integer({ min: 24, max: 32 }))
  .map(([bits, length]) => {
    return `${bits >> 16}.${(bits >> 8) & 255}.${bits & 255}.0/${length}`;
  });
const damaged = fc
  .tuple(
    fc.oneof(text4, text6, network6),
    fc.nat(20),
    fc.constantFrom("", ":", "::", "/", ".", "%"),
  )
  .map(([text, at, more]) => text.slice(0, at) + more + text.slice(at + 1));

function readFast(text: string): { words: number[]; length: number } | undefined {
  const words = new Uint32Array(4);
  const is6 = text.includes(":");
  const length = is6 ? readPrefix6(text, words) : readPrefix4(text, words);
  return length < 0 ? undefined : { words: [...words.subarray(0, is6 ? 4 : 1)], length };
}

test("what the fast reading of a prefix takes, the thorough one reads as the same", () => {
  let taken = 0;
  const any = fc.oneof(text4, text6, network4, network6, damaged, fc.string());
  fc.assert(
    fc.property(any, (text) => {
      const fast = readFast(text);
      if (fast === undefined) return;
      taken++;
      const { words, length } = parsePrefix(text) ?? {};
      assert.equal({ words, length }, fast, text);
    }),
    { numRuns: RUNS },
  );
  assert.ok(taken > RUNS / 10, `${taken} were taken`);
});

test("every network in its usual spelling is read fast", () => {
  fc.assert(
    fc.property(fc.oneof(network4, network6), (text) => {
      const { words, length } = parsePrefix(text) ?? {};
      assert.equal(readFast(text), { words, length }, text);
    }),
    { numRuns: RUNS / 4 },
  );
  for (const text of ["0.0.0.0/0", "::/0", "fd00::/8", "1:2:3:4:5:6:7:8/128", "::1/128"]) {
    assert.ok(readFast(text), text);
  }
});

test("a list of routes takes a prefix once, and says when it leads elsewhere already", () => {
  const routes = new RouteList(4, 1000);
  for (let index = 0; index < 1000; index++) {
    assert.ok(routes.add([0xfd000000, index, 0, 0], 64, 2 + (index % 7)));
  }
  assert.ok(routes.add([0xfd000000, 9, 0, 0], 64, 4), "the same again is no conflict");
  assert.not(routes.add([0xfd000000, 9, 0, 0], 64, 5));
  assert.is(routes.count, 1000);
  const mixed = new RouteList(1, 100);
  for (let index = 0; index < 100; index++) mixed.add([index], (index * 37) % 33, 2);
  const lengths = [...mixed.byLength()].map((index) => mixed.lengths[index] ?? 0);
  assert.equal(
    lengths,
    [...lengths].sort((a, b) => a - b),
  );
  assert.is(new Set(mixed.byLength()).size, 100);
});

test.run();
