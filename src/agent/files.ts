// Files that must survive a crash in one piece: written beside, synced, renamed; readable by root
// alone.
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Makes a directory (and parents) that only its owner may enter. */
export async function makePrivateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
}

/** Replaces a file in one step, mode 0600. A crash leaves the old content or the new one. */
export async function writeAtomic(path: string, content: string): Promise<void> {
  const beside = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    await writeSynced(beside, content);
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), "r");
  await directory.sync().finally(() => directory.close());
}

async function writeSynced(path: string, content: string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What stands behind a file's name while it is written: by any room that replaces it whole. */
const DRAFT = /^\.\d+(\.[0-9a-f]{8}|-[0-9a-f]{8}\.new)$/;

/**
 * Removes what a process left beside these files that was killed while it wrote them. Only for who
 * alone may write them. Gives their number.
 */
export async function removeDrafts(...paths: string[]): Promise<number> {
  let count = 0;
  for (const directory of new Set(paths.map(dirname))) {
    const names = paths.filter((path) => dirname(path) === directory).map((path) => basename(path));
    const isDraft = (entry: string) =>
      names.some((name) => entry.startsWith(name) && DRAFT.test(entry.slice(name.length)));
    const drafts = (await readdir(directory)).filter(isDraft);
    await removeFiles(...drafts.map((entry) => join(directory, entry)));
    count += drafts.length;
  }
  return count;
}

/** A file's text, or null when there is none. */
export async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return null;
    }
    throw error;
  }
}

/** Removes files; missing ones are fine. */
export async function removeFiles(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await rm(path, { force: true });
  }
}
