// Printing: tables and field lists for people, JSON for programs, progress on a terminal only.
import type { Context, Invocation } from "./command.js";

export type Cell = string | number | boolean | null | undefined;

/** Prints `value` as JSON when asked to, else what `text` makes of it. */
export function print<T>(
  invocation: Pick<Invocation, "json">,
  context: Pick<Context, "out">,
  value: T,
  text: (value: T) => string,
): void {
  context.out(invocation.json ? `${JSON.stringify(value, null, 2)}\n` : plainText(text(value)));
}

/** Text from the mesh may hold anything; control bytes must not reach the terminal. */
export function plainText(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, "?");
}

/** A cell as text; nothing shows as a hyphen so that columns stay columns. */
function cellText(cell: Cell): string {
  if (cell === null || cell === undefined || cell === "") return "-";
  // A line feed within a cell would break the table.
  return String(cell).replace(/\p{Cc}/gu, "?");
}

/** Column heads and rows as aligned text. Columns of numbers are aligned to the right. */
export function table(heads: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = [heads, ...rows].map((row) => heads.map((_, column) => cellText(row[column])));
  const widths = heads.map((_, column) =>
    Math.max(...texts.map((row) => (row[column] ?? "").length)),
  );
  const right = heads.map(
    (_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === "number"),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        right[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return `${texts.map(line).join("\n")}\n`;
}

/** A table, or a sentence when there is no row. */
export function tableOr(
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
  none: string,
): string {
  return rows.length === 0 ? `${none}\n` : table(heads, rows);
}

/** "name  value" lines; a row whose value is undefined is left out. */
export function fields(rows: readonly (readonly [string, Cell])[]): string {
  const shown = rows.filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${cellText(value)}\n`).join("");
}

/** What an operator should know, a line each. */
export function warningLines(warnings: readonly string[]): string {
  return warnings.map((warning) => `warning     ${warning}\n`).join("");
}

/** "1 pod", "2 pods". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** Bytes with a binary unit. */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`;
}

/** Milliseconds for people: "0.4 ms", "12 s", "3 h 20 min", "5 d 2 h". */
export function durationText(milliseconds: number): string {
  if (milliseconds < 1000) return `${Number(milliseconds.toFixed(milliseconds < 10 ? 2 : 0))} ms`;
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const MOMENT_MS = 1000;

/** How long ago a time was, "-" when it never was. */
export function agoText(time: string | null, now: number = Date.now()): string {
  const at = time === null ? Number.NaN : Date.parse(time);
  if (Number.isNaN(at)) return "-";
  // What was given 30 days a moment ago ends in 30 days.
  return at > now ? `in ${durationText(at - now + MOMENT_MS)}` : `${durationText(now - at)} ago`;
}

/** One line on a terminal that says what is being done; silent in a pipe. */
export class Progress {
  constructor(private readonly context: Pick<Context, "err" | "terminal">) {}

  step(text: string): void {
    if (this.context.terminal) this.context.err(`\r\u001b[K${text} ...`);
  }

  done(): void {
    if (this.context.terminal) this.context.err("\r\u001b[K");
  }
}
