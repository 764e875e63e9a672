// A password from a file, from standard input, or from the terminal without an echo: never an
// argument, which every user of the host could see.
import { readFileSync } from "node:fs";
import { CommandError, type Context, type Invocation } from "./command.js";

/** Longer ones are refused: MS-CHAP takes 256 characters (RFC 2759 section 4). */
const CHARACTERS_MAX = 256;
const BYTES_MAX = 4096;

const CONTROL_C = "\u0003";
const CONTROL_D = "\u0004";
const BACKSPACES = ["\u007f", "\b"];

/**
 * `--password-file FILE` ("-": standard input), a prompt on a terminal (asked again with `twice`),
 * else the first line of standard input.
 * @throws CommandError MESHD_PASSWORD
 */
export async function readPassword(
  invocation: Invocation,
  context: Context,
  { twice = false }: { twice?: boolean } = {},
): Promise<string> {
  const file = invocation.text("password-file");
  if (file !== undefined && file !== "-") return check(lineOf(fileText(file)));
  const isAsked = file === undefined && process.stdin.isTTY === true && context.terminal;
  if (!isAsked) return check(lineOf(await context.readInput(BYTES_MAX)));
  const password = check(await prompt(context, "password: "));
  if (twice && (await prompt(context, "again: ")) !== password) {
    throw bad("the two passwords differ; try again");
  }
  return password;
}

function bad(message: string, cause?: unknown): CommandError {
  return new CommandError("MESHD_PASSWORD", message, ...(cause === undefined ? [] : [{ cause }]));
}

function fileText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw bad(`--password-file cannot be read: ${reason}`, cause);
  }
}

/** The first line, without its end. */
function lineOf(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? "";
}

function check(password: string): string {
  if (password === "") throw bad("the password is empty; give one of 1 to 256 characters");
  if (password.length <= CHARACTERS_MAX) return password;
  throw bad(`the password has more than ${CHARACTERS_MAX} characters`);
}

/** Reads a line of the terminal in raw mode, so that nothing of it is shown. */
function prompt(context: Context, question: string): Promise<string> {
  const { stdin } = process;
  return new Promise((resolve, reject) => {
    let typed = "";
    const end = (finish: () => void) => {
      stdin.off("data", onData);
      stdin.setRawMode(false);
      stdin.pause();
      context.err("\n");
      finish();
    };
    const onData = (data: Buffer) => {
      for (const key of data.toString("utf8")) {
        if (key === "\r" || key === "\n") return end(() => resolve(typed));
        if (key === CONTROL_C || key === CONTROL_D) return end(() => reject(bad("no password")));
        typed = BACKSPACES.includes(key) ? typed.slice(0, -1) : typed + key;
      }
    };
    stdin.setRawMode(true);
    stdin.resume();
    stdin.on("data", onData);
    // Not before: what a fast hand or a program answers would be shown.
    context.err(question);
  });
}
