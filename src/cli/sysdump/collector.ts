// What goes into a sysdump: texts under names in a folder of its own, cleaned of secrets and cut to
// size, a list of what is missing and why, and the archive made of them by tar.
import { execFile, spawn } from "node:child_process";
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { CommandError } from "../command.js";
import type { Redactor } from "./redact.js";

/** Longest text of one program or question; of a log, its end. */
export const TEXT_BYTES_MAX = 4_194_304;
export const LOG_BYTES_MAX = 2_097_152;
const PROGRAM_MAX_MS = 10_000;

export interface Missing {
  what: string;
  why: string;
}

export class Collector {
  readonly missing: Missing[] = [];
  readonly #folder: string;
  readonly #redactor: Redactor;
  #count = 0;

  constructor(
    /** Name of the folder inside of the archive. */
    readonly name: string,
    redactor: Redactor,
  ) {
    this.#redactor = redactor;
    this.#folder = mkdtempSync(join(tmpdir(), "meshd-sysdump-"));
  }

  get count(): number {
    return this.#count;
  }

  /** Puts a text in; secrets are taken out of it here, whoever brings it. */
  add(name: string, text: string): void {
    const path = join(this.#folder, this.name, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Cleaned first: half of a secret, at the cut, would look like none.
    const whole = this.#redactor.clean(text);
    const isLong = whole.length > TEXT_BYTES_MAX;
    const cut = isLong ? `${whole.slice(0, TEXT_BYTES_MAX)}\n[cut]\n` : whole;
    writeFileSync(path, cut, { mode: 0o600 });
    this.#count++;
  }

  addJson(name: string, value: unknown): void {
    this.add(name, `${JSON.stringify(value, null, 1)}\n`);
  }

  miss(what: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.missing.push({ what, why: this.#redactor.clean(why.replace(/\s+/g, " ").trim()) });
  }

  /** What a program prints; a failure is noted beside what it printed. */
  async program(name: string, argv: readonly string[]): Promise<void> {
    const { text, problem } = await output(argv);
    if (text !== "") this.add(name, text);
    if (problem !== null) this.miss(`${name} (${argv.join(" ")})`, problem);
  }

  /** A file as it is, or its end when it is long; one that is not there is no fault. */
  async file(name: string, path: string, most = TEXT_BYTES_MAX): Promise<void> {
    try {
      const text = await endOf(path, most);
      if (text !== "") this.add(name, text);
    } catch (error) {
      if (!isAbsent(error)) this.miss(path, error);
    }
  }

  /** A file's JSON as `shape` makes it. */
  async json(name: string, path: string, shape: (value: unknown) => unknown): Promise<void> {
    let text: string;
    try {
      text = await endOf(path, 8 * TEXT_BYTES_MAX);
    } catch (error) {
      if (!isAbsent(error)) this.miss(path, error);
      return;
    }
    try {
      this.addJson(name, shape(JSON.parse(text)));
    } catch {
      this.miss(path, "it is damaged: no JSON");
    }
  }

  /** Writes everything to a gzipped tar archive, 0600, which must not be there yet. */
  async archive(path: string): Promise<void> {
    const argv = ["-C", this.#folder, "--owner=0", "--group=0", "-cf", "-", this.name];
    // A stream opens later than it is made: what refuses the file is to be said first.
    const file = await open(path, "wx", 0o600);
    const tar = spawn("tar", argv, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    tar.stderr.on("data", (piece) => {
      said += piece;
    });
    const ended = new Promise<number>((resolve, reject) => {
      tar.once("error", reject);
      tar.once("close", (code) => resolve(code ?? 1));
    });
    const sink = createWriteStream("", { fd: file.fd, autoClose: false });
    try {
      const [code] = await Promise.all([ended, pipeline(tar.stdout, createGzip(), sink)]);
      if (code !== 0) throw new Error(said.trim());
    } catch (cause) {
      rmSync(path, { force: true });
      const why = cause instanceof Error ? cause.message : String(cause);
      const what = `tar made no archive (${why}): install it (apt-get install tar), or free space`;
      throw new CommandError("MESHD_SYSDUMP_FAILED", what, { cause });
    } finally {
      await file.close();
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

async function endOf(path: string, most: number): Promise<string> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    // Files of /proc say that they are empty.
    if (size === 0) return (await file.readFile("utf8")).slice(0, most);
    const start = Math.max(size - most, 0);
    const buffer = Buffer.alloc(Math.min(size, most));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
    const text = buffer.toString("utf8", 0, bytesRead);
    // A line that is cut may begin in the middle of a secret.
    return start === 0 ? text : `[the first ${start} bytes are left out]\n${wholeLines(text)}`;
  } finally {
    await file.close();
  }
}

const wholeLines = (text: string) => text.slice(text.indexOf("\n") + 1);

function output(argv: readonly string[]): Promise<{ text: string; problem: string | null }> {
  const [file = "", ...rest] = argv;
  const path = `${process.env.PATH ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`;
  const options = { timeout: PROGRAM_MAX_MS, maxBuffer: TEXT_BYTES_MAX };
  const env = { ...process.env, PATH: path, LC_ALL: "C" };
  return new Promise((resolve) => {
    execFile(file, rest, { ...options, env }, (error, stdout, stderr) => {
      const problem = error === null ? null : stderr.trim() || error.message;
      resolve({ text: stdout, problem });
    });
  });
}
