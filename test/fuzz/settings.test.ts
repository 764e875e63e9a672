// Settings from outside: a YAML file, a value for a setting's name as flags, variables and
// `config set` give it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import { ControlError } from "../../control/errors.js";
import { checkSetting as checkMeshSetting } from "../../control/index.js";
import { defaultConfig } from "../../control/settings.js";
import {
  ConfigError,
  checkSetting,
  isSettingName,
  loadSettings,
  SETTINGS,
  settingNames,
} from "../../src/config/index.js";
import { fuzzWithCorpus } from "../support/corpus.js";

const folder = mkdtempSync(join(tmpdir(), "meshd-fuzz-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.on(signal, () => process.exit(1));
}
const file = join(folder, "meshd.yaml");

function refusal(error: unknown): string {
  const isOurs = error instanceof ConfigError || error instanceof ControlError;
  if (isOurs) return error.message.replaceAll(file, "FILE");
  throw error;
}

/** Spoiled text is no JSON at times: whoever takes JSON refuses it before. */
function fieldsIn(input: string): { name?: unknown; value?: unknown } {
  try {
    return JSON.parse(input) ?? {};
  } catch {
    return {};
  }
}

const written = settingNames
  .map((name) => `${name}: ${JSON.stringify(SETTINGS[name].initial ?? null)}`)
  .filter((line) => !line.endsWith(": null"));

fuzzWithCorpus({
  name: "settings-file",
  seeds: [`# all of them\n${written.join("\n")}\n`, "tunnelPort: 4789\nmtu: auto\n", ""],
  json: false,
  inputs: 5_000,
  feed: async (input) => {
    writeFileSync(file, input);
    try {
      await loadSettings({ file, environment: {}, flags: {} });
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

fuzzWithCorpus({
  name: "setting-values",
  seeds: settingNames
    .filter((name) => SETTINGS[name].initial !== undefined)
    .map((name) => JSON.stringify({ name, value: SETTINGS[name].initial })),
  feed: (input) => {
    const { name, value } = fieldsIn(input);
    if (typeof name !== "string" || !isSettingName(name)) return "no such setting";
    try {
      if (value !== null) checkSetting(name, value);
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

fuzzWithCorpus({
  name: "mesh-setting-values",
  seeds: Object.entries(defaultConfig).map(([name, value]) => JSON.stringify({ name, value })),
  feed: (input) => {
    const { name, value } = fieldsIn(input);
    if (typeof name !== "string") return "no name";
    try {
      checkMeshSetting(name, value ?? null);
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

test.run();
