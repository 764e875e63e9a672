// Every suite of the addon once more, with the addon compiled for the address and undefined
// behaviour sanitizers: an access outside of the memory or an overflow ends it.
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "node-tun-sanitizer-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const compiler = process.env.CC ?? "cc";
const library = (name) =>
  execFileSync(compiler, [`-print-file-name=${name}`], { encoding: "utf8" }).trim();

/** The package once more in a folder of its own, with an instrumented addon. */
function build() {
  for (const part of ["dist", "test", "package.json"]) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  symlinkSync(dirname(dirname(dirname(require.resolve("uvu")))), join(folder, "node_modules"));
  mkdirSync(join(folder, "build"));
  const sources = readdirSync(join(root, "src")).filter((name) => name.endsWith(".c"));
  const flags = ["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-fPIC", "-shared"];
  const sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
  const output = join(folder, "build", "node-tun.node");
  const headers = require("node-api-headers").include_dir;
  const files = sources.map((name) => join(root, "src", name));
  execFileSync(compiler, [...flags, ...sanitize, "-isystem", headers, ...files, "-o", output]);
}

/** Runs one suite of the copy; gives its output and exit code. */
function run(suite) {
  const env = {
    ...process.env,
    LD_PRELOAD: `${library("libasan.so")} ${library("libubsan.so")}`,
    ASAN_OPTIONS: "detect_leaks=0:allow_user_segv_handler=1",
    UBSAN_OPTIONS: "print_stacktrace=1",
    NODE_TUN_FUZZ_ROUNDS: "10000",
  };
  delete env.NODE_TUN_NAMESPACE;
  const argv = [join(folder, "test", suite)];
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, { env, encoding: "utf8" });
  return { output: stdout + stderr, status };
}

const usable = existsSync(library("libasan.so"));
const suite = usable ? test : test.skip;
if (!usable) console.log("  SKIPPED (the compiler has no sanitizers)");

if (usable) build();
/** What builds and packs the addon, and this. */
const NO_SUBJECT = ["build", "example", "sanitizer"];
const names = readdirSync(join(root, "test"))
  .flatMap((file) => (file.endsWith(".test.mjs") ? [file.slice(0, -".test.mjs".length)] : []))
  .filter((name) => !NO_SUBJECT.includes(name));
for (const name of names) {
  suite(`the suite "${name}" ends without a finding of the sanitizers`, () => {
    const { output, status } = run(`${name}.test.mjs`);
    assert.not.match(output, /AddressSanitizer|runtime error/, output);
    assert.is(status, 0, output);
  });
}

test.run();
