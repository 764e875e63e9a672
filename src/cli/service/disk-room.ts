// Whether a disk takes what a nats-server's store writes next.
import { statfs } from "node:fs/promises";

/** With less, a server that is started anew ends as the last one did. */
const ROOM_BYTES = 1 << 20;

/**
 * By what the file system says: a trial by writing would wear the disk and take its last blocks. A
 * user's quota is not seen by it; root, as which a nats-server runs here, has none, and has the
 * blocks that are kept for root. False for a folder that cannot be asked.
 */
export async function hasRoom(dir: string): Promise<boolean> {
  const disk = await statfs(dir).catch(() => null);
  if (disk === null) return false;
  const blocks = process.getuid?.() === 0 ? disk.bfree : disk.bavail;
  // Some file systems keep no count of files.
  return blocks * disk.bsize >= ROOM_BYTES && (disk.files === 0 || disk.ffree > 0);
}
