// Debian's BIRD, a real BGP daemon, unpacked into a folder of the checkout: installed, it would be
// started as a service of the host.
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Callback, Test } from "uvu";
import { spawnIn } from "../support/netns.js";
import { unlessAbsent } from "./absence.js";
import { command, lines } from "./command.js";
import { fetchArchives, moveOrKeep } from "./packages.js";

const PACKAGE = "bird2";
const FOLDER = join("node_modules", ".cache", "meshd-test", PACKAGE);
const PROGRAM = join(FOLDER, "usr/sbin/bird");

const hasBird = () => existsSync(PROGRAM);

function whyNoBird(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  return hasBird() ? undefined : "no BGP daemon here: node bin/setup.mjs --for test";
}

/** Registers a test that needs the daemon. */
export function birdTest<T>(suite: Test<T>, name: string, body: Callback<T>): void {
  unlessAbsent(whyNoBird(), suite, name, body);
}

/** The package and the libraries that it names. */
function packages(): string[] {
  const depends = lines(["apt-cache", "depends", PACKAGE]);
  const named = depends.flatMap((line) => /Depends: (lib\S+)$/.exec(line)?.[1] ?? []);
  return [PACKAGE, ...named.filter((name) => name !== "libc6")];
}

/** Fetches and unpacks it, unless that is done. @throws {Error} when it cannot be had */
export function fetchBird(): void {
  if (hasBird()) return;
  const stage = `${FOLDER}-${process.pid}`;
  try {
    const [archives, tree] = [join(stage, "archives"), join(stage, "tree")];
    mkdirSync(tree, { recursive: true });
    fetchArchives(packages, archives);
    for (const name of readdirSync(archives).filter((one) => one.endsWith(".deb"))) {
      command(["dpkg-deb", "--extract", join(archives, name), tree]);
    }
    moveOrKeep(tree, FOLDER);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** Starts it in a namespace with a configuration; its files go into `folder`. */
export function startBird(namespace: string, folder: string, config: string): ChildProcess {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "bird.conf");
  writeFileSync(file, config, { mode: 0o600 });
  const own = ["-c", file, "-s", join(folder, "bird.ctl"), "-P", join(folder, "bird.pid")];
  const libraries = readdirSync(join(FOLDER, "usr/lib")).map((name) =>
    join(FOLDER, "usr/lib", name),
  );
  return spawnIn(namespace, [PROGRAM, "-f", ...own], { LD_LIBRARY_PATH: libraries.join(":") });
}
