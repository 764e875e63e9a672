// Spoils inputs for parsers: JSON by its structure, text by its characters. All from a seed.
import type { Random } from "./random.js";

const DEEP = 400;
const NESTED = JSON.parse(`${"[".repeat(DEEP)}${"]".repeat(DEEP)}`) as unknown;

/** What parsers stumble over: limits, other types, names of the language, odd spellings. */
const HOSTILE: readonly unknown[] = [
  ...[null, true, false, 0, -0, -1, 1, 0.5, 1e308, -1e308, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2],
  ...[
    "",
    " ",
    "0",
    "-1",
    "1e3",
    "NaN",
    "null",
    "true",
    "\u0000",
    "\ud800",
    "\u202e",
    "１２７.0.0.1",
  ],
  ...["__proto__", "constructor", "toString", "hasOwnProperty", "length", "../../etc/passwd", "/"],
  ...["*", ">", ".", "a.b", "a b", "-x", "--", "$(id)", "`id`", "%s%n", "\r\n+OK\r\n", "'", '"'],
  ...[
    "0.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1%lo",
    "::ffff:1.2.3.4",
    "1.2.3",
    "01.2.3.4",
  ],
  ...["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.1/8", "::/0", "0.0.0.0/0", "fd00::/129", "224.0.0.1"],
  ...["9999-12-31T23:59:59Z", "-271821-04-20T00:00:00Z", "2026-02-30T00:00:00Z", "now"],
  ...["a".repeat(64), "a".repeat(257), "9".repeat(400), "x".repeat(70_000), NESTED],
  ...[[], {}, [[]], [null], [1, 1], { a: 1 }, { length: 3 }, Array(300).fill("x")],
];

/** A copy, for edits go on inside of it. */
function hostile(random: Random): unknown {
  return structuredClone(random.pick(HOSTILE));
}

type Holder = Record<string, unknown> | unknown[];

function isHolder(value: unknown): value is Holder {
  return typeof value === "object" && value !== null;
}

/** Every object and list in a value, itself among them; a deep one's inside is left alone. */
function holdersIn(value: unknown, depth = 0): Holder[] {
  if (!isHolder(value) || depth > 20) return [];
  return [value, ...Object.values(value).flatMap((one) => holdersIn(one, depth + 1))];
}

function editObject(random: Random, fields: Record<string, unknown>): void {
  const names = Object.keys(fields);
  const name = names.length === 0 ? "x" : random.pick(names);
  const way = random.between(0, 5);
  if (way === 0) delete fields[name];
  else if (way === 1) put(fields, random.pick(TEXTS).slice(0, 300), fields[name]);
  else if (way === 2) fields[name] = fields[random.pick(names.length === 0 ? ["x"] : names)];
  else fields[name] = hostile(random);
}

/** As JSON.parse does: "__proto__" becomes a field of its own. */
function put(fields: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(fields, name, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

function editList(random: Random, list: unknown[]): void {
  const at = random.between(0, list.length);
  const way = random.between(0, 4);
  if (way === 0) list.splice(at, 1);
  else if (way === 1) list.splice(at, 0, list[random.between(0, list.length)] ?? null);
  else if (way === 2) list.push(...list.slice(0, 500));
  else list.splice(at, 1, hostile(random));
}

/** One to three edits of a copy. */
export function spoilJson(random: Random, value: unknown): unknown {
  const copy: unknown = structuredClone(value);
  if (!isHolder(copy) || random.once(200)) return hostile(random);
  for (let edits = random.between(1, 3); edits > 0; edits--) {
    const holder = random.pick(holdersIn(copy));
    if (Array.isArray(holder)) editList(random, holder);
    else editObject(random, holder);
  }
  return copy;
}

const TEXTS = HOSTILE.filter((one) => typeof one === "string");

const CHARACTERS = [
  "\u0000",
  "\n",
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "\\",
  "0",
  "-",
  "/",
  ".",
  "é",
];

/** One to four edits: characters changed, taken out, doubled, put in; ends cut off. */
export function spoilText(random: Random, given: string): string {
  let text = given;
  for (let edits = random.between(1, 4); edits > 0; edits--) {
    const at = random.between(0, text.length);
    const length = random.between(1, random.once(4) ? 200 : 3);
    const [before, after] = [text.slice(0, at), text.slice(at)];
    const way = random.between(0, 5);
    if (way === 0) text = before + after.slice(length);
    else if (way === 1) text = before + after.slice(0, length) + after;
    else if (way === 2) text = before + random.pick(CHARACTERS) + after;
    else if (way === 3)
      text = before + String.fromCharCode(random.between(1, 255)) + after.slice(1);
    else if (way === 4) text = random.once(4) ? before : text;
    else text = before + random.pick(TEXTS).slice(0, 5000) + after;
  }
  return text;
}
