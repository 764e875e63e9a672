// The look at a disk's room, on a small disk of its own.
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { hasRoom } from "../../src/cli/service/disk-room.js";
import { atEnd, makeDirectory } from "../support/ends.js";
import { rootTest } from "../support/root.js";

/** A disk of so many bytes and files, the folder itself among them. */
function smallDisk(bytes: number, files: number): string {
  const dir = makeDirectory("disk");
  const options = `size=${bytes},nr_inodes=${files}`;
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", options, "meshd-test", dir]);
  assert.is(status, 0, `${stderr}`);
  atEnd(() => spawnSync("umount", ["-l", dir]));
  return dir;
}

rootTest(test, "a disk has room again when a file is gone", async () => {
  const dir = smallDisk(2 << 20, 100);
  assert.ok(await hasRoom(dir));
  writeFileSync(join(dir, "filler"), Buffer.alloc(1.5 * 2 ** 20));
  assert.not(await hasRoom(dir));
  rmSync(join(dir, "filler"));
  assert.ok(await hasRoom(dir));
});

rootTest(test, "a disk that takes no further file has no room", async () => {
  const dir = smallDisk(2 << 20, 3);
  assert.ok(await hasRoom(dir));
  for (const name of ["a", "b"]) writeFileSync(join(dir, name), "");
  assert.not(await hasRoom(dir));
});

test("a folder that is not there has no room", async () => {
  assert.not(await hasRoom("/no/such/folder"));
});

test.run();
