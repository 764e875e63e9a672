// Log files do not grow without bound, and their writers need not know.
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { shorten } from "../../src/cli/service/log-limit.js";
import { makeWorld } from "./world.js";

test("a log that is too long begins anew, its past beside it, private too", async () => {
  const world = makeWorld();
  const path = join(world.dir, "agent.log");
  const log = openSync(path, "a", 0o600);
  writeSync(log, "one\n");
  await shorten(path, 4);
  assert.is(readFileSync(path, "utf8"), "one\n", "not longer than it may be");
  writeSync(log, "two\n");
  await shorten(path, 4);
  writeSync(log, "three\n");
  closeSync(log);
  assert.is(readFileSync(path, "utf8"), "three\n");
  assert.is(readFileSync(`${path}.1`, "utf8"), "one\ntwo\n");
  assert.is(statSync(`${path}.1`).mode & 0o777, 0o600);
  world.remove();
});

test.run();
