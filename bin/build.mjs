// Builds what is stale: the native addon, the hot path (wasm), the TypeScript.
// A part is stale when the names, sizes or times of its sources differ from its stamp's.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fail, run, step } from "./steps.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BIN = join(ROOT, "node_modules", ".bin");

const PARTS = [
  {
    name: "node-tun",
    what: "native addon (node-tun)",
    sources: ["node-tun", "package-lock.json"],
    results: ["node-tun/build/node-tun.node", "node-tun/dist/index.js"],
    build: () => run(process.execPath, ["build.mjs"], { cwd: join(ROOT, "node-tun") }),
  },
  {
    name: "wasm",
    what: "hot path (WebAssembly)",
    sources: ["assembly", "asconfig.json", "package-lock.json"],
    results: ["dist/meshd.wasm"],
    build: () =>
      run(join(BIN, "asc"), ["--config", "asconfig.json", "--target", "release"], { cwd: ROOT }),
  },
  {
    name: "typescript",
    what: "TypeScript",
    sources: [
      "src",
      "control",
      "test",
      "bench",
      "assembly/shared",
      "node-tun/index.ts",
      "tsconfig.json",
      "package-lock.json",
    ],
    results: ["dist/src/main.js"],
    after: ["node-tun"],
    build: () => run(join(BIN, "tsc"), ["-p", "tsconfig.json"], { cwd: ROOT }),
  },
];
const GENERATED = new Set(["node_modules", "dist", "build", "prebuilds"]);

function* files(path) {
  if (!existsSync(path)) return;
  const stat = statSync(path);
  if (stat.isFile()) yield { path, stat };
  if (!stat.isDirectory()) return;
  for (const name of readdirSync(path).sort()) {
    if (!GENERATED.has(name)) yield* files(join(path, name));
  }
}

function fingerprint(part) {
  const hash = createHash("sha256").update(process.version);
  for (const source of part.sources) {
    for (const { path, stat } of files(join(ROOT, source))) {
      hash.update(`${path} ${stat.size} ${stat.mtimeMs}\n`);
    }
  }
  return hash.digest("hex");
}

const stampOf = (part) => join(ROOT, "dist", ".stamps", part.name);

function isFresh(part) {
  const stamp = stampOf(part);
  const there = part.results.every((result) => existsSync(join(ROOT, result)));
  return there && existsSync(stamp) && readFileSync(stamp, "utf8") === fingerprint(part);
}

async function buildPart(part) {
  if (isFresh(part)) return;
  rmSync(stampOf(part), { force: true });
  const before = fingerprint(part);
  await step(part.what, part.build);
  mkdirSync(dirname(stampOf(part)), { recursive: true });
  writeFileSync(stampOf(part), before);
}

/** Builds every stale part; parts that need another's output wait for it. */
export async function build() {
  const missing = ["asc", "tsc"].filter((tool) => !existsSync(join(BIN, tool)));
  if (missing.length > 0) {
    fail(`npm modules are missing (${missing.join(", ")}): run 'npm run setup' first`);
  }
  const running = new Map();
  for (const part of PARTS) {
    const waits = (part.after ?? []).map((name) => running.get(name));
    running.set(
      part.name,
      Promise.all(waits).then(() => buildPart(part)),
    );
  }
  await Promise.all(running.values());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build();
