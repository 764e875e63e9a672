// The hot path as compiled code: found beside dist/src, compiled once by the control thread,
// instantiated by every worker on the one shared memory.
import { readFile } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import { LAYOUT_VERSION } from "../../assembly/shared/layout.js";
import { DatapathError } from "./errors.js";
import type {} from "./webassembly.d.ts";

/** What the hot path offers to the pump. Addresses are bytes from the memory's begin. */
export interface HotPath {
  /** Once per instance: the address of this worker's block. */
  init(workerBase: number): void;
  /** Works on the inputs at hand; gives the next deadline in microseconds, or +Infinity. */
  run(now_us: number): number;
  /** After the outputs were written: counts them and empties them. */
  settle(): void;
  layoutVersion(): number;
}

/** dist/src/datapath/module.js -> dist/meshd.wasm */
export const MODULE_URL = new URL("../../meshd.wasm", import.meta.url);

/**
 * Compiles with the optimizing compiler at once: else the engine waits for each function to be
 * called often enough, and a node with little traffic runs slow code for minutes.
 */
async function compileEagerly(bytes: Uint8Array): Promise<WebAssembly.Module> {
  setFlagsFromString("--no-wasm-dynamic-tiering");
  try {
    return await WebAssembly.compile(bytes);
  } finally {
    setFlagsFromString("--wasm-dynamic-tiering");
  }
}

/**
 * Reads and compiles the hot path.
 * @throws {DatapathError} MESHD_MODULE_MISSING when it was not built or cannot be compiled.
 */
export async function compileModule(): Promise<WebAssembly.Module> {
  try {
    return await compileEagerly(await readFile(MODULE_URL));
  } catch (error) {
    const why = `hot path ${MODULE_URL.pathname} cannot be loaded: run "npm run build"`;
    throw new DatapathError("MESHD_MODULE_MISSING", why, error);
  }
}

/**
 * Makes an instance on the shared memory. The module holds no data and no start function, so an
 * instance changes no byte of the memory until `init` and `run` are called.
 * @throws {DatapathError} MESHD_MODULE_STALE when it was built for another memory layout.
 */
export function instantiateModule(module: WebAssembly.Module, memory: WebAssembly.Memory): HotPath {
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  const hotPath = instance.exports as unknown as HotPath;
  const version = hotPath.layoutVersion();
  if (version !== LAYOUT_VERSION) {
    const why = `hot path has memory layout ${version}, this program ${LAYOUT_VERSION}`;
    throw new DatapathError("MESHD_MODULE_STALE", `${why}: run "npm run build"`);
  }
  return hotPath;
}
