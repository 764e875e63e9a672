// The bench's own builds of the hot path: the same sources and flags, and module/loops.ts on top,
// which calls kernels many times per call from JavaScript; or module/decaps.ts and what it needs
// alone. The release module has none of it.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { instantiateModule } from "../../src/datapath/module.js";
import type { TestModule } from "../../test/support/module.js";

const FOLDER = "dist/bench/module";
const ENTRIES = {
  loops: "bench/kernels/module/loops.ts",
  decaps: "bench/kernels/module/decaps.ts",
} as const;
const CONFIG = "asconfig.json";
const COMPILER = "node_modules/assemblyscript/bin/asc.js";

type Decaps = (
  peer: number,
  at: number,
  length: number,
  stride: number,
  count: number,
  to: number,
  rounds: number,
) => void;

/** Exports of module/loops.ts. Addresses are bytes from the memory's begin. */
export interface Loops {
  checksums(at: number, length: number, count: number): number;
  lookups(from: number, to: number, count: number): void;
  rc4s(key: number, from: number, at: number, length: number, count: number): void;
  mppes(key: number, state: number, from: number, at: number, length: number, count: number): void;
  encaps(peers: number, innerAt: number, stride: number, count: number, rounds: number): void;
}

/** Exports of module/decaps.ts. */
export interface DecapLoops {
  decapsVxlan: Decaps;
  decapsGeneve: Decaps;
}

function sources(): string[] {
  const all = readdirSync("assembly", { recursive: true }).map((path) =>
    join("assembly", `${path}`),
  );
  const own = all.filter((path) => path.endsWith(".ts")).sort();
  return [...own, ...Object.values(ENTRIES), CONFIG];
}

/** The project's settings of the compiler; the hot path is no entry of a build without it. */
function configFor(build: keyof typeof ENTRIES): string {
  if (build === "loops") return CONFIG;
  const path = join(FOLDER, `asconfig-${process.pid}.json`);
  const config = JSON.parse(readFileSync(CONFIG, "utf8")) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...config, entries: [] }));
  return path;
}

/** Path of a module, compiled once per state of its sources. @throws with asc's own words */
function modulePath(build: keyof typeof ENTRIES): string {
  const hash = createHash("sha256");
  for (const path of sources()) hash.update(path).update(readFileSync(path));
  const path = `${FOLDER}/${build}-${hash.digest("hex").slice(0, 12)}.wasm`;
  if (existsSync(path)) return path;
  mkdirSync(FOLDER, { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  const config = configFor(build);
  const files = ["--outFile", unfinished, "--textFile", `${unfinished}.wat`];
  const argv = [COMPILER, ENTRIES[build], "--config", config, "--target", "release", ...files];
  execFileSync(process.execPath, argv, { stdio: ["ignore", "ignore", "pipe"] });
  if (config !== CONFIG) rmSync(config);
  renameSync(`${unfinished}.wat`, path.replace(".wasm", ".wat"));
  renameSync(unfinished, path);
  return path;
}

/** Loops over the kernels on the memory, tables and worker of a test module. */
export async function openLoops(module: TestModule): Promise<Loops> {
  const compiled = await WebAssembly.compile(readFileSync(modulePath("loops")));
  const instance = instantiateModule(compiled, module.views.memory);
  instance.init(module.base);
  // Finds the tables that are published.
  instance.run(module.now_us);
  instance.settle();
  return instance as unknown as Loops;
}

/** As `openLoops`, where the worker has found its tables. */
export async function openDecapLoops(module: TestModule): Promise<DecapLoops> {
  const compiled = await WebAssembly.compile(readFileSync(modulePath("decaps")));
  const instance = instantiateModule(compiled, module.views.memory);
  instance.init(module.base);
  return instance as unknown as DecapLoops;
}
