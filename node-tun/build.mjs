// Builds node-tun: C by cc to build/node-tun.node, TypeScript by tsc to dist/. Does nothing when
// both are newer than their sources. --install: only the addon, only when none loads here.
// --prebuild: also copies the addon to prebuilds/linux-<arch>/ for a package.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const addon = join(here, "build", "node-tun.node");
const prebuilt = join(here, "prebuilds", `linux-${process.arch}`, "node-tun.node");
const FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"];
const STRICT = ["-Wall", "-Wextra", "-Wshadow", "-Werror"];

/** A failure that the user can mend: printed as one line, exit code 1. */
class BuildError extends Error {}

function list(folder, endings) {
  const names = readdirSync(folder).filter((name) => endings.some((end) => name.endsWith(end)));
  return names.sort().map((name) => join(folder, name));
}

function newest(files) {
  return Math.max(...files.map((file) => statSync(file).mtimeMs));
}

function upToDate(output, sources) {
  return existsSync(output) && statSync(output).mtimeMs >= newest(sources);
}

function headers() {
  try {
    return require("node-api-headers").include_dir;
  } catch (cause) {
    throw new BuildError("the npm package node-api-headers is missing: run `npm install`", {
      cause,
    });
  }
}

function compile(strict) {
  const sources = list(join(here, "src"), [".c"]);
  const compiler = process.env.CC ?? "cc";
  const temporary = `${addon}.${process.pid}`;
  mkdirSync(dirname(addon), { recursive: true });
  const flags = [...FLAGS, ...(strict ? STRICT : []), "-isystem", headers()];
  try {
    execFileSync(compiler, [...flags, ...sources, "-o", temporary], { stdio: "inherit" });
  } catch (cause) {
    if (cause.code !== "ENOENT") {
      throw new BuildError(
        "the compiler refused the addon (see above); on Debian the C headers " +
          "are in the packages libc6-dev and linux-libc-dev",
        { cause },
      );
    }
    throw new BuildError(
      `no C compiler "${compiler}" to build the addon: on Debian run ` +
        "`apt-get install gcc libc6-dev`, or set CC",
      { cause },
    );
  }
  renameSync(temporary, addon); // a process that has the old one loaded keeps its file
}

function buildAddon(strict) {
  const sources = [...list(join(here, "src"), [".c", ".h"]), join(here, "build.mjs")];
  if (!upToDate(addon, sources)) compile(strict);
}

function buildTypeScript() {
  const sources = [...list(here, [".ts"]), join(here, "tsconfig.json")];
  if (upToDate(join(here, "dist", "index.js"), sources)) return;
  const tsc = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
  try {
    execFileSync(process.execPath, [tsc, "-p", here], { stdio: "inherit" });
  } catch (cause) {
    throw new BuildError("tsc refused the TypeScript of node-tun (see above)", { cause });
  }
}

function loads(file) {
  try {
    require(file);
    return true;
  } catch {
    return false; // absent, or made for another C library or processor
  }
}

function main(mode) {
  if (mode === "--install") {
    if (!loads(addon) && !loads(prebuilt)) compile(false);
    return;
  }
  buildAddon(true);
  buildTypeScript();
  if (mode !== "--prebuild") return;
  mkdirSync(dirname(prebuilt), { recursive: true });
  copyFileSync(addon, prebuilt);
}

try {
  main(process.argv[2]);
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`node-tun: ${error.message}`);
  process.exitCode = 1;
}
