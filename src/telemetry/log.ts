// Log lines: time, level, event, then flat fields; key=value for people or JSON lines for machines.

import { writeSync } from "node:fs";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFormat = "text" | "json";
export type LogFields = Record<string, unknown>;

/** Writes one line; `event` is a stable dotted name such as "agent.ready". */
export type Log = (event: string, fields?: LogFields) => void;

export interface Logger {
  debug: Log;
  info: Log;
  warn: Log;
  error: Log;
  /** A logger that adds the same fields to every line. */
  with(fields: LogFields): Logger;
}

export interface LogOptions {
  level?: LogLevel;
  format?: LogFormat;
  /** Takes one line with its newline. Default: standard error. */
  write?: (line: string) => void;
  now?: () => Date;
}

const ORDER: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Field names every line has; a field given under such a name gets "field_" in front. */
export const FIXED_FIELDS: readonly string[] = ["time", "level", "event"];

/**
 * Writes lines to a descriptor whatever comes of it. A stream of Node ends its process by the first
 * write that fails: a full disk would end an agent for a line of its log.
 */
export class LastingOutput {
  /** Lines since the last one that was written whole. */
  lost = 0;
  #isTorn = false;

  constructor(
    readonly fd: number,
    private readonly put: (fd: number, bytes: Uint8Array) => number = writeSync,
  ) {}

  write(line: string): void {
    const bytes = Buffer.from(this.#isTorn ? `\n${line}` : line);
    let done = 0;
    try {
      while (done < bytes.length) done += this.put(this.fd, bytes.subarray(done));
      this.lost = 0;
    } catch {
      this.lost += 1;
    }
    if (done > 0) this.#isTorn = done < bytes.length;
  }
}

const standardError = new LastingOutput(2);

/** Makes a logger that drops what is below `level`. */
export function createLogger(options: LogOptions = {}, common: LogFields = {}): Logger {
  const least = ORDER[options.level ?? "info"];
  const { write = (line: string) => standardError.write(line) } = options;
  const now = options.now ?? (() => new Date());
  const at =
    (level: LogLevel): Log =>
    (event, fields) => {
      if (ORDER[level] < least) return;
      const head = { time: now().toISOString(), level, event };
      const { lost } = standardError;
      const missing = lost > 0 && options.write === undefined ? { lost_lines: lost } : {};
      write(formatLine(options.format ?? "text", head, { ...common, ...fields, ...missing }));
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => createLogger(options, { ...common, ...fields }),
  };
}

/**
 * The log of a room that knows events but no levels: an event that ends in ".failed" or ".lost", or
 * brings a field `error`, is a warning; ".debug" is debug; the rest is information.
 */
export function eventLog(logger: Logger): Log {
  return (event, fields) => {
    if (/\.(failed|lost|refused)$/.test(event) || fields?.error !== undefined) {
      logger.warn(event, fields);
    } else if (event.endsWith(".debug")) logger.debug(event, fields);
    else logger.info(event, fields);
  };
}

function formatLine(format: LogFormat, head: Record<string, string>, fields: LogFields): string {
  const entries = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [FIXED_FIELDS.includes(key) ? `field_${key}` : key, plain(value)]);
  if (format === "json") return `${jsonOf({ ...head, ...Object.fromEntries(entries) })}\n`;
  const words = entries.map(([key, value]) => `${key}=${textOf(value)}`);
  return `${[head.time, head.level, head.event, ...words].join(" ")}\n`;
}

/** Values JSON cannot hold, as it can: errors by message and code, bigint as digits. */
function plain(value: unknown): unknown {
  if (value instanceof Error) {
    const code = "code" in value && typeof value.code === "string" ? `${value.code}: ` : "";
    return `${code}${value.message}`;
  }
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "function" || typeof value === "symbol") return String(value);
  return value;
}

/** One word as it is; everything else quoted as JSON, so that a line stays a line. */
function textOf(value: unknown): string {
  if (typeof value === "string" && /^[^\s"=\p{Cc}]+$/u.test(value)) return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return jsonOf(value);
}

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value, (_key, part) => plain(part)) ?? "null";
  } catch {
    return JSON.stringify(String(value));
  }
}
