// Picks the guest's kernel modules out of the kernel package, with all they depend on.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { command } from "./command.js";
import { LEFT_OUT, MODULE_FOLDERS, MODULES, MODULES_NEEDED } from "./contents.js";

/** depmod's lists of what is built in, which modprobe reads. */
const LISTS = ["modules.builtin", "modules.builtin.modinfo", "modules.order"];

/** Module (path below the kernel's folder) -> the modules it needs. */
function readDependencies(folder: string): Map<string, string[]> {
  const text = readFileSync(join(folder, "modules.dep"), "utf8");
  const split = text.split("\n").map((line) => line.split(/[:\s]+/).filter((word) => word !== ""));
  return new Map(split.map(([module = "", ...needs]) => [module, needs]));
}

const nameOf = (path: string) => basename(path).replace(/\.ko.*$/, "");

function isWanted(path: string): boolean {
  if (MODULES.includes(nameOf(path))) return true;
  const inFolder = MODULE_FOLDERS.some((folder) => path.startsWith(`kernel/${folder}/`));
  return inFolder && !LEFT_OUT.test(path);
}

function withDependencies(wanted: string[], dependencies: Map<string, string[]>): Set<string> {
  const all = new Set<string>();
  const queue = [...wanted];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (all.has(path)) continue;
    all.add(path);
    queue.push(...(dependencies.get(path) ?? []));
  }
  return all;
}

function assertAllThere(chosen: Set<string>, folder: string): void {
  const builtIn = readFileSync(join(folder, "modules.builtin"), "utf8").split("\n");
  const there = new Set([...chosen, ...builtIn].map(nameOf));
  const missing = MODULES_NEEDED.filter((name) => !there.has(name));
  if (missing.length > 0) throw new Error(`the kernel has no ${missing.join(", ")}`);
}

/**
 * Copies modules from the unpacked packages at `stage` into the guest's tree at `root`, which lies
 * below it (its name: `rootName`). @returns the kernel's version
 */
export function copyModules(stage: string, rootName: string): string {
  const version = readdirSync(join(stage, "lib/modules"))[0] ?? "";
  const from = join(stage, "lib/modules", version);
  const to = join(stage, rootName, "lib/modules", version);
  command(["chroot", stage, "/sbin/depmod", version]);
  const dependencies = readDependencies(from);
  const chosen = withDependencies([...dependencies.keys()].filter(isWanted), dependencies);
  assertAllThere(chosen, from);
  for (const path of [...chosen, ...LISTS]) {
    if (!existsSync(join(from, path))) continue;
    mkdirSync(dirname(join(to, path)), { recursive: true });
    copyFileSync(join(from, path), join(to, path));
  }
  // In the guest's tree itself, so that modprobe sees just what is there.
  command(["chroot", stage, "/sbin/depmod", "-b", `/${rootName}`, version]);
  return version;
}
