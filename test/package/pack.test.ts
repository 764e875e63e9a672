// The package as a user gets it: `npm pack`, then a global install into a folder of its own.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";

const folder = mkdtempSync(join(tmpdir(), "meshd-pack-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
const npm = (argv: string[]) => execFileSync("npm", [...argv, ...quiet], { encoding: "utf8" });

test("npm pack holds the program, the wasm and the addon, and no source of ours", () => {
  npm(["pack", "--pack-destination", folder]);
  const [archive = ""] = readdirSync(folder);
  const listed = execFileSync("tar", ["-tzf", join(folder, archive)], { encoding: "utf8" });
  const files = listed.split("\n");
  assert.ok(files.includes("package/bin/meshd"), "bin/meshd");
  assert.ok(files.includes("package/dist/meshd.wasm"), "dist/meshd.wasm");
  assert.ok(
    files.some((file) => /node-tun\/prebuilds\/linux-\w+\/node-tun\.node$/.test(file)),
    "the addon, prebuilt",
  );
  assert.equal(
    files.filter((file) => /^package\/(test|bench|dist\/test|dist\/bench)\//.test(file)),
    [],
  );
});

test("the installed package's meshd runs, with its wasm and addon", () => {
  const [archive = ""] = readdirSync(folder);
  const prefix = join(folder, "prefix");
  npm(["install", "--global", "--prefix", prefix, join(folder, archive)]);
  const program = join(prefix, "bin", "meshd");
  assert.ok(existsSync(program));
  const version = execFileSync(program, ["version", "--json"], { encoding: "utf8" });
  const parts = JSON.parse(version) as { version: string; wasm: boolean; addon: boolean };
  assert.is(parts.version, "0.1.0");
  assert.is(parts.wasm, true);
  assert.is(parts.addon, true);
});

test.run();
