// How the package gets its addon: built on install only where none loads, a shipped one is taken,
// and without a compiler one line says which Debian packages are missing.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const folders = [];
process.on("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** The package as it is installed: no build folder, its dependency beside it. */
function install() {
  const folder = mkdtempSync(join(tmpdir(), "node-tun-build-"));
  folders.push(folder);
  for (const part of ["dist", "src", "build.mjs", "package.json"]) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  mkdirSync(join(folder, "node_modules"));
  const headers = dirname(require.resolve("node-api-headers/package.json"));
  symlinkSync(headers, join(folder, "node_modules", "node-api-headers"));
  return folder;
}

function run(folder, argv, env = {}) {
  const options = { cwd: folder, encoding: "utf8", env: { ...process.env, ...env } };
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, options);
  return { status, output: stdout + stderr };
}

const addonOf = (folder) => join(folder, "build", "node-tun.node");
const LOAD = [
  "--input-type=module",
  "-e",
  "console.log((await import('./dist/index.js')).openPoller() > 2)",
];
const NO_COMPILER = { CC: "no-such-compiler" };

test("install builds the addon once, and it loads", () => {
  const folder = install();
  const built = run(folder, ["build.mjs", "--install"]);
  assert.is(built.status, 0, built.output);
  assert.is(run(folder, LOAD).output, "true\n");
  const { mtimeMs } = statSync(addonOf(folder));
  assert.is(run(folder, ["build.mjs", "--install"], NO_COMPILER).status, 0);
  assert.is(statSync(addonOf(folder)).mtimeMs, mtimeMs, "not built again");
});

test("a shipped addon is used without a compiler, one that does not load is not", () => {
  const folder = install();
  const shipped = join(folder, "prebuilds", `linux-${process.arch}`, "node-tun.node");
  cpSync(join(root, "build", "node-tun.node"), shipped);
  assert.is(run(folder, ["build.mjs", "--install"], NO_COMPILER).status, 0);
  assert.not.ok(existsSync(addonOf(folder)));
  assert.is(run(folder, LOAD).output, "true\n");
  cpSync(join(root, "package.json"), shipped);
  assert.is(run(folder, ["build.mjs", "--install"]).status, 0);
  assert.ok(existsSync(addonOf(folder)));
});

test("without a compiler the install says what to install, and the import what to do", () => {
  const folder = install();
  const { status, output } = run(folder, ["build.mjs", "--install"], NO_COMPILER);
  assert.is(status, 1);
  assert.match(output, /^node-tun: no C compiler .*apt-get install gcc libc6-dev/m);
  assert.not.match(output, /\n\s+at /, "no stack trace");
  const loaded = run(folder, LOAD);
  assert.is(loaded.status, 1);
  assert.match(loaded.output, /no addon for linux-\w+ loads; .*npm rebuild/);
});

test.run();
