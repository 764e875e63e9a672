// Files of the state directory: replaced in one piece, readable by their owner alone.
import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** As `replaceFile`; its directory is made when absent, mode 0700. */
export async function writePrivateFile(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, content);
}

/**
 * Replaces a file: written beside (mode 0600), synced, renamed over. After a crash there is the old
 * content or the new one.
 */
export async function replaceFile(path: string, content: string): Promise<void> {
  const beside = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    await writeSynced(beside, content);
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
  // The rename itself is on disk only when the directory is.
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
