// Settings from the YAML file, the last join, MESHD_* variables and flags, in rising order.
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { checkSetting, checkTogether, isSettingName, show, unknownKey } from "./check.js";
import { ConfigError } from "./errors.js";
import { CONFIG_FILE_BYTES_MAX, CONFIG_FILE_DEFAULT, STATE_DIR_DEFAULT } from "./limits.js";
import {
  isPathSetting,
  SETTINGS,
  type SettingName,
  type Settings,
  settingNames,
  variableOf,
} from "./settings.js";

export type Origin = "default" | "file" | "remembered" | "variable" | "flag";

export interface Loaded {
  settings: Settings;
  /** Where each value is from. */
  origins: Record<SettingName, Origin>;
  /** The YAML file that was read, if any. */
  file?: string;
}

/** What a node was given once and keeps. */
export interface Remembered {
  /** Its YAML file, absolute. */
  file?: string;
  values: Partial<Record<SettingName, unknown>>;
}

export interface Sources {
  /** Path of the YAML file; it must exist when given. */
  file?: string | undefined;
  /** What an earlier `meshd join` was given by flags. */
  remembered?: (stateDir: string) => Remembered;
  environment: Readonly<Record<string, string | undefined>>;
  /** Values of flags, by setting name. */
  flags: Partial<Record<SettingName, unknown>>;
}

/** MESHD_* variables that are no settings; listed beginnings belong to tests and tools. */
const OTHER_VARIABLES = ["MESHD_CONFIG", "MESHD_TOKEN"];
const OTHER_BEGINNINGS = ["MESHD_TEST_", "MESHD_LAB_", "MESHD_BENCH_", "MESHD_SETUP_"];

/** The parser quotes what it stumbled over, whole. */
const REASON_LENGTH_MAX = 200;

/**
 * Reads, checks and merges all sources.
 * @throws ConfigError for an unknown key, a bad value, values that do not fit together, a bad file.
 */
export async function loadSettings(sources: Sources): Promise<Loaded> {
  const layers = new Layers();
  const variables = fromHere(readVariables(sources.environment));
  const flags = fromHere(sources.flags);
  const stateDir = whereStateIs(flags.stateDir ?? variables.stateDir);
  const remembered = sources.remembered?.(stateDir);
  const named = sources.file ?? sources.environment.MESHD_CONFIG ?? remembered?.file;
  const file = named ?? existing(defaultFile(stateDir));
  if (file !== undefined) {
    layers.add("file", await readSettingsFile(file), (name) => `${name} in ${file}`);
  }
  layers.add("remembered", remembered?.values ?? {}, (name) => name);
  layers.add("variable", variables, variableOf);
  layers.add("flag", flags, (name) => name);
  const { settings, origins } = layers;
  checkTogether(settings, (name) => origins[name] !== "default");
  return file === undefined ? { settings, origins } : { settings, origins, file };
}

/** Defaults, with what each source adds laid over them. */
class Layers {
  readonly settings: Settings;
  readonly origins: Record<SettingName, Origin>;

  constructor() {
    const initial = settingNames.map((name) => [name, SETTINGS[name].initial]);
    this.settings = Object.fromEntries(initial) as Settings;
    const origins = settingNames.map((name) => [name, "default"]);
    this.origins = Object.fromEntries(origins) as Record<SettingName, Origin>;
  }

  add(
    origin: Origin,
    given: Partial<Record<SettingName, unknown>>,
    keyOf: (name: SettingName) => string,
  ): void {
    for (const name of settingNames) {
      if (given[name] === undefined) continue;
      const value = checkSetting(name, given[name], keyOf(name));
      Object.assign(this.settings, { [name]: value });
      this.origins[name] = origin;
    }
  }
}

/** /etc/meshd/meshd.yaml for the one agent of a host; others have theirs beside the state. */
function defaultFile(stateDir: string): string {
  return stateDir === STATE_DIR_DEFAULT ? CONFIG_FILE_DEFAULT : `${stateDir}/meshd.yaml`;
}

function whereStateIs(given: unknown): string {
  return typeof given === "string" ? given : STATE_DIR_DEFAULT;
}

/** Paths of who types them begin in his folder; a file's must be the same for everybody. */
function fromHere(
  given: Partial<Record<SettingName, unknown>>,
): Partial<Record<SettingName, unknown>> {
  const entries = Object.entries(given).map(([name, value]) => [
    name,
    isPathSetting(name as SettingName, value) ? resolve(value) : value,
  ]);
  return Object.fromEntries(entries);
}

function readVariables(
  environment: Readonly<Record<string, string | undefined>>,
): Partial<Record<SettingName, string>> {
  const known = new Map(settingNames.map((name) => [variableOf(name), name]));
  const found: Partial<Record<SettingName, string>> = {};
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith("MESHD_") || value === undefined) continue;
    const name = known.get(variable);
    if (name !== undefined) found[name] = value;
    else if (!isOtherVariable(variable)) {
      throw unknownKey(variable, [...known.keys(), ...OTHER_VARIABLES]);
    }
  }
  return found;
}

function isOtherVariable(variable: string): boolean {
  return (
    OTHER_VARIABLES.includes(variable) ||
    OTHER_BEGINNINGS.some((beginning) => variable.startsWith(beginning))
  );
}

/**
 * Reads one YAML file of settings: a flat map of names to values. An empty file is an empty map.
 * @throws ConfigError MESHD_CONFIG_FILE, MESHD_CONFIG_UNKNOWN_KEY
 */
async function readSettingsFile(path: string): Promise<Partial<Record<SettingName, unknown>>> {
  const content = readText(path);
  // The parser takes 20 ms to load, so only who has a file pays for it.
  const { parseDocument } = await import("yaml");
  const document = parseDocument(content, { uniqueKeys: true });
  const problem = document.errors[0];
  if (problem) throw notYaml(path, problem);
  let contents: unknown;
  try {
    // Settings need no aliases; following them would let a small file grow without bound.
    contents = document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw notYaml(path, cause);
  }
  return settingsOf(path, contents);
}

function notYaml(path: string, cause: unknown): ConfigError {
  const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
  const what = `${path}: is no valid YAML: ${reason?.slice(0, REASON_LENGTH_MAX)}`;
  return new ConfigError("MESHD_CONFIG_FILE", what, { cause });
}

function settingsOf(path: string, given: unknown): Partial<Record<SettingName, unknown>> {
  if (given === null || given === undefined) return {};
  if (typeof given !== "object" || Array.isArray(given)) {
    throw new ConfigError(
      "MESHD_CONFIG_FILE",
      `${path}: holds ${show(given)}, allowed: one "name: value" per line`,
    );
  }
  const found: Partial<Record<SettingName, unknown>> = {};
  for (const [key, value] of Object.entries(given)) {
    if (!isSettingName(key)) {
      const error = unknownKey(key, settingNames);
      throw new ConfigError(error.code, `${path}: ${error.message}`);
    }
    found[key] = value;
  }
  return found;
}

function readText(path: string): string {
  try {
    if (statSync(path).size > CONFIG_FILE_BYTES_MAX) throw new Error("the file is too large");
    return readFileSync(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError("MESHD_CONFIG_FILE", `${path}: cannot be read: ${reason}`, { cause });
  }
}

function existing(path: string): string | undefined {
  return statSync(path, { throwIfNoEntry: false }) === undefined ? undefined : path;
}
