// Compiles the C programs of the benches, once per state of their source, into dist/bench.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";

const HEADERS = ["bench/native/kernels.h", "bench/native/program.h"];
const FOLDER = "dist/bench/native";
/** The machine's own instructions, as a C programmer who wants speed would compile. */
const FLAGS = ["-O3", "-march=native", "-std=gnu11", "-Wall", "-Wextra", "-Werror"];

/** What the programs are compiled with, for the report. */
export const compileFlags = FLAGS.slice(0, 2).join(" ");

/** Path of the program made of bench/native/NAME.c. @throws with the compiler's own words */
export function nativeProgram(name: string): string {
  const source = `bench/native/${name}.c`;
  const hash = createHash("sha256").update(FLAGS.join(" ")).update(readFileSync(source));
  for (const header of HEADERS) hash.update(readFileSync(header));
  const path = `${FOLDER}/${name}-${hash.digest("hex").slice(0, 12)}`;
  if (existsSync(path)) return path;
  mkdirSync(FOLDER, { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  execFileSync("cc", [...FLAGS, source, "-o", unfinished], { stdio: ["ignore", "pipe", "pipe"] });
  renameSync(unfinished, path);
  return path;
}
