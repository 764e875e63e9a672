// Log files of services without systemd: kept below a size, with one older piece beside each.
import { copyFile, stat, truncate } from "node:fs/promises";
import { LOG_BYTES_MAX, LOG_LOOK_MS } from "../../config/index.js";

/**
 * Looks at the files now and then, for as long as the process lives or until the function returned
 * is called. Who writes there must append (O_APPEND), as services do.
 */
export function limitLogs(paths: readonly string[]): () => void {
  const look = () => {
    for (const path of paths) void shorten(path, LOG_BYTES_MAX).catch(() => undefined);
  };
  const timer = setInterval(look, LOG_LOOK_MS);
  timer.unref();
  look();
  return () => clearInterval(timer);
}

/**
 * Moves what is in a file that is longer than `most` bytes to FILE.1 and empties it. The file
 * itself stays, because its writer has it open.
 */
export async function shorten(path: string, most: number): Promise<void> {
  const { size } = await stat(path);
  if (size <= most) return;
  await copyFile(path, `${path}.1`);
  await truncate(path, 0);
}
