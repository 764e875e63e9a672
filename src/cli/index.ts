// The door of the command line: words in, exit code out.
import { nearest } from "../config/index.js";
import {
  type Command,
  type CommandGroup,
  type Context,
  isGroup,
  type OptionSpec,
  UsageError,
} from "./command.js";
import { commandHelp, groupHelp, programHelp } from "./help.js";
import { plainText } from "./output.js";
import { COMMON_OPTIONS, cutWords, invocationOf, optionsOf } from "./parse.js";
import { COMMANDS } from "./table.js";

export type { AgentProcessOptions, Context } from "./command.js";

export const EXIT_DONE = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

/** Runs one command line (without node and script) and gives the exit code; never throws. */
export async function runCommandLine(argv: readonly string[], context: Context): Promise<number> {
  try {
    return await dispatch(argv, context);
  } catch (error) {
    return report(error, argv, context);
  }
}

async function dispatch(argv: readonly string[], context: Context): Promise<number> {
  const split = splitCommand(argv);
  if (split === undefined) return withoutCommand(argv, context);
  const [name, rest] = split;
  if (name === "help" && rest.includes("--markdown")) {
    context.out(await (await import("./reference.js")).referencePage());
    return EXIT_DONE;
  }
  if (name === "help") return dispatch([...rest, "--help"], context);
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) throw unknownCommand(name, Object.keys(COMMANDS), "meshd");
  const { command } = await entry.load();
  return isGroup(command)
    ? dispatchGroup(name, command, rest, context)
    : runCommand(name, command, rest, context);
}

function withoutCommand(argv: readonly string[], context: Context): Promise<number> | number {
  if (argv.includes("--version")) return dispatch(["version"], context);
  const { given } = cutWords(argv, optionsOf({}), "see meshd --help");
  if (given.has("help")) {
    context.out(programHelp());
    return EXIT_DONE;
  }
  context.err(programHelp());
  return EXIT_USAGE;
}

function dispatchGroup(
  name: string,
  group: CommandGroup,
  argv: readonly string[],
  context: Context,
): Promise<number> | number {
  const split = splitCommand(argv);
  const hint = `see meshd ${name} --help`;
  if (split === undefined) {
    if (!cutWords(argv, optionsOf({}), hint).given.has("help")) {
      throw new UsageError(
        `${name} needs one of: ${Object.keys(group.commands).join(", ")}; ${hint}`,
      );
    }
    context.out(groupHelp(name, group));
    return EXIT_DONE;
  }
  const [word, rest] = split;
  const command = Object.hasOwn(group.commands, word) ? group.commands[word] : undefined;
  if (command === undefined) {
    throw unknownCommand(word, Object.keys(group.commands), `meshd ${name}`);
  }
  return runCommand(`${name} ${word}`, command, rest, context);
}

async function runCommand(
  name: string,
  command: Command,
  argv: readonly string[],
  context: Context,
): Promise<number> {
  const hint = `see meshd ${name} --help`;
  const raw = cutWords(argv, optionsOf(command), hint);
  if (raw.given.has("help")) {
    context.out(commandHelp(name, command));
    return EXIT_DONE;
  }
  const invocation = await invocationOf(command, raw, context.environment, hint);
  return (await command.run(invocation, context)) ?? EXIT_DONE;
}

/**
 * Finds the command word: the first word that is no option and no option's value. Options before it
 * are those of every command.
 */
function splitCommand(argv: readonly string[]): [string, string[]] | undefined {
  const common: Readonly<Record<string, OptionSpec>> = optionsOf({ options: COMMON_OPTIONS });
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? "";
    if (!word.startsWith("-")) return [word, [...argv.slice(0, at), ...argv.slice(at + 1)]];
    if (word === "--") return undefined;
    if (!word.includes("=") && takesValue(word, common)) at++;
  }
  return undefined;
}

function takesValue(word: string, known: Readonly<Record<string, OptionSpec>>): boolean {
  const name = word.slice(2).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return Object.hasOwn(known, name) && known[name]?.value !== undefined;
}

function unknownCommand(word: string, known: readonly string[], before: string): UsageError {
  const near = nearest(word, known);
  const guess = near === undefined ? `there is ${known.join(", ")}` : `did you mean ${near}?`;
  return new UsageError(`there is no command '${before} ${word}'; ${guess}`);
}

/** One line on standard error, and the same as JSON on standard output where JSON was asked for. */
function report(error: unknown, argv: readonly string[], context: Context): number {
  const { code, message } = describe(error);
  if (argv.includes("--json")) context.out(`${JSON.stringify({ error: { code, message } })}\n`);
  context.err(`meshd: ${plainText(message)}\n`);
  const isUsage = code === "MESHD_USAGE" || code.startsWith("MESHD_CONFIG_");
  return isUsage ? EXIT_USAGE : EXIT_FAILED;
}

/** What is wrong with a file that somebody named, and what to do. */
const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder; check the path",
  EEXIST: "this is there already; move it away, or name another",
  ENOTDIR: "a part of this path is no folder; check it",
  EISDIR: "this is a folder; name a file in it",
  EROFS: "the disk cannot be written to (read-only); choose another place",
};

function describe(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: "MESHD_FAILED", message: String(error) };
  const { code, path } = error as NodeJS.ErrnoException;
  if ((code === "EACCES" || code === "EPERM") && path !== undefined) {
    const message = `${path} is not open to this user; try again as root`;
    return { code: "MESHD_PERMISSION", message };
  }
  const plain = path === undefined ? undefined : FILE_ERRORS[code ?? ""];
  if (plain !== undefined) return { code: "MESHD_FILE", message: `${path}: ${plain}` };
  const message = error.message.replace(/\s*\n\s*/g, " ");
  // A code of the system's or of a library's is no promise of ours; it stands in the message.
  return { code: code?.startsWith("MESHD_") ? code : "MESHD_FAILED", message };
}
