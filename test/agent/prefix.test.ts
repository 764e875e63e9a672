// Addresses and prefixes as numbers.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  canonicalAddress,
  comparePrefixes,
  contains,
  containsAddress,
  firstAddress,
  firstInside,
  formatPrefix,
  type Prefix,
  parseAddress,
  parsePrefix,
} from "../../src/agent/prefix.js";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed, `${text} is a prefix`);
  return parsed as Prefix;
}

test("prefixes of both families survive parse and format", () => {
  for (const text of ["10.244.1.0/24", "0.0.0.0/0", "fd00:244::/64", "::/0", "fd00::1/128"]) {
    assert.is(formatPrefix(prefix(text)), text);
  }
});

test("what is no prefix is refused, host bits too", () => {
  const bad = ["10.244.1.1/24", "10.244.1.0", "10.244.1.0/33", "x/8", "fd00::1/64", "::/129", ""];
  for (const text of bad) {
    assert.is(parsePrefix(text), null, text);
  }
  assert.is(parseAddress("fe80::1%eth0"), undefined);
});

test("an address has one spelling", () => {
  assert.is(canonicalAddress("FD00:0:0:0::0001"), "fd00::1");
  assert.is(canonicalAddress("::ffff:10.0.0.1"), "::ffff:a00:1");
  assert.is(canonicalAddress("1:0:0:2:0:0:0:3"), "1:0:0:2::3");
  assert.is(canonicalAddress("no address"), "no address");
});

test("the first address inside a prefix is found as a walk would find it", () => {
  const hosts = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 20 });
  fc.assert(
    fc.property(hosts, fc.integer({ min: 24, max: 32 }), fc.nat(255), (numbers, length, at) => {
      const sorted = numbers.map((number) => prefix(`10.0.0.${number}/32`)).sort(comparePrefixes);
      const start = at - (at % (1 << (32 - length)));
      const outer = prefix(`10.0.0.${start}/${length}`);
      const walked = sorted.find((host) => contains(outer, host));
      assert.equal(firstInside(sorted, outer), walked);
    }),
  );
});

test("containment follows the prefix bits and never crosses families", () => {
  assert.ok(contains(prefix("10.0.0.0/8"), prefix("10.244.1.0/24")));
  assert.not.ok(contains(prefix("10.244.1.0/24"), prefix("10.0.0.0/8")));
  assert.not.ok(contains(prefix("10.244.1.0/24"), prefix("10.0.0.0/8")));
  assert.not.ok(contains(prefix("0.0.0.0/0"), prefix("::/0")));
  assert.ok(containsAddress(prefix("fd00::/8"), "fd12::7"));
  assert.not.ok(containsAddress(prefix("fd00::/8"), "10.0.0.1"));
});

test("the node address is the first address of the PodCIDR", () => {
  assert.is(firstAddress(prefix("10.244.7.0/24")), "10.244.7.0");
  assert.is(firstAddress(prefix("fd00:244:7::/64")), "fd00:244:7::");
});

test("order is total: family, address, length", () => {
  const texts = ["::/0", "10.0.0.0/16", "10.0.0.0/8", "9.0.0.0/8"];
  const sorted = texts.map(prefix).sort(comparePrefixes).map(formatPrefix);
  assert.equal(sorted, ["9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16", "::/0"]);
});

test.run();
