// The table of settings: names and defaults are the control plane's, limits the memory layout's.
import * as fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MAX_WORKERS } from "../../assembly/shared/layout.js";
import { checkSetting as checkInControl, defaultConfig } from "../../control/index.js";
import {
  checkSetting,
  contains,
  flagOf,
  kinds,
  limits,
  meshSettingNames,
  nearest,
  SETTINGS,
  settingNames,
  variableOf,
} from "../../src/config/index.js";

test("the settings of the mesh are those of the config record, with the same defaults", () => {
  const ours = meshSettingNames.map((name) => [name, SETTINGS[name].initial]);
  const theirs = Object.entries(defaultConfig);
  assert.equal(Object.fromEntries(ours), Object.fromEntries(theirs));
});

const pick = fc.oneof(
  fc.integer({ min: -2, max: 70 }),
  fc.constantFrom(0xffff, 0x10000, 0xffffff, 0x1000000, 0xffffffff, 0x100000000, 31_536_001, 1.5),
  fc.constantFrom<unknown>(true, false, null, "null", "none", "true", "auto", "inherit", "24", ""),
  fc.constantFrom<unknown>("pap", ["ms-chap-v2"], "chap-md5, pap", "pap,pap", ["pap", 1], []),
  fc.constantFrom<unknown>("10.0.0.1,10.0.0.2", ["10.0.0.1", "::1"], "none", "1.2.3.4,1.2.3.4"),
  fc.constantFrom("tunnel", "native", "vxlan", "pptp", "always", "ipv6", "identity", "eth0.7", "-"),
  fc.constantFrom("10.0.0.0/8", "10.0.0.1/8", "fd00::/48", "fd00:0::/48", "::/0", "1.2.3.4", "::1"),
);

test("a setting of the mesh is allowed here exactly when the control plane allows it", () => {
  const accepts = (check: () => unknown) => {
    try {
      check();
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(fc.constantFrom(...meshSettingNames), pick, (name, value) => {
      const here = accepts(() => checkSetting(name, value));
      assert.is(
        here,
        accepts(() => checkInControl(name, value)),
        `${name}: ${value}`,
      );
    }),
    { numRuns: 5000 },
  );
});

test("the worker limit is the memory layout's", () => {
  assert.is(limits.WORKERS_MAX, MAX_WORKERS);
});

test("flags and variables are the setting's name in their own spelling, without collisions", () => {
  assert.is(flagOf("clusterPoolIPv4PodCIDR"), "cluster-pool-ipv4-pod-cidr");
  assert.is(flagOf("ipv4NativeRoutingCIDR"), "ipv4-native-routing-cidr");
  assert.is(variableOf("clusterPoolIPv6MaskSize"), "MESHD_CLUSTER_POOL_IPV6_MASK_SIZE");
  assert.is(variableOf("stateDir"), "MESHD_STATE_DIR");
  for (const name of settingNames) assert.match(flagOf(name), /^[a-z0-9]+(-[a-z0-9]+)*$/);
  assert.is(new Set(settingNames.map(flagOf)).size, settingNames.length);
});

test("every default is a value its own setting allows, and has a sentence", () => {
  for (const name of settingNames) {
    const { initial, about, kind } = SETTINGS[name];
    assert.ok(about.length > 5 && kind.allowed.length > 3, name);
    if (initial !== undefined) assert.equal(checkSetting(name, initial), initial);
  }
});

test("a value passes as text just as it passes in its own type", () => {
  for (const name of settingNames) {
    const { initial } = SETTINGS[name];
    if (initial !== undefined) assert.equal(checkSetting(name, String(initial)), initial);
  }
});

test("whatever is given, a setting refuses with its code or gives a value it accepts again", () => {
  const given = fc.oneof(fc.anything(), fc.string(), fc.integer(), fc.ipV4(), fc.ipV6());
  fc.assert(
    fc.property(fc.constantFrom(...settingNames), given, (name, value) => {
      try {
        const checked = checkSetting(name, value);
        assert.equal(checkSetting(name, checked), checked);
      } catch (error) {
        assert.is((error as { code?: string }).code, "MESHD_CONFIG_BAD_VALUE");
        const message = (error as Error).message;
        assert.match(message, new RegExp(`^${name}: value .* is refused, allowed: `));
        assert.not.match(message, /\n/);
      }
    }),
    { numRuns: 2000 },
  );
});

const network4 = fc
  .tuple(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 32 }))
  .map(([bits, length]) => ({ bits, length }));

const dotted = (bits: number) => [24, 16, 8, 0].map((s) => (bits >>> s) & 255).join(".");

test("an IPv4 network is allowed exactly when its host bits are zero", () => {
  fc.assert(
    fc.property(network4, ({ bits, length }) => {
      const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
      const clean = (bits & mask) >>> 0 === bits;
      const parsed = kinds.cidr(4).parse(`${dotted(bits)}/${length}`);
      assert.is(parsed !== undefined, clean);
      assert.is(
        kinds.cidr(4).parse(`${dotted((bits & mask) >>> 0)}/${length}`) !== undefined,
        true,
      );
      assert.ok(contains(`${dotted((bits & mask) >>> 0)}/${length}`, dotted(bits)));
    }),
  );
});

test("IPv6 networks are read in every spelling", () => {
  const good = ["fd00:10:244::/48", "::/0", "FD00::/8", "fd00:1:2:3::/64", "::ffff:10.0.0.0/104"];
  for (const text of good) assert.is(kinds.cidr(6).parse(text), text);
  const bad = ["fd00::1/64", "fd00::/129", "10.0.0.0/8", "fd00::", "fe80::%eth0/64", "/64", "::/"];
  for (const text of bad) assert.is(kinds.cidr(6).parse(text), undefined);
  assert.ok(contains("fd00:10:244::/48", "fd00:10:244:ffff::1"));
  assert.not.ok(contains("fd00:10:244::/48", "fd00:10:245::1"));
  assert.not.ok(contains("0.0.0.0/0", "::1"));
});

test("a misspelt word finds the one that was meant, and nonsense finds none", () => {
  assert.is(nearest("tunelPort", settingNames), "tunnelPort");
  assert.is(nearest("qqqqqqqq", settingNames), undefined);
});

test.run();
