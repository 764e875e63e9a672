// Giving pages back: fewer are resident, and everything goes on as before.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";

const residentOfFiles_kB = () =>
  Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

test("most pages of programs and libraries go, and come again where they are needed", () => {
  const before = residentOfFiles_kB();
  const gone_bytes = tun.releasePages();
  const after = residentOfFiles_kB();
  assert.ok(after < before / 2, `${before} kB of files were resident, ${after} kB are`);
  assert.ok(gone_bytes / 1024 > before - after);
});

test("what the linker wrote into a library is still there", async () => {
  for (let time = 0; time < 3; time += 1) tun.releasePages();
  // Calls through tables of the C library, the C++ library and the program.
  const { createHash } = await import("node:crypto");
  const { gzipSync, gunzipSync } = await import("node:zlib");
  const text = readFileSync(new URL(import.meta.url), "utf8");
  assert.is(gunzipSync(gzipSync(text)).toString(), text);
  assert.is(createHash("sha256").update("").digest("hex").slice(0, 8), "e3b0c442");
  assert.throws(() => JSON.parse("{"), SyntaxError);
  assert.match(new Intl.NumberFormat("de").format(1234.5), /1.234,5/);
});

test.run();
