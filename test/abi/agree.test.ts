// One set of constants for two compilers: AssemblyScript compiles the shared folder, and every
// global that comes out must equal what TypeScript says.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import asc from "assemblyscript/asc";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as calls from "../../assembly/shared/calls.js";
import { Drop } from "../../assembly/shared/drop.js";
import * as layout from "../../assembly/shared/layout.js";
import * as mppe from "../../assembly/shared/mppe.js";
import * as tables from "../../assembly/shared/tables.js";

/** Value of an exported global, as an unsigned number. */
function numberOf(value: unknown): number {
  return (value as { value: number }).value >>> 0;
}

/** Globals of a module made of the shared files, as AssemblyScript understands them. */
async function compiledConstants(): Promise<Map<string, number>> {
  const directory = mkdtempSync(join("dist", "agree-"));
  try {
    const entry = join(directory, "all.ts");
    const out = join(directory, "all.wasm");
    const files = ["layout", "tables", "calls", "mppe", "drop"];
    const lines = files.map((file) => `export * from "../../assembly/shared/${file}";`);
    writeFileSync(entry, `${lines.join("\n")}\n`);
    // Settings of its own: those of the project would compile the whole hot path as well.
    const config = join(directory, "asconfig.json");
    writeFileSync(config, "{}");
    const argv = [entry, "--config", config, "-o", out, "--runtime", "stub", "--noExportMemory"];
    const { error, stderr } = await asc.main(argv);
    if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
    const module = await WebAssembly.compile(readFileSync(out));
    const { exports } = new WebAssembly.Instance(module, {});
    return new Map(Object.entries(exports).map(([name, value]) => [name, numberOf(value)]));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("both compilers read the same numbers out of assembly/shared", async () => {
  const compiled = await compiledConstants();
  const expected: [string, number][] = [
    ...Object.entries({ ...layout, ...tables, ...calls, ...mppe }),
    ...Object.entries(Drop)
      .filter(([, value]) => typeof value === "number")
      .map(([name, value]): [string, number] => [`Drop.${name}`, value as number]),
  ];
  assert.ok(expected.length > 150);
  for (const [name, value] of expected) {
    assert.is(compiled.get(name), value >>> 0, name);
    assert.ok(Number.isInteger(value) && value >= 0 && value < 2 ** 31, `${name} is portable`);
  }
  assert.is(compiled.size, expected.length, "nothing is exported to one side only");
});

test.run();
