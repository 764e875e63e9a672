// Network namespaces as `ip netns` keeps them: made, listed, entered, removed.
import { readdir, statfs } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { NETNS_DIR, namespacePath, quote, type RunOptions, run } from "./command.js";
import { HostError } from "./errors.js";

/** statfs(2): the type of a file that stands for a namespace (linux/magic.h NSFS_MAGIC). */
const NSFS_MAGIC = 0x6e736673;

/** True when the name or path stands for a namespace that is there (a stale file does not). */
export async function namespaceExists(netns: string): Promise<boolean> {
  try {
    return (await statfs(namespacePath(netns))).type === NSFS_MAGIC;
  } catch (error) {
    if (error instanceof Error && "code" in error && isAbsence(error.code)) return false;
    throw error;
  }
}

/** Throws MESHD_HOST_NO_NAMESPACE when it is not there. */
export async function needNamespace(netns: string): Promise<void> {
  if (await namespaceExists(netns)) return;
  const what = `no network namespace ${quote(netns)}; see: ip netns list`;
  throw new HostError("MESHD_HOST_NO_NAMESPACE", what);
}

/** Makes a namespace with its loopback up. False when it was there already. */
export async function createNamespace(name: string): Promise<boolean> {
  if (isAbsolute(name)) {
    const what = `namespace ${quote(name)} is a path: only named ones can be made`;
    throw new HostError("MESHD_HOST_BAD_VALUE", what);
  }
  if (await namespaceExists(name)) return false;
  await run(["ip", "netns", "add", checkNamespaceName(name)]);
  await run(["ip", "link", "set", "dev", "lo", "up"], { netns: name });
  return true;
}

/** Removes a named namespace; it ends when its last process has gone. False when there was none. */
export async function deleteNamespace(name: string): Promise<boolean> {
  if (!(await namespaceExists(checkNamespaceName(name)))) return false;
  await run(["ip", "netns", "delete", name]);
  return true;
}

/** Names of all namespaces that `ip netns` knows. */
export async function listNamespaces(): Promise<string[]> {
  const names = await readdir(NETNS_DIR).catch((error: NodeJS.ErrnoException) => {
    if (isAbsence(error.code)) return [];
    throw error;
  });
  const there = await Promise.all(
    names.map((name) => namespaceExists(`${NETNS_DIR}/${name}`).then((is) => (is ? [name] : []))),
  );
  return there.flat().sort();
}

/** Runs a program inside a namespace (name or path). Throws as `run` does. */
export async function runInNamespace(
  netns: string,
  argv: readonly string[],
  options: Omit<RunOptions, "netns"> = {},
): Promise<string> {
  await needNamespace(netns);
  return run(argv, { ...options, netns });
}

/** A name that `ip netns` takes: no path, no leading "-". */
export function checkNamespaceName(name: string): string {
  if (!isAbsolute(name) && !name.startsWith("-")) namespacePath(name);
  else {
    const what = `namespace name ${quote(name)} refused: it may not begin with "/" or "-"`;
    throw new HostError("MESHD_HOST_BAD_VALUE", what);
  }
  return name;
}

function isAbsence(code: unknown): boolean {
  return code === "ENOENT" || code === "ENOTDIR";
}
