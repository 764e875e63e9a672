// State files and the lock on the state directory.
import { spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  makePrivateDirectory,
  readText,
  removeDrafts,
  removeFiles,
} from "../../src/agent/files.js";
import { StateLock } from "../../src/agent/lock.js";
import { replaceFile } from "../../src/host/index.js";

const directory = mkdtempSync(join(tmpdir(), "meshd-files-"));
test.after(() => rmSync(directory, { recursive: true, force: true }));

test("an atomic write replaces the whole file, private, and leaves nothing beside it", async () => {
  const inside = join(directory, "one");
  await makePrivateDirectory(inside);
  const path = join(inside, "state.json");
  await replaceFile(path, "first, and longer");
  chmodSync(path, 0o644);
  await replaceFile(path, "second");
  assert.is(await readText(path), "second");
  assert.is(statSync(path).mode & 0o777, 0o600);
  assert.is(statSync(inside).mode & 0o777, 0o700);
  assert.equal(readdirSync(inside), ["state.json"]);
  await removeFiles(path, join(inside, "never there"));
  assert.is(await readText(path), null);
});

test("what a killed writer left beside our files goes, and nothing else", async () => {
  const inside = join(directory, "left");
  const others = ["snapshot.json", "snapshot.json.bak", "snapshot.json.12.new", "else.1.0011aabb"];
  const drafts = ["snapshot.json.4711.0011aabb", "membership.json.12-0011aabb.new"];
  mkdirSync(inside);
  for (const name of [...others, ...drafts]) writeFileSync(join(inside, name), "");
  const ours = ["snapshot.json", "membership.json"].map((name) => join(inside, name));
  assert.is(await removeDrafts(...ours), drafts.length);
  assert.equal(readdirSync(inside).sort(), [...others].sort());
});

test("a write that fails leaves nothing beside the file", async () => {
  const inside = join(directory, "failed");
  const path = join(inside, "state.json");
  mkdirSync(join(path, "in-the-way"), { recursive: true });
  let failed = "";
  await replaceFile(path, "text").catch((error: { code: string }) => {
    failed = error.code;
  });
  assert.is(failed, "EISDIR");
  assert.equal(readdirSync(inside), ["state.json"]);
});

test("a second agent on one state directory is refused and told who holds it", async () => {
  const path = join(directory, "agent.lock");
  const held = await StateLock.take(path);
  try {
    await StateLock.take(path);
    assert.unreachable();
  } catch (error) {
    assert.is((error as { code?: string }).code, "MESHD_STATE_LOCKED");
    assert.match((error as Error).message, String(process.pid));
  }
  await held.release();
  await (await StateLock.take(path)).release();
});

test("the lock of a killed process is free", async () => {
  const path = join(directory, "killed.lock");
  const module = new URL("../../src/agent/lock.js", import.meta.url).href;
  const script = `
    const { StateLock } = await import(${JSON.stringify(module)});
    await StateLock.take(${JSON.stringify(path)});
    console.log("held");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  let refused = "";
  await StateLock.take(path).catch((error: { code: string }) => {
    refused = error.code;
  });
  child.kill("SIGKILL");
  await ended;
  assert.is(refused, "MESHD_STATE_LOCKED");
  await (await StateLock.take(path)).release();
});

test.run();
