// Takes secrets out of texts: those that this host is known to hold, in every encoding they are
// stored in, and whatever looks like one.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export const REMOVED = "[removed]";

/** Shorter ones would take away innocent words. */
const SECRET_LENGTH_MIN = 12;
const SECRET_FILE_MAX = 1_048_576;

/** What is a secret by its looks. */
const PATTERNS: readonly RegExp[] = [
  // Join tokens; JWTs; NKey seeds of operators, accounts, users, servers and clusters.
  /\bmeshd\d*\.[A-Za-z0-9_-]{20,}/g,
  /\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}/g,
  /\bS[OAUNCX][A-Z2-7]{56}\b/g,
  /-----BEGIN [A-Z ]*(?:PRIVATE KEY|SEED|JWT|MESHD MESH)-----[\s\S]*?-----END [A-Z ]*-----/g,
  /-----BEGIN [A-Z ]*(?:PRIVATE KEY|SEED|JWT|MESHD MESH)-----[\s\S]*/g,
];

/** `name: value`, `name=value`, `--name value` and JSON: the name stays. */
const names = "(?:pass(?:word|wd|phrase)?|secret|seed|token|nt_?hash|jwt|creds?|private_?key)s?";
const assigned = "[\"']?\\s*(?:[:=]\\s*|\\s+(?=[\"']))[\"']?";
const NAMED = new RegExp(`(${names}${assigned})([^\\s"',;}\\])]{3,})`, "gi");
/** In quotes, that may themselves stand in a quoted text: all up to the same quote, spaces too. */
const QUOTED = new RegExp(
  `(${names}(?:\\\\*["']?\\s*[:=]\\s*|\\s+))(\\\\*["'])(?:(?!\\2)(?:\\\\.|[^\\n]))+\\2`,
  "gi",
);
/** A line of YAML, also one that is commented out: the rest of it. */
const LINE = new RegExp(`^([ \\t]*(?:#[ \\t]*)?[\\w.-]*${names}:[ \\t]+)\\S.*$`, "gim");
const OPTION = /(--(?:token|password|secret|creds)[= ])(\S+)/gi;
/** user:password@host, whatever the password is of. */
const USERINFO = /(\b[a-z][a-z0-9+]*:\/\/)(?:(?!,[a-z][a-z0-9+]*:\/\/)[^\s"'<>])*@/gi;

/** Fields of JSON that are secrets, or hold some. */
const SECRET_FIELD =
  /^(jwt|.*Jwt|seed|.*Seed|secrets?|sealed|clear|ntHash|password|token|bootstrap|private.*|caKey)$/;

/** JSON with secret fields replaced; numbers and booleans of such names say nothing. */
export function withoutSecretFields(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecretFields);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, one]): [string, unknown] => {
    const isSecret = SECRET_FIELD.test(name) && !["boolean", "number"].includes(typeof one);
    return [name, isSecret && one !== null ? REMOVED : withoutSecretFields(one)];
  });
  return Object.fromEntries(entries);
}

export class Redactor {
  readonly #known: string[];

  constructor(secrets: Iterable<string>) {
    const all = new Set<string>();
    for (const secret of secrets) {
      if (secret.length < SECRET_LENGTH_MIN) continue;
      for (const form of formsOf(secret)) all.add(form);
    }
    // Longest first: one may be part of another.
    this.#known = [...all].sort((a, b) => b.length - a.length);
  }

  /** The text without any of them. */
  clean(text: string): string {
    let cleaned = text;
    for (const secret of this.#known) {
      if (cleaned.includes(secret)) cleaned = cleaned.replaceAll(secret, REMOVED);
    }
    for (const pattern of PATTERNS) cleaned = cleaned.replace(pattern, REMOVED);
    return cleaned
      .replace(QUOTED, `$1$2${REMOVED}$2`)
      .replace(LINE, `$1${REMOVED}`)
      .replace(NAMED, `$1${REMOVED}`)
      .replace(OPTION, `$1${REMOVED}`)
      .replace(USERINFO, `$1${REMOVED}@`);
  }
}

/** How a secret may stand in a text: as it is, hex, base64 at each of its three alignments. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const forms = [secret, bytes.toString("hex"), bytes.toString("hex").toUpperCase()];
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .replace(/=+$/, "");
    // What neighbours share is left out at both ends.
    const first = shift === 0 ? 0 : shift + 1;
    const whole = (bytes.length + shift) % 3 === 0 ? text : text.slice(0, -1);
    const inner = whole.slice(first);
    forms.push(inner, inner.replaceAll("+", "-").replaceAll("/", "_"));
  }
  const escaped = JSON.stringify(secret).slice(1, -1);
  return [...forms, escaped, encodeURIComponent(secret)];
}

/** Texts of the secret files that this user can read below the state directory. */
export function secretsBelow(stateDir: string): Set<string> {
  const found = new Set<string>();
  for (const path of filesBelow(stateDir)) {
    if (isSecretFile(path)) for (const one of secretsIn(path)) found.add(one);
  }
  return found;
}

const isSecretFile = (path: string) =>
  /\.(nk|key|creds|pem|jwt)$|\/pending-token$/.test(path) ||
  /\/(membership|pptp-[a-z]+|dials|mesh|cluster)\.json$/.test(path);

/** Everything in such a file that is long enough to be one. */
function secretsIn(path: string): string[] {
  let text: string;
  try {
    if (statSync(path).size > SECRET_FILE_MAX) return [];
    text = readFileSync(path, "utf8");
  } catch {
    return [];
  }
  if (path.endsWith(".json")) {
    const kept = parse(text);
    const key = (kept as { key?: unknown } | null)?.key;
    // The key that opens accounts is named like keys that are public elsewhere.
    return [...secretFields(kept), ...(typeof key === "string" ? [key] : [])];
  }
  const lines = text.split("\n").map((line) => line.trim());
  return lines.filter((line) => !line.startsWith("---") && !line.includes(" "));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/** Texts in secret fields, and in lists of pairs, as secrets of calls are kept. */
function secretFields(value: unknown, isSecret = false): string[] {
  if (typeof value === "string") return isSecret ? [value] : [];
  if (Array.isArray(value)) return value.flatMap((one) => secretFields(one, isSecret));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, one]) => {
    const isPair = name === "secrets" && Array.isArray(one);
    if (isPair) return one.flatMap((pair) => secretFields(Array.isArray(pair) ? pair[1] : 0, true));
    return secretFields(one, isSecret || SECRET_FIELD.test(name));
  });
}

const FILES_MAX = 20_000;

/** Paths of all files below a folder that can be read, nats-server's stores left out. */
export function filesBelow(folder: string, found: string[] = []): string[] {
  let entries: import("node:fs").Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return found;
  }
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (found.length >= FILES_MAX) break;
    if (entry.isFile()) found.push(path);
    else if (entry.isDirectory() && !["jetstream", "labs"].includes(entry.name)) {
      filesBelow(path, found);
    }
  }
  return found;
}
