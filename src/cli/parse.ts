// Command line words to an Invocation, with own messages: parseArgs only cuts words into tokens.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  flagOf,
  isSettingName,
  kinds,
  loadSettings,
  meshSettingNames,
  nearest,
  SETTINGS,
  type SettingName,
  settingNames,
} from "../config/index.js";
import { type Command, type Invocation, type OptionSpec, UsageError } from "./command.js";
import { readRemembered } from "./remembered.js";

/** Settings every command takes as flags. */
export const COMMON_SETTINGS: readonly SettingName[] = [
  "stateDir",
  "runDir",
  "nats",
  "natsCa",
  "creds",
  "mesh",
  "logLevel",
  "logFormat",
];

export const COMMON_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  json: { about: "print JSON with stable field names" },
  config: { value: "FILE", about: "YAML file of settings (default /etc/meshd/meshd.yaml)" },
  help: { about: "print this text" },
};

/** "--tunnelPort" is the same flag as "--tunnel-port": settings go by their YAML name, too. */
function canonicalWord(word: string): string {
  const found = /^--([A-Za-z0-9]+)(=.*)?$/s.exec(word);
  const name = found?.[1];
  return name !== undefined && isSettingName(name) ? `--${flagOf(name)}${found?.[2] ?? ""}` : word;
}

/** Flags of settings that are true or false. */
const SWITCHES: ReadonlySet<string> = new Set(
  settingNames.filter((name) => SETTINGS[name].kind === kinds.boolean).map(flagOf),
);

/** A switch may stand alone: "--low-latency" is "--low-latency=true". */
function spellOut(word: string, next: string | undefined, known: KnownOptions): string {
  const name = word.slice(2);
  // A command's own option of that name is no setting, and takes no value.
  const isSetting = Object.hasOwn(known, name) && known[name]?.value !== undefined;
  const isSwitch = word.startsWith("--") && SWITCHES.has(name) && isSetting;
  return isSwitch && next !== "true" && next !== "false" ? `${word}=true` : word;
}

export interface RawWords {
  words: string[];
  given: Map<string, string[]>;
}

type KnownOptions = Readonly<Record<string, OptionSpec>>;

export function optionsOf(command: Pick<Command, "options" | "settings">): KnownOptions {
  const names = [...COMMON_SETTINGS, ...(command.settings ?? [])];
  const flags = names.map((name) => [flagOf(name), { value: "VALUE", about: "" }] as const);
  return { ...Object.fromEntries(flags), ...COMMON_OPTIONS, ...command.options };
}

/**
 * Cuts arguments into words and options.
 * @throws UsageError for an option that is unknown, or with or without a value it should not have.
 */
export function cutWords(argv: readonly string[], known: KnownOptions, hint: string): RawWords {
  const args = argv.map((word, index) =>
    endsBefore(argv, index) ? word : spellOut(canonicalWord(word), argv[index + 1], known),
  );
  const options = Object.fromEntries(
    Object.entries(known).map(([name, spec]) => [
      name,
      { type: spec.value === undefined ? ("boolean" as const) : ("string" as const) },
    ]),
  );
  const { tokens } = parseArgs({
    args: args.map((word) => (word === "-h" ? "--help" : word)),
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const raw: RawWords = { words: [], given: new Map() };
  const numbers = new Set<number>();
  for (const token of tokens) {
    const word = args[token.index] ?? "";
    // parseArgs takes it for short options: a token for each digit.
    if (isNumber(word)) {
      if (!numbers.has(token.index)) raw.words.push(word);
      numbers.add(token.index);
    } else if (token.kind === "positional") raw.words.push(token.value);
    else if (token.kind === "option") addOption(raw, token, known, hint);
  }
  return raw;
}

/** A negative number is a value, which its setting then refuses with what it allows. */
function isNumber(word: string): boolean {
  return /^-\d/.test(word);
}

function endsBefore(argv: readonly string[], index: number): boolean {
  const end = argv.indexOf("--");
  return end !== -1 && end < index;
}

interface OptionToken {
  name: string;
  rawName: string;
  value: string | undefined;
  inlineValue: boolean | undefined;
}

function addOption(raw: RawWords, token: OptionToken, known: KnownOptions, hint: string): void {
  const spec = Object.hasOwn(known, token.name) ? known[token.name] : undefined;
  if (spec === undefined) throw unknownOption(token.rawName, known, hint);
  if (spec.value === undefined && token.value !== undefined) {
    throw new UsageError(`option --${token.name} takes no value; ${hint}`);
  }
  if (spec.value !== undefined && isMissing(token)) {
    throw new UsageError(`option --${token.name} needs a value ${spec.value}; ${hint}`);
  }
  const values = raw.given.get(token.name) ?? [];
  if (values.length > 0 && !spec.multiple && spec.value !== undefined) {
    throw new UsageError(`option --${token.name} is given twice; ${hint}`);
  }
  raw.given.set(token.name, [...values, token.value ?? ""]);
}

/** "--name --json": the next option is not the value; "-" alone is (standard input). */
function isMissing(token: OptionToken): boolean {
  if (token.value === undefined) return true;
  return token.inlineValue !== true && /^-\D/.test(token.value);
}

function unknownOption(rawName: string, known: KnownOptions, hint: string): UsageError {
  const ofMesh = meshSettingNames.find((name) => `--${flagOf(name)}` === rawName);
  if (ofMesh !== undefined) {
    const way = `use 'meshd config set ${ofMesh} VALUE' where an administrator is`;
    return new UsageError(`${rawName} is a setting of the whole mesh; ${way}`);
  }
  const names = Object.keys(known).map((name) => `--${name}`);
  const near = nearest(rawName, names);
  const guess = near === undefined ? "" : `; did you mean ${near}?`;
  return new UsageError(`there is no option ${rawName} here${guess}; ${hint}`);
}

/**
 * Reads settings and checks the number of words.
 * @throws UsageError, ConfigError
 */
export async function invocationOf(
  command: Command,
  raw: RawWords,
  environment: Readonly<Record<string, string | undefined>>,
  hint: string,
): Promise<Invocation> {
  const [fewest, most] = command.words;
  if (raw.words.length < fewest)
    throw new UsageError(`a word is missing: ${command.usage}; ${hint}`);
  if (raw.words.length > most) {
    throw new UsageError(`one word too many: '${raw.words[most]}'; ${hint}`);
  }
  const flags: Partial<Record<SettingName, unknown>> = {};
  for (const name of settingNames) {
    const value = raw.given.get(flagOf(name))?.[0];
    if (value !== undefined && !Object.hasOwn(command.options ?? {}, flagOf(name))) {
      flags[name] = value;
    }
  }
  const named = raw.given.get("config")?.[0] ?? environment.MESHD_CONFIG;
  const file = named === undefined ? undefined : resolve(named);
  const loaded = await loadSettings({ file, environment, flags, remembered: readRemembered });
  return {
    words: raw.words,
    text: (option) => raw.given.get(option)?.[0],
    list: (option) => raw.given.get(option) ?? [],
    has: (option) => raw.given.has(option),
    json: raw.given.has("json"),
    namedFile: file ?? readRemembered(loaded.settings.stateDir).file,
    settings: loaded.settings,
    origins: loaded.origins,
  };
}
