// What a command is, what it is given, and the two errors it may end with.

import type { Origin, SettingName, Settings } from "../config/index.js";
import type { AgentOptions } from "./agent-answers.js";

/** An option beside the settings. Without `value` it is a switch. */
export interface OptionSpec {
  /** Placeholder of its value in the help text. */
  value?: string;
  multiple?: boolean;
  about: string;
}

export interface Command {
  /** Positional words as in the help text, such as "NAME [VALUE]". */
  usage: string;
  /** One or more sentences. */
  about: string;
  example: string;
  options?: Readonly<Record<string, OptionSpec>>;
  /** Settings that may be given as flags, beside those every command takes. */
  settings?: readonly SettingName[];
  /** Fewest and most positional words. */
  words: readonly [number, number];
  run(invocation: Invocation, context: Context): Promise<undefined | number>;
}

/** A command that only has commands below it, such as `node`. */
export interface CommandGroup {
  about: string;
  commands: Readonly<Record<string, Command>>;
}

export type CommandModule = { command: Command | CommandGroup };

/** The parsed command line of one command. */
export interface Invocation {
  words: readonly string[];
  text(option: string): string | undefined;
  list(option: string): readonly string[];
  has(option: string): boolean;
  json: boolean;
  /** The YAML file somebody named, absolute; undefined for the default one. */
  namedFile: string | undefined;
  settings: Settings;
  origins: Readonly<Record<SettingName, Origin>>;
}

/** What an agent process is started with: the agent's own options, told only that it is ready. */
export type AgentProcessOptions = Omit<AgentOptions, "onReady"> & { onReady?: () => void };

/** The world around the command line; tests give their own. */
export interface Context {
  /** Writes to standard output as it is. */
  out(text: string): void;
  /** Writes to standard error as it is. */
  err(text: string): void;
  /** Standard error is a terminal: progress is shown. */
  terminal: boolean;
  environment: Readonly<Record<string, string | undefined>>;
  /** All of standard input as text, at most `limit` bytes. */
  readInput(limit: number): Promise<string>;
  /** Program and first argument that start meshd again. */
  program: readonly [string, string];
  version: string;
  /** Runs an agent in this process until it ends; gives the exit code. */
  runAgent(options: AgentProcessOptions): Promise<number>;
}

/** Wrong usage: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "MESHD_USAGE";
}

/** The command failed: exit code 1. One line: what, why, what to do. */
export class CommandError extends Error {
  override readonly name = "CommandError";

  constructor(
    readonly code: string,
    message: string,
    options?: { cause: unknown },
  ) {
    super(message, options);
  }
}

export function isGroup(command: Command | CommandGroup): command is CommandGroup {
  return "commands" in command;
}
