// Help texts: of the program, of a group, of one command.
import { flagOf, kinds, SETTINGS, type SettingName } from "../config/index.js";
import type { Command, CommandGroup, OptionSpec } from "./command.js";
import { COMMON_OPTIONS, COMMON_SETTINGS } from "./parse.js";
import { COMMANDS } from "./table.js";

const WIDTH = 92;

/** `meshd --help`. */
export function programHelp(): string {
  const rows = Object.entries(COMMANDS).map(([name, entry]) => [name, entry.summary] as const);
  return [
    "meshd joins Linux hosts into one flat pod network, in user space: no kernel module but tun.\n",
    "Usage: meshd COMMAND [OPTIONS]\n",
    ...columns(rows),
    "\nExample: three commands make a mesh",
    "  meshd up                          on the first host",
    "  meshd join $(meshd token create)  on the same host; or the printed token on another",
    "  meshd pod add web                 a pod on this host\n",
    "Every command takes --help and --json. Exit code: 0 done, 1 failed, 2 wrong usage.\n",
  ].join("\n");
}

/** `meshd node --help`. */
export function groupHelp(name: string, group: CommandGroup): string {
  const rows = Object.entries(group.commands).map(
    ([word, command]) => [`${word} ${command.usage}`.trim(), firstSentence(command.about)] as const,
  );
  const example = Object.values(group.commands)[0]?.example ?? "";
  return [
    ...wrap(group.about),
    `\nUsage: meshd ${name} COMMAND [OPTIONS]\n`,
    ...columns(rows),
    `\nExample:\n  ${example}\n`,
  ].join("\n");
}

/** `meshd node list --help`; `name` is "node list". */
export function commandHelp(name: string, command: Command): string {
  const own = Object.entries(command.options ?? {}).map(optionRow);
  const settings = (command.settings ?? []).filter((one) => !isOwnOption(command, one));
  const common = COMMON_SETTINGS.filter((one) => !settings.includes(one));
  return [
    ...wrap(command.about),
    `\nUsage: meshd ${[name, command.usage, "[OPTIONS]"].filter(Boolean).join(" ")}`,
    `\nExample:\n${command.example.replace(/^/gm, "  ")}`,
    own.length + settings.length > 0 ? "\nOptions:" : "",
    ...columns([...own, ...settings.map(settingRow)]),
    "\nOptions of every command:",
    ...columns([...common.map(settingRow), ...Object.entries(COMMON_OPTIONS).map(optionRow)]),
    "",
  ].join("\n");
}

function isOwnOption(command: Command, name: SettingName): boolean {
  return Object.hasOwn(command.options ?? {}, flagOf(name));
}

function optionRow([name, spec]: [string, OptionSpec]): readonly [string, string] {
  return [`--${name}${spec.value === undefined ? "" : ` ${spec.value}`}`, spec.about];
}

function settingRow(name: SettingName): readonly [string, string] {
  const { kind, initial, about } = SETTINGS[name];
  const given = initial === undefined || initial === null ? "" : ` (default ${initial})`;
  const value = kind === kinds.boolean ? "[VALUE]" : "VALUE";
  return [`--${flagOf(name)} ${value}`, `${about}; ${kind.allowed}${given}`];
}

function firstSentence(text: string): string {
  return text.split(/\.(\s|$)/, 1)[0] ?? text;
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const left = Math.min(30, Math.max(0, ...rows.map(([name]) => name.length)));
  return rows.flatMap(([name, about]) => {
    const lines = wrap(about, WIDTH - left - 4);
    const pad = " ".repeat(left + 4);
    const head = name.length > left ? [`  ${name}`, `${pad}${lines[0]}`] : undefined;
    const first = head ?? [`  ${name.padEnd(left)}  ${lines[0] ?? ""}`];
    return [...first, ...lines.slice(1).map((line) => `${pad}${line}`)];
  });
}

/** Breaks text at spaces. */
function wrap(text: string, width: number = WIDTH): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}
