// Files of the agent's state directory: read, taken away, and what killed writers left beside them.
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Makes a directory (and parents) that only its owner may enter. */
export async function makePrivateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
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
