// Fetches the guest's Debian packages by apt, with the host's own sources and keys. They are
// unpacked into a folder; nothing is installed on the host.
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { command, lines } from "./command.js";
import { KERNEL_PACKAGE, PACKAGES } from "./contents.js";

const APT = ["-q", "-o", "APT::Sandbox::User=root", "-o", "Dir::State::extended_states=/dev/null"];
/** Libraries that apt would install but no program of the guest loads. */
const NOT_LOADED = /^lib(perl|.*-perl$|pam-|semanage)/;

function kernelPackage(): string {
  const depends = lines(["apt-cache", "depends", KERNEL_PACKAGE]);
  const named = depends.map((line) => /Depends: (linux-image-\S+)/.exec(line)?.[1]);
  const name = named.find((one) => one !== undefined);
  if (name === undefined) throw new Error(`apt knows no ${KERNEL_PACKAGE}`);
  return name;
}

/** Library packages that apt would install with the others on an empty system. */
function libraryPackages(): string[] {
  const empty = ["-o", "Dir::State::status=/dev/null", "-s", "--no-install-recommends"];
  const plan = lines(["apt-get", ...APT, ...empty, "install", ...PACKAGES]);
  const names = plan.map((line) => /^Inst (\S+)/.exec(line)?.[1] ?? "");
  return names.filter((name) => /^(lib|zlib)/.test(name) && !NOT_LOADED.test(name));
}

const wholeGuest = () => [kernelPackage(), ...PACKAGES, ...libraryPackages()];

function download(wanted: () => string[], folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  command(["apt-get", ...APT, "download", ...wanted()], { cwd: folder });
}

/** Archives of packages into `folder`, with newer lists where the old ones do not do. */
export function fetchArchives(wanted: () => string[], folder: string): void {
  try {
    download(wanted, folder);
  } catch {
    // Lists that are missing, or older than the mirror.
    command(["apt-get", "update", "-q"]);
    download(wanted, folder);
  }
}

/** Archives into `folder`, unless they are there; made below `own` and moved when it is whole. */
export function fetchPackages(own: string, folder: string): void {
  if (existsSync(folder)) return;
  const part = join(own, "packages");
  fetchArchives(wholeGuest, part);
  moveOrKeep(part, folder);
}

/** Two that make the same folder at once: the first one's counts. */
export function moveOrKeep(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}
