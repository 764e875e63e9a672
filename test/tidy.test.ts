// House rules that no compiler checks: who may import whom, line and file length, banned words,
// files nobody uses. The table is the architecture; a new arrow is added here first, with a reason.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";

const COLUMNS_MAX = 100;
const LINES_MAX = 400;

/** Room -> rooms it may import (beside its own files, node: modules and npm packages below). */
const MAY_IMPORT: Record<string, string[]> = {
  "assembly/shared": [],
  "assembly/wire": ["assembly/shared"],
  assembly: ["assembly/shared", "assembly/wire"],
  "node-tun": [],
  control: [],
  "src/config": [],
  "src/telemetry": ["assembly/shared", "src/config"],
  "src/host": ["src/config"],
  "src/natsd": ["src/config", "control"],
  "src/pods": ["src/host", "src/config", "src/telemetry"],
  "src/datapath": ["assembly/shared", "node-tun"],
  "src/bench": ["node-tun"],
  "src/ppp": [],
  "src/pptp": [],
  "src/nas": ["src/ppp", "src/pptp", "node-tun"],
  "src/calls": ["src/ppp", "src/pptp"],
  "src/agent": [
    ...["src/datapath", "src/host", "src/pods", "src/config", "src/telemetry", "control"],
    ...["assembly/shared", "src/bench", "src/calls", "node-tun"],
  ],
  "src/lab": ["src/config", "src/host", "node-tun"],
  "src/cli": [
    ...["src/config", "src/telemetry", "src/host", "src/lab", "src/natsd", "control"],
    ...["src/bench", "src/pptp", "src/ppp", "src/nas"],
  ],
  "src/main": ["src/cli", "src/agent", "src/config"],
};

/** Room -> rooms whose door it may import types from, which load nothing at run time. */
const MAY_IMPORT_TYPES: Record<string, string[]> = {
  // The agent's socket answers in the agent's own shapes.
  "src/cli": ["src/agent"],
};

/** Folders of one room: which of the others in the room each may import. */
const MAY_IMPORT_WITHIN: Record<string, string[]> = {
  "control/tls": [],
  "control/nats": ["control/tls"],
  "control/founding": ["control/nats", "control/tls"],
  "control/feed": ["control/nats"],
  "control/member": ["control/nats", "control/tls", "control/founding", "control/feed"],
  "control/controller": [
    ...["control/nats", "control/tls", "control/founding", "control/feed", "control/member"],
  ],
  "src/cli/service": [],
  "src/cli/sysdump": ["src/cli/service"],
  "src/cli/up": ["src/cli/service"],
};

/** npm packages -> rooms that may import them. */
const PACKAGES: Record<string, string[]> = {
  nats: ["control"],
  "@nats-io/jwt": ["control"],
  pkijs: ["control"],
  asn1js: ["control"],
  yaml: ["src/config"],
};

/** Entered by a runtime, not by an import. */
const ENTRIES = [
  /^assembly\/index\.ts$/,
  /^src\/main\.ts$/,
  /^src\/datapath\/worker\.ts$/,
  /^src\/bench\/(child|traffic)\.ts$/,
  /^src\/nas\/gre-reader\.ts$/,
  /^src\/lab\/wire\/(program|pump)\.ts$/,
  /^src\/telemetry\/write-[a-z-]+\.ts$/,
  /^assembly\/shared\/portable\.d\.ts$/,
  /^node-tun\/(index|examples\/.*|test\/.*)\.ts$/,
  /^test\/support\/(ppp-line|raw-crew|raw-send)\.ts$/,
];

const BANNED = [
  new RegExp(`\\b(${["TO", "FIX"].map((half, i) => half + ["DO", "ME"][i]).join("|")})\\b`),
  new RegExp(`@ts-${"(ignore|nocheck)"}`),
  new RegExp(`not (yet )?${"implemented"}`, "i"),
];

function tracked(...patterns: string[]): string[] {
  const argv = ["ls-files", "--cached", "--others", "--exclude-standard", "--", ...patterns];
  const listed = execFileSync("git", argv, { encoding: "utf8" });
  return listed.split("\n").filter((path) => path !== "" && existsSync(path));
}

const sources = tracked("*.ts", "*.mjs", "*.c", "*.h");
const product = sources.filter((path) => /^(assembly|control|src|node-tun)\/.*\.ts$/.test(path));
const support = sources.filter((path) => /^test\/support\/.*\.ts$/.test(path));

function roomOf(path: string): string {
  if (path.startsWith("src/main")) return "src/main";
  const parts = dirname(path).split("/");
  for (let depth = parts.length; depth > 0; depth--) {
    const room = parts.slice(0, depth).join("/");
    if (Object.hasOwn(MAY_IMPORT, room)) return room;
  }
  return parts[0] ?? path;
}

interface Import {
  from: string;
  to: string;
  /** `import type` or `export type`: erased by the compiler. */
  typesOnly: boolean;
}

