// Addresses and prefixes against node's own parser and a slow twin; settings' rules.
import { BlockList, isIPv4, isIPv6, SocketAddress } from "node:net";
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  addressText,
  canonicalAddress,
  contains,
  overlaps,
  parseAddress,
  parsePrefix,
  pieceAt,
  pieceCount,
  prefixHolds,
  prefixText,
  widthOf,
} from "../../control/cidr.js";
import { ControlError, checkSetting, completeConfig, tunnelPortOf } from "../../control/index.js";
import { keyOf, parseKey } from "../../control/keys.js";

const addresses = fc.oneof(fc.ipV4(), fc.ipV6());

test("addresses are read as node reads them, and written canonically", () => {
  fc.assert(
    fc.property(addresses, (text) => {
      const family = isIPv4(text) ? "ipv4" : "ipv6";
      const canonical = canonicalAddress(text);
      if (family === "ipv4" && canonical === null) return assert.match(text, /\b0\d/);
      // Node writes some addresses with a dotted end: the same number.
      const judged = new SocketAddress({ address: text, family }).address;
      assert.is(canonical, canonicalAddress(judged));
      assert.is(new SocketAddress({ address: canonical ?? "", family }).address, judged);
    }),
    { numRuns: 2_000 },
  );
});

test("what is no address is none", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:./]{0,40}$/)), (text) => {
      const ours = parseAddress(text) !== null;
      if (ours) assert.ok(isIPv4(text) || isIPv6(text), text);
      else assert.not(isIPv6(text) && !text.includes("%"), text);
    }),
    { numRuns: 3_000 },
  );
});

test("RFC 5952 examples are written as it says", () => {
  const pairs = [
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:0db8::0001", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["2001:db8:aaaa:bbbb:cccc:dddd:eeee:AAAA", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa"],
  ];
  for (const [given, wanted] of pairs) assert.is(canonicalAddress(given ?? ""), wanted);
});

test("prefixes contain what node's block list contains", () => {
  const given = fc.record({
    base: fc.ipV4(),
    length: fc.integer({ min: 1, max: 32 }),
    other: fc.ipV4(),
  });
  fc.assert(
    fc.property(given, ({ base, length, other }) => {
      const parsed = parseAddress(base);
      if (!parsed || !parseAddress(other)) return;
      const shift = BigInt(32 - length);
      const prefix = { family: 4 as const, first: (parsed.value >> shift) << shift, length };
      const list = new BlockList();
      list.addSubnet(addressText(4, prefix.first), length, "ipv4");
      assert.is(prefixHolds(prefix, other), list.check(other, "ipv4"));
      assert.equal(parsePrefix(prefixText(prefix)), prefix);
    }),
    { numRuns: 1_000 },
  );
});

test("a pool is cut into pieces that lie in it and never overlap", () => {
  for (const [text, size] of [
    ["10.244.0.0/16", 24],
    ["fd00:10:244::/48", 64],
  ] as const) {
    const pool = parsePrefix(text);
    if (!pool) throw new Error(text);
    assert.is(pieceCount(pool, size), 2 ** (size - pool.length));
    const pieces = [0, 1, 2, 254, 255].map((index) => pieceAt(pool, size, index));
    for (const [index, piece] of pieces.entries()) {
      assert.ok(contains(pool, piece));
      assert.ok(piece.length <= widthOf(piece.family));
      for (const other of pieces.slice(index + 1)) assert.not(overlaps(piece, other));
    }
  }
  assert.is(parsePrefix("10.0.0.1/24"), null, "host bits");
  assert.is(parsePrefix("10.0.0.0/33"), null);
  assert.is(parsePrefix("10.0.0.0"), null);
});

test("every lease and claim key leads back to its kind", () => {
  fc.assert(
    fc.property(addresses, fc.nat(65_535), (address, port) => {
      const canonical = canonicalAddress(address);
      if (canonical === null) return;
      assert.is(parseKey(keyOf.claim(canonical, port))?.kind, "claims");
      assert.is(parseKey(keyOf.lease(`${canonical}/64`))?.kind, "leases");
    }),
  );
});

test("a setting is taken as typed or refused with its name, value and choices", () => {
  assert.is(checkSetting("mtu", "1400").value, 1400);
  assert.is(checkSetting("mtu", "auto").value, "auto");
  assert.is(checkSetting("masquerade", "false").value, false);
  assert.is(checkSetting("clusterPoolIPv6PodCIDR", "null").value, null);
  assert.is(checkSetting("clusterPoolIPv6PodCIDR", "FD00::/48").value, "fd00::/48");
  assert.is(tunnelPortOf(completeConfig({})), 8472);
  assert.is(tunnelPortOf(completeConfig({ tunnelPort: 4789 })), 4789);
  const refused = (work: () => unknown) => {
    try {
      work();
      return "taken";
    } catch (error) {
      return error instanceof ControlError && error.code === "MESHD_BAD_SETTING"
        ? error.message
        : "another error";
    }
  };
  assert.match(
    refused(() => checkSetting("dscp", 64)),
    /^dscp: 64 .*inherit or a whole number from 0 to 63/,
  );
  assert.match(
    refused(() => checkSetting("toString", 1)),
    /no setting/,
  );
  assert.match(
    refused(() => completeConfig({ clusterPoolIPv4MaskSize: 12 })),
    /16 to 30/,
  );
  assert.match(
    refused(() => completeConfig({ clusterPoolIPv4PodCIDR: null })),
    /at least one family/,
  );
  fc.assert(
    fc.property(fc.string(), fc.jsonValue(), (name, value) => {
      assert.match(
        refused(() => completeConfig({ [name]: value })),
        /./,
      );
    }),
  );
});

test.run();
