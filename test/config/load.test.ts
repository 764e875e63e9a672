// Where settings come from: file below the last join below variables below flags; refusals by name.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  type ConfigError,
  loadSettings,
  type Origin,
  SETTINGS,
  type SettingName,
  variableOf,
} from "../../src/config/index.js";

interface World {
  dir: string;
}
const test = suite<World>("settings from all sources");
test.before.each((world) => {
  world.dir = mkdtempSync(join(tmpdir(), "meshd-config-"));
});
test.after.each((world) => rmSync(world.dir, { recursive: true, force: true }));

/** Values that differ from the default and from each other, as YAML would give them. */
const SAMPLES = {
  tunnelPort: [4789, 9999, 1, 65535],
  vni: [7, 16777215, 42, "identity"],
  masquerade: [false, true, false, true],
  mtu: [1400, 1280, "auto", 9000],
  dscp: [46, 0, "inherit", 63],
  clusterPoolIPv4PodCIDR: ["10.60.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "10.9.0.0/16"],
  underlayAddress: ["192.0.2.1", "192.0.2.2", null, "2001:db8::1"],
  deviceName: ["mesh1", "m-2", "x", "tun_9"],
  nodeName: ["a", "b1", "c-c", "9"],
  logLevel: ["debug", "warn", "error", "info"],
} satisfies Partial<Record<SettingName, unknown[]>>;

const names = Object.keys(SAMPLES) as (keyof typeof SAMPLES)[];
const SOURCES = ["file", "remembered", "variable", "flag"] as const;

/** For some settings, which sources name them. */
const plans = fc.uniqueArray(
  fc.tuple(fc.constantFrom(...names), fc.subarray([...SOURCES], { minLength: 1 })),
  { selector: ([name]) => name, minLength: 1, maxLength: 6 },
);

test("the highest source that names a setting wins, whatever the others say", async ({ dir }) => {
  const file = join(dir, "settings.yaml");
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const given = Object.fromEntries(SOURCES.map((source) => [source, {}])) as Record<
        (typeof SOURCES)[number],
        Partial<Record<SettingName, unknown>>
      >;
      for (const [name, sources] of plan) {
        for (const source of sources) {
          given[source][name] = SAMPLES[name][SOURCES.indexOf(source)];
        }
      }
      writeFileSync(file, JSON.stringify(given.file)); // JSON is YAML
      const variables = Object.entries(given.variable);
      const { settings, origins } = await loadSettings({
        file,
        remembered: () => ({ values: given.remembered }),
        environment: Object.fromEntries(
          variables.map(([name, value]) => [variableOf(name as SettingName), String(value)]),
        ),
        flags: given.flag,
      });
      for (const name of names) {
        const sources = plan.find(([planned]) => planned === name)?.[1] ?? [];
        const top = SOURCES.filter((source) => sources.includes(source)).at(-1);
        const origin: Origin = top ?? "default";
        assert.is(origins[name], origin);
        const expected = top === undefined ? SETTINGS[name].initial : given[top][name];
        assert.equal(settings[name], expected);
      }
    }),
    { numRuns: 200 },
  );
});

async function refusal(sources: Partial<Parameters<typeof loadSettings>[0]>): Promise<ConfigError> {
  try {
    await loadSettings({ environment: {}, flags: {}, ...sources });
  } catch (error) {
    return error as ConfigError;
  }
  return assert.unreachable("it was accepted") as never;
}

test("an unknown key in the file is refused with file, key and the nearest name", async ({
  dir,
}) => {
  const file = join(dir, "a.yaml");
  writeFileSync(file, "tunelProtocol: vxlan\n");
  const error = await refusal({ file });
  assert.is(error.code, "MESHD_CONFIG_UNKNOWN_KEY");
  assert.match(error.message, /a\.yaml: tunelProtocol: .* did you mean tunnelProtocol\?/);
});

test("a bad value in the file names key, file, value and what is allowed", async ({ dir }) => {
  const file = join(dir, "a.yaml");
  writeFileSync(file, "# comment\nmtu: 17\n");
  const error = await refusal({ file });
  assert.is(error.code, "MESHD_CONFIG_BAD_VALUE");
  assert.is(
    error.message,
    `mtu in ${file}: value 17 is refused, allowed: auto, or a whole number from 576 to 65535`,
  );
});

