// What the built release file may have and must not have: several instances share one memory, so
// the module owns none of it.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LAYOUT_VERSION } from "../../assembly/shared/layout.js";
import { MODULE_URL } from "../../src/datapath/module.js";
import { loadModule } from "../support/module.js";

const DATA_SECTION = 11;
const DATA_COUNT_SECTION = 12;
const GLOBAL_SECTION = 6;
const START_SECTION = 8;

const file = readFileSync(MODULE_URL);

/** An unsigned LEB128 number and where it ends. */
function readNumber(at: number): [number, number] {
  let value = 0;
  for (let shift = 0; ; shift += 7, at++) {
    const byte = file[at] ?? 0;
    value |= (byte & 127) << shift;
    if ((byte & 128) === 0) return [value >>> 0, at + 1];
  }
}

/** Section id -> where its contents begin. */
function sections(): Map<number, number> {
  const found = new Map<number, number>();
  for (let at = 8; at < file.length; ) {
    const id = file[at] ?? 0;
    const [size, begin] = readNumber(at + 1);
    found.set(id, begin);
    at = begin + size;
  }
  return found;
}

test("the release module has no data and no start function", () => {
  const found = sections();
  assert.not.ok(found.has(DATA_SECTION));
  assert.not.ok(found.has(DATA_COUNT_SECTION));
  assert.not.ok(found.has(START_SECTION));
});

test("the worker base and the FIB's root are its only globals", () => {
  const begin = sections().get(GLOBAL_SECTION) ?? 0;
  const [count, first] = readNumber(begin);
  assert.is(count, 2);
  // i32, mutable, begins as 0.
  const word = [0x7f, 1, 0x41, 0, 0x0b];
  assert.equal([...file.subarray(first, first + 10)], [...word, ...word]);
});

test("it imports the shared memory and exports functions alone", async () => {
  const module = await WebAssembly.compile(file);
  const imports = WebAssembly.Module.imports(module);
  assert.equal(
    imports.map(({ module: from, name, kind }) => ({ from, name, kind })),
    [{ from: "env", name: "memory", kind: "memory" }],
  );
  const names = WebAssembly.Module.exports(module).map(({ name, kind }) => `${kind} ${name}`);
  assert.equal(names.sort(), [
    "function checksum",
    "function fibLookup4",
    "function fibLookup6",
    "function init",
    "function layoutVersion",
    "function run",
    "function settle",
  ]);
});

test("it was built for the layout that TypeScript has", async () => {
  const module = await loadModule();
  assert.is(module.hot.layoutVersion(), LAYOUT_VERSION);
});

test("an instance changes no byte of the memory before it is told to", async () => {
  const first = await loadModule();
  const before = Buffer.from(first.views.bytes.slice(0, 1 << 20));
  const module = await WebAssembly.compile(file);
  new WebAssembly.Instance(module, { env: { memory: first.views.memory } });
  assert.ok(before.equals(Buffer.from(first.views.bytes.slice(0, 1 << 20))));
});

test("run has no deadline of its own while nothing waits", async () => {
  const module = await loadModule();
  assert.is(module.hot.run(5), Number.POSITIVE_INFINITY);
});

test.run();
