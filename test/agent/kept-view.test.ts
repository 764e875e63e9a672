// The last good view on disk: from when it is, whatever the clock does.
import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { MeshSnapshot } from "../../control/index.js";
import { KeptView } from "../../src/agent/kept-view.js";

interface Given {
  folder: string;
  path: string;
}

const minute_ms = 60_000;
/** A session that took the view from disk and has heard nobody, or that follows the store. */
const viewer = (viewAge_ms: number, snapshot: MeshSnapshot | null = {} as MeshSnapshot) => ({
  viewAge_ms: () => viewAge_ms,
  snapshot: () => snapshot,
});
const never = Number.POSITIVE_INFINITY;

/** The file as an agent left it so long ago. */
function leave(path: string, age_ms: number): void {
  writeFileSync(path, "view");
  const at_s = (Date.now() - age_ms) / 1000;
  utimesSync(path, at_s, at_s);
}

const test = suite<Given>("the view on disk");
test.before.each((given) => {
  given.folder = mkdtempSync(join(tmpdir(), "meshd-view-"));
  given.path = join(given.folder, "snapshot.json");
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

test("it is as old as its file until the store is heard, which then counts", async ({ path }) => {
  leave(path, 26 * minute_ms);
  const { kept, saved } = await KeptView.open(path, false);
  assert.is(saved, "view");
  const age = kept.age(viewer(never));
  assert.is(age?.from, "disk");
  assert.is(Math.round((age?.age_ms ?? 0) / minute_ms), 26);
  assert.is(kept.age(viewer(never, null)), null, "the session refused what was there");
  assert.equal(kept.age(viewer(1_200)), { from: "nats", age_ms: 1_200 });
});

test("a file from the future is new, and of none or another membership nothing is said", async ({
  path,
}) => {
  assert.equal((await KeptView.open(path, false)).saved, null);
  assert.is((await KeptView.open(path, false)).kept.age(viewer(never)), null);
  leave(path, -5 * minute_ms);
  const ahead = (await KeptView.open(path, false)).kept.age(viewer(never));
  assert.ok((ahead?.age_ms ?? never) < minute_ms);
  const { kept, saved } = await KeptView.open(path, true);
  assert.equal([kept.age(viewer(never)), saved], [null, null]);
});

test("nothing is written before there is a view", async ({ path }) => {
  const { kept } = await KeptView.open(path, false);
  await kept.save(viewer(never, null));
  assert.not.ok(existsSync(path));
});

test.run();