test("an unknown MESHD_ variable and a bad one are refused by their names", async () => {
  const unknown = await refusal({ environment: { MESHD_WORKERZ: "2" } });
  assert.match(unknown.message, /^MESHD_WORKERZ: .*MESHD_WORKERS/);
  const bad = await refusal({ environment: { MESHD_WORKERS: "0" } });
  assert.match(bad.message, /^MESHD_WORKERS: value "0" is refused, allowed: a whole number/);
});

test("variables that are not ours, and those of tests and tools, are left alone", async () => {
  const environment = { PATH: "/bin", MESHD_TEST_X: "1", MESHD_LAB_Y: "", MESHD_TOKEN: "t" };
  const { origins } = await loadSettings({ environment, flags: {} });
  assert.equal([...new Set(Object.values(origins))], ["default"]);
});

test("a file that is no map, no YAML, a doubled key or missing is refused in one line", async ({
  dir,
}) => {
  const file = join(dir, "a.yaml");
  for (const text of ["- a\n- b\n", "a: [", "mtu: 1400\nmtu: 1500\n", "just text"]) {
    writeFileSync(file, text);
    const error = await refusal({ file });
    assert.is(error.code, "MESHD_CONFIG_FILE", text);
    assert.not.match(error.message, /\n/);
  }
  assert.is((await refusal({ file: join(dir, "none.yaml") })).code, "MESHD_CONFIG_FILE");
});

test("an empty file changes nothing, and an alias bomb is refused", async ({ dir }) => {
  const file = join(dir, "a.yaml");
  writeFileSync(file, "");
  const { settings, file: read } = await loadSettings({ file, environment: {}, flags: {} });
  assert.is(read, file);
  assert.is(settings.tunnelProtocol, "vxlan");
  writeFileSync(file, "nats: &a [x, x]\ncreds: [*a, *a]\n");
  assert.match((await refusal({ file })).code, /^MESHD_CONFIG_/);
});

test("paths of flags and variables begin where they are typed, those of files do not", async ({
  dir,
}) => {
  const environment = {
    MESHD_CREDS: "anna.creds",
    MESHD_NATS_CA: "system",
    MESHD_RUN_DIR: "/run/x",
  };
  const { settings } = await loadSettings({ environment, flags: { stateDir: "./state" } });
  const { creds, natsCa, runDir, stateDir } = settings;
  assert.equal([creds, stateDir], [resolve("anna.creds"), resolve("state")]);
  assert.equal([natsCa, runDir], ["system", "/run/x"], "what is no relative path stays");
  const file = join(dir, "a.yaml");
  writeFileSync(file, "creds: anna.creds\n");
  assert.match((await refusal({ file })).message, /creds in .*: a path, in a file an absolute one/);
  for (const flags of [{ creds: "" }, { creds: "a\nb" }, { runDir: 7 }]) {
    assert.is((await refusal({ flags })).code, "MESHD_CONFIG_BAD_VALUE");
  }
});

test("an agent with a state directory of its own reads meshd.yaml there", async ({ dir }) => {
  writeFileSync(join(dir, "meshd.yaml"), "workers: 3\n");
  const loaded = await loadSettings({ environment: { MESHD_STATE_DIR: dir }, flags: {} });
  assert.is(loaded.settings.workers, 3);
  assert.is(loaded.origins.workers, "file");
});

test("values that do not fit together are refused", async () => {
  const cases: [Partial<Record<SettingName, unknown>>, RegExp][] = [
    [{ clusterPoolIPv4MaskSize: 12 }, /clusterPoolIPv4MaskSize: value 12 .* allowed: 16 to 30/],
    [{ clusterPoolIPv4PodCIDR: null }, /both null/],
    [
      { underlayAddress: "10.60.3.4", clusterPoolIPv4PodCIDR: "10.60.0.0/16" },
      /10\.60\.3\.4 is inside the pod pool 10\.60\.0\.0\/16/,
    ],
    [{ underlayAddress: "192.0.2.1", underlayProtocol: "ipv6" }, /no address of underlayProtocol/],
  ];
  for (const [flags, message] of cases) {
    const error = await refusal({ flags });
    assert.is(error.code, "MESHD_CONFIG_CONFLICT");
    assert.match(error.message, message);
  }
});

test("an underlay address inside the default pool may stand in another mesh", async () => {
  const { settings } = await loadSettings({
    environment: {},
    flags: { underlayAddress: "10.244.3.4" },
  });
  assert.is(settings.underlayAddress, "10.244.3.4");
});

test.run();