const STATIC = /^(?:import|export)\s+(type\s)?(?:[^;"'`]*?from\s+)?["']([^"']+)["']/gm;
const DYNAMIC = /import\(\s*()["']([^"']+)["']/g;

/** Static, dynamic and type imports of one file, relative ones as repository paths. */
function importsOf(path: string): Import[] {
  const text = readFileSync(path, "utf8");
  return [...text.matchAll(STATIC), ...text.matchAll(DYNAMIC)].map((match) => {
    const target = match[2] ?? "";
    const typesOnly = (match[1] ?? "") !== "";
    if (!target.startsWith(".")) return { from: path, to: target, typesOnly };
    const joined = normalize(join(dirname(path), target)).replace(/\.js$/, "");
    const file = [`${joined}.ts`, `${joined}/index.ts`, joined].find(existsSync) ?? joined;
    return { from: path, to: file, typesOnly };
  });
}

const imports = product.flatMap(importsOf);

function isAllowed({ from, to, typesOnly }: Import): boolean {
  const room = roomOf(from);
  if (to.startsWith("node:")) return !room.startsWith("assembly");
  if (to === "node-tun") return MAY_IMPORT[room]?.includes("node-tun") ?? false;
  if (!to.includes("/") || to.startsWith("@")) {
    const name = Object.keys(PACKAGES).find((p) => to === p || to.startsWith(`${p}/`));
    return name !== undefined && (PACKAGES[name] ?? []).includes(room);
  }
  const target = roomOf(to);
  if (target === room) return true;
  const door = target.startsWith("assembly") || /\/index\.ts$/.test(to);
  const rooms = [...(MAY_IMPORT[room] ?? []), ...(typesOnly ? (MAY_IMPORT_TYPES[room] ?? []) : [])];
  return door && rooms.includes(target);
}

const linesOf = (path: string) => readFileSync(path, "utf8").split("\n");

test("every import follows the table of rooms and goes through a door", () => {
  assert.ok(imports.length > 20, "the scan finds imports");
  const wrong = imports.filter((i) => !isAllowed(i)).map((i) => `${i.from} -> ${i.to}`);
  assert.equal(wrong, []);
});

/** Imports between folders of one room that the table has not, or that go round a door. */
function isAllowedWithin({ from, to }: Import): boolean {
  const [here, there] = [dirname(from), dirname(to)];
  if (here === there || !Object.hasOwn(MAY_IMPORT_WITHIN, there)) return true;
  const door = !existsSync(join(there, "index.ts")) || to.endsWith("/index.ts");
  return door && (MAY_IMPORT_WITHIN[here]?.includes(there) ?? true);
}

test("folders within a room have an order, and those with a door are entered by it", () => {
  const wrong = imports.filter((i) => !isAllowedWithin(i)).map((i) => `${i.from} -> ${i.to}`);
  assert.equal(wrong, []);
});

/** Files that reach themselves again by what is loaded at their start. */
function circles(): string[] {
  const next = new Map<string, string[]>();
  for (const path of product) {
    const texts = [...readFileSync(path, "utf8").matchAll(STATIC)].filter((match) => !match[1]);
    const targets = texts.map((match) => normalize(join(dirname(path), match[2] ?? "")));
    next.set(
      path,
      targets.map((target) => target.replace(/\.js$/, ".ts")),
    );
  }
  return product.filter((path) => {
    const seen = new Set<string>();
    const waiting = [...(next.get(path) ?? [])];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      if (!seen.has(at)) waiting.push(...(next.get(at) ?? []));
      seen.add(at);
    }
    return seen.has(path);
  });
}

test("no file loads itself by way of others: types may go both ways", () => {
  assert.equal(
    circles().filter((path) => !path.startsWith("assembly/")),
    [],
  );
});

test("no file is longer than 400 lines and no line wider than 100 columns", () => {
  const long = sources.filter((path) => linesOf(path).length - 1 > LINES_MAX);
  const wide = sources.flatMap((path) =>
    linesOf(path)
      .map((line, index) => ({ line, at: `${path}:${index + 1}` }))
      .filter(({ line }) => line.length > COLUMNS_MAX && !/https?:\/\//.test(line))
      .map(({ at }) => at),
  );
  assert.equal({ long, wide }, { long: [], wide: [] });
});

test("no unfinished work hides behind a word", () => {
  const found = sources.flatMap((path) =>
    linesOf(path)
      .map((line, index) => ({ line, at: `${path}:${index + 1}` }))
      .filter(({ line }) => BANNED.some((word) => word.test(line)))
      .map(({ at }) => at),
  );
  assert.equal(found, []);
});

test("every source file is used", () => {
  const used = new Set(
    sources
      .filter((p) => p.endsWith(".ts"))
      .flatMap(importsOf)
      .map((i) => i.to),
  );
  const entry = (path: string) => ENTRIES.some((pattern) => pattern.test(path));
  assert.equal(
    [...product, ...support].filter((path) => !used.has(path) && !entry(path)),
    [],
  );
});

test("every source file says at its top what it is", () => {
  const opens = (path: string) => /^(#!.*\n)?\s*(\/\/|\/\*)/.test(readFileSync(path, "utf8"));
  assert.equal(
    sources.filter((path) => !opens(path)),
    [],
  );
});

test.run();
