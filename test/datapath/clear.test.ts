// Zeroing that leaves untouched pages alone.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { clear } from "../../src/datapath/clear.js";

test("just the bytes asked for are zero afterwards, wherever pages begin and end", () => {
  const pairs = [
    [0, 1],
    [1, 4096],
    [4095, 4097],
    [100, 20_000],
    [8192, 12_288],
    [5, 5],
  ] as const;
  for (const [from, to] of pairs) {
    const bytes = new Uint8Array(new SharedArrayBuffer(20_480)).fill(7);
    clear(bytes, from, to);
    const wrong = bytes.findIndex((byte, at) => byte !== (at >= from && at < to ? 0 : 7));
    assert.is(wrong, -1, `${from} to ${to}`);
  }
});

const own_kB = () =>
  Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

test("memory that nobody has written to stays untouched", () => {
  const { buffer } = new WebAssembly.Memory({ initial: 1024, maximum: 1024, shared: true });
  const bytes = new Uint8Array(buffer);
  const before_kB = own_kB();
  clear(bytes, 0, bytes.length);
  assert.ok(own_kB() - before_kB < bytes.length / 1024 / 4);
  bytes.fill(1);
  assert.ok(own_kB() - before_kB > bytes.length / 1024 / 2, "the measure sees what is touched");
});

test.run();
