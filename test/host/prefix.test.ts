// Prefix arithmetic, without root.
import * as fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  bitsOf,
  canonicalAddress,
  canonicalPrefix,
  containsPrefix,
  type Family,
  formatAddress,
  HostError,
  needPrefix,
  parseAddress,
  parsePrefix,
  prefixesOverlap,
  prefixHolding,
} from "../../src/host/index.js";

const address = fc
  .tuple(fc.constantFrom<Family>(4, 6), fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }))
  .map(([family, value]) => ({ family, value: value >> BigInt(128 - bitsOf(family)) }));

test("an address written and read again is the same address", () => {
  fc.assert(
    fc.property(address, (given) => {
      assert.equal(parseAddress(formatAddress(given)), given);
    }),
  );
});

test("IPv6 text takes the one form that the kernel's tools print", () => {
  assert.is(canonicalAddress("FD00:0:0:0:0:0:0:1"), "fd00::1");
  assert.is(canonicalAddress("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");
  assert.is(canonicalAddress("1:0:0:2:0:0:0:3"), "1:0:0:2::3");
  assert.is(canonicalPrefix("::/0"), "::/0");
  assert.is(canonicalPrefix("fd00::5"), "fd00::5/128");
});

test("host bits of a prefix are cleared and a bare address is its own prefix", () => {
  assert.is(canonicalPrefix("10.244.1.7/24"), "10.244.1.0/24");
  assert.is(canonicalPrefix("10.244.1.7"), "10.244.1.7/32");
});

test("text that is no prefix is refused with a code", () => {
  const bad = ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "fe80::1%eth0", "a/8", "10.0.0.0/8/8"];
  for (const text of [...bad, "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08x", "default"]) {
    assert.is(parsePrefix(text), undefined, text);
    assert.throws(
      () => needPrefix(text),
      (error: unknown) => error instanceof HostError && error.code === "MESHD_HOST_BAD_VALUE",
    );
  }
});

test("a prefix contains its parts, overlaps both ways, and never the other family", () => {
  const wide = needPrefix("10.244.0.0/16");
  const part = needPrefix("10.244.7.0/24");
  assert.ok(containsPrefix(wide, part));
  assert.not.ok(containsPrefix(part, wide));
  assert.ok(prefixesOverlap(part, wide));
  assert.not.ok(prefixesOverlap(wide, needPrefix("10.245.0.0/16")));
  assert.not.ok(containsPrefix(needPrefix("0.0.0.0/0"), needPrefix("::/0")));
});

test("the pool that holds an address is found, and bad text is in none", () => {
  const pools = ["10.244.0.0/16", "fd00:244::/48"];
  assert.is(prefixHolding("fd00:244:0:1::9", pools), "fd00:244::/48");
  assert.is(prefixHolding("192.168.0.1", pools), undefined);
  assert.is(prefixHolding("nonsense", pools), undefined);
});

test.run();
