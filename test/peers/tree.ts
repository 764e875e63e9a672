// The guest's file tree: programs with the libraries they load, busybox for the rest, our own start
// script and agent.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { command, lines } from "./command.js";
import { CONFIGURATION, FOLDERS, PROGRAMS, TREES } from "./contents.js";

const LOADER = "/lib64/ld-linux-x86-64.so.2";
const BUSYBOX = "/bin/busybox";
const PATH_FOLDERS = ["bin", "sbin", "usr/bin", "usr/sbin"];
const KMOD_NAMES = ["modprobe", "insmod", "rmmod", "lsmod", "modinfo", "depmod"];
/** Our own files: below test/peers/guest -> in the guest. */
const OWN_FILES = {
  "init.sh": "/init",
  "agent.pl": "/agent",
  "kpptp.pl": "/usr/sbin/kpptp",
} as const;

/** Where Debian put it inside the unpacked packages; links are followed inside them only. */
function put(stage: string, root: string, path: string): void {
  const target = join(root, path);
  mkdirSync(dirname(target), { recursive: true });
  // A link's target is a path inside the stage: the host's own file must not be taken for it.
  const real = lines(["chroot", stage, BUSYBOX, "realpath", path])[0] ?? path;
  if (statSync(join(stage, real)).isDirectory()) {
    cpSync(join(stage, real), target, { recursive: true, verbatimSymlinks: true });
  } else copyFileSync(join(stage, real), target);
}

/** Lines of the loader inside the stage: which libraries a file needs ("ldd"). */
function askLoader(stage: string, file: string): string[] {
  const argv = ["chroot", stage, BUSYBOX, "env", "LD_TRACE_LOADED_OBJECTS=1", LOADER, file];
  try {
    return lines(argv);
  } catch {
    // A plugin may lack something optional.
    return [];
  }
}

function sharedObjects(root: string): string[] {
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\.so(\.|$)/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length));
}

function putLibraries(stage: string, root: string): void {
  const wanted = new Set([LOADER]);
  const programs = PROGRAMS.filter((path) => path !== BUSYBOX);
  for (const file of [...programs, ...sharedObjects(root)]) {
    for (const line of askLoader(stage, file)) {
      if (line.includes("not found") && programs.includes(file)) {
        throw new Error(`${file} lacks a library: ${line.trim()}`);
      }
      const path = /=> (\/\S+)/.exec(line)?.[1];
      if (path !== undefined) wanted.add(path);
    }
  }
  for (const path of wanted) put(stage, root, path);
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function link(target: string, path: string): void {
  rmSync(path, { force: true });
  symlinkSync(target, path);
}

/** Busybox never stands in the way of a real program. */
function linkNames(stage: string, root: string): void {
  for (const name of KMOD_NAMES) link("/bin/kmod", join(root, "sbin", name));
  link("dash", join(root, "bin/sh"));
  link("/bin/ip", join(root, "sbin/ip"));
  for (const name of lines(["chroot", stage, BUSYBOX, "--list"])) {
    const isTaken = PATH_FOLDERS.some((folder) => isThere(join(root, folder, name)));
    if (!isTaken) link(BUSYBOX, join(root, "bin", name));
  }
}

function putOwnFiles(root: string, own: string): void {
  for (const [name, path] of Object.entries(CONFIGURATION)) writeFileSync(join(root, name), path);
  chmodSync(join(root, "etc/ppp/chap-secrets"), 0o600);
  chmodSync(join(root, "tmp"), 0o1777);
  for (const [name, path] of Object.entries(OWN_FILES)) {
    copyFileSync(join(own, name), join(root, path));
    chmodSync(join(root, path), 0o755);
  }
}

/** Fills `root`, which has the kernel modules already. `own`: folder of our own guest files. */
export function fillTree(stage: string, root: string, own: string): void {
  for (const folder of FOLDERS) mkdirSync(join(root, folder), { recursive: true });
  for (const path of TREES) if (existsSync(join(stage, path))) put(stage, root, path);
  for (const path of PROGRAMS) put(stage, root, path);
  putLibraries(stage, root);
  linkNames(stage, root);
  rmSync(join(root, "usr/lib/x86_64-linux-gnu/perl-base/unicore"), {
    recursive: true,
    force: true,
  });
  putOwnFiles(root, own);
}

/** Packs the tree. Not compressed: unpacking would be slow in an emulated CPU. */
export function packTree(stage: string, root: string, output: number): void {
  const names = lines(["find", ".", "-mindepth", "1"], { cwd: root }).sort();
  const input = Buffer.from(`${names.join("\n")}\n`);
  const pack = ["cpio", "-o", "-H", "newc", "-R", "0:0"];
  command([join(stage, BUSYBOX), ...pack], { cwd: root, input, output });
}
