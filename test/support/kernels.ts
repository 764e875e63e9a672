// The hot path's kernels one by one, compiled from test/abi/fixtures/kernels.ts with the flags of
// the release module, on a memory of their own. For tests and benches that need no datapath around
// them.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import type {} from "../../src/datapath/webassembly.d.ts";

const ENTRY = "test/abi/fixtures/kernels.ts";
const PAGE_SIZE = 65536;
const FLAGS = [
  ...["--config", "none", "--enable", "simd,threads", "--runtime", "stub", "--importMemory"],
  ...["--sharedMemory", "--initialMemory", "256", "--maximumMemory", "65536"],
  ...["-O3", "--converge", "--noAssert"],
];

/** Sums are folded to 16 bits, in memory byte order (little-endian). */
export interface Kernels {
  partial(at: number, length: number, initial: number): number;
  copyPartial(to: number, from: number, length: number, initial: number): number;
  copy(to: number, from: number, length: number): void;
  fold(sum: bigint): number;
  finish(sum: number): number;
  pseudo4(ipAt: number, protocol: number, length: number): number;
  pseudo6(ipAt: number, nextHeader: number, length: number): number;
  update(field: number, from: number, to: number): number;
  segment(at: number, length: number, kind: number, size: number, out: number, gap: number): number;
  segmentHeaderLength(at: number, length: number, kind: number): number;
  segmentCount(payload: number, size: number): number;
  completeChecksum(at: number, length: number, start: number, offset: number): number;
  clamp(at: number, length: number, mtu: number): void;
  decap(innerTos: number, outerTos: number): number;
  setTos(at: number, value: number): void;
  tos(at: number): number;
  take(at: number, now_us: number, perSecond: number, burst: number): number;
  answer(
    worker: number,
    kind: number,
    innerAt: number,
    length: number,
    mtu: number,
    now_us: number,
  ): number;
  deliver(worker: number, innerAt: number, length: number, direction: number): number;
  flush(worker: number): void;
  forget(worker: number): void;
  bind(base: number): void;
  mppeInstall(state: number, staged: number): void;
  mppeErase(state: number): void;
  mppeEncrypt(state: number, at: number, length: number): void;
  mppeDecrypt(state: number, at: number, length: number): number;
  mppeFlushNext(state: number): void;
  mppeSkipped(state: number, count: number): void;
  rc4Schedule(key: number, length: number): void;
  rc4Crypt(at: number, length: number): void;
}

export interface KernelRoom {
  kernels: Kernels;
  /** The whole memory, filled with 0xa5 so that a byte written or left out by mistake shows. */
  bytes: Uint8Array;
}

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

/** Compiles once per state of the sources; test files run side by side and share the result. */
function compiledPath(): string {
  const hash = createHash("sha256").update(FLAGS.join(" "));
  for (const path of [...sources("assembly"), ENTRY].sort()) hash.update(readFileSync(path));
  const path = `dist/kernels/${hash.digest("hex").slice(0, 16)}.wasm`;
  if (existsSync(path)) return path;
  mkdirSync("dist/kernels", { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  const asc = "node_modules/assemblyscript/bin/asc.js";
  const argv = [asc, ENTRY, ...FLAGS, "-o", unfinished];
  execFileSync(process.execPath, argv, { stdio: "pipe", encoding: "utf8" });
  renameSync(unfinished, path);
  return path;
}

/** An instance of the kernels on fresh memory of at least `size` bytes. */
export function openKernels(size = 256 * PAGE_SIZE): KernelRoom {
  const pages = Math.max(256, Math.ceil(size / PAGE_SIZE));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
  const module = new WebAssembly.Module(readFileSync(compiledPath()));
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  const bytes = new Uint8Array(memory.buffer).fill(0xa5);
  return { kernels: instance.exports as unknown as Kernels, bytes };
}
