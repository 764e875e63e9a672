// Makes the guest's kernel and file tree once and keeps them in the user's cache: folders named
// after all that went in, so that a change of the recipe makes another image.
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { command } from "./command.js";
import * as contents from "./contents.js";
import { copyModules } from "./modules.js";
import { fetchPackages, moveOrKeep } from "./packages.js";
import { fillTree, packTree } from "./tree.js";
import { extractKernel } from "./vmlinux.js";

/** Changes with the code that makes the image. */
const RECIPE = 1;
const OWN = join(process.cwd(), "test/peers/guest");
const ROOT_NAME = "guest";

/** A kernel that qemu enters by PVH, and its file tree. */
export interface Image {
  kernel: string;
  tree: string;
  version: string;
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "meshd", "kernel-peer");
}

function keyOf(parts: unknown): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
}

function imageKey(): string {
  const own = readdirSync(OWN).map((name) => [name, readFileSync(join(OWN, name), "utf8")]);
  return keyOf([RECIPE, contents, contents.LEFT_OUT.source, own]);
}

function imageIn(folder: string): Image | undefined {
  const file = join(folder, "version");
  if (!existsSync(file)) return undefined;
  const version = readFileSync(file, "utf8").trim();
  return { kernel: join(folder, "vmlinux"), tree: join(folder, "tree.cpio"), version };
}

function unpackPackages(packages: string, stage: string): void {
  for (const name of readdirSync(packages).filter((one) => one.endsWith(".deb"))) {
    command(["dpkg-deb", "--extract", join(packages, name), stage]);
  }
}

function make(packages: string, stage: string, target: string): void {
  const root = join(stage, ROOT_NAME);
  mkdirSync(root, { recursive: true });
  mkdirSync(target, { recursive: true });
  unpackPackages(packages, stage);
  const version = copyModules(stage, ROOT_NAME);
  extractKernel(stage, join(stage, `boot/vmlinuz-${version}`), join(target, "vmlinux"));
  fillTree(stage, root, OWN);
  const output = openSync(join(target, "tree.cpio"), "w");
  try {
    packTree(stage, root, output);
  } finally {
    closeSync(output);
  }
  writeFileSync(join(target, "version"), `${version}\n`);
}

function imageFolder(): string {
  return join(cacheFolder(), `image-${imageKey()}`);
}

/** The image, if it was made. */
export function findImage(): Image | undefined {
  return imageIn(imageFolder());
}

/**
 * Makes the image unless it is there: some 20 seconds and 90 MB of downloads.
 * @throws {Error} when packages cannot be had, or something of them is missing
 */
export function makeImage(): void {
  if (findImage() !== undefined) return;
  const cache = cacheFolder();
  const packages = join(cache, `packages-${keyOf([contents.KERNEL_PACKAGE, contents.PACKAGES])}`);
  const own = join(cache, `making-${process.pid}`);
  try {
    mkdirSync(own, { recursive: true });
    fetchPackages(own, packages);
    make(packages, join(own, "stage"), join(own, "image"));
    moveOrKeep(join(own, "image"), imageFolder());
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}
