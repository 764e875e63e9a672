// Finds a peer's program, and says where it came from: a figure without a version means nothing.
import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Where bin/peers.mjs unpacks what must not be installed. */
export const CACHE = "node_modules/.cache/meshd-bench";
const FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const HINT = "node bin/setup.mjs --for bench-peers brings it";

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Path of a program: an unpacked one goes before an installed one. */
export function findProgram(name: string): string | undefined {
  const path = (process.env.PATH ?? "").split(":").filter((folder) => folder.startsWith("/"));
  const folders = [join(process.cwd(), CACHE, name, "usr/bin"), ...path, ...FOLDERS];
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

/** Path of a program that `isAvailable` found. @throws when it has gone since */
export function programPath(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed: ${HINT}`);
  return path;
}

/** Why one of these programs cannot be used, with the set-up's own words where it tried. */
export function whyMissing(...names: string[]): string | undefined {
  const missing = names.filter((name) => findProgram(name) === undefined);
  if (missing.length === 0) return undefined;
  const reason = join(CACHE, `${missing[0]}.failed`);
  if (existsSync(reason)) return readFileSync(reason, "utf8").trim();
  return `no program ${missing.join(", ")}; ${HINT}`;
}

/** First line of a program's output; empty when it does not run. */
function firstLine(file: string, argv: string[]): string {
  try {
    const options: ExecFileSyncOptionsWithStringEncoding = {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    };
    return execFileSync(file, argv, options).split("\n")[0] ?? "";
  } catch {
    return "";
  }
}

/** The package that a file belongs to, as "Debian package NAME VERSION", else its folder. */
function originOf(path: string): string {
  const unpacked = join(dirname(path), "../..", "package.txt");
  if (path.includes(CACHE) && existsSync(unpacked)) return readFileSync(unpacked, "utf8").trim();
  const name = firstLine("dpkg-query", ["--search", path]).split(":")[0] ?? "";
  if (name === "") return `of ${dirname(path)}`;
  // dpkg's own default format: name, tab, version.
  return `package ${firstLine("dpkg-query", ["--show", name]).replace("\t", " ")}`;
}

/** A program's own version and where it is from: "1.6.1, package nebula 1.6.1-3". */
export function describeProgram(name: string, versionArgument: string): string {
  const path = programPath(name);
  const version = /\d+(\.\d+)*/.exec(firstLine(path, [versionArgument]))?.[0] ?? "unknown";
  return `${version}, ${originOf(path)}`;
}
