// The package as a user gets it: `npm pack`, then a global install into a folder of its own.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { rootTest } from "../support/root.js";

const folder = mkdtempSync(join(tmpdir(), "meshd-pack-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

interface Version {
  version: string;
}

const prefix = join(folder, "prefix");
const program = join(prefix, "bin", "meshd");
const name = `k${process.pid}`;
const roots = ["--state-dir", join(folder, "state"), "--run-dir", join(folder, "run")];
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

test("the installed package's meshd starts", () => {
  const [archive = ""] = readdirSync(folder);
  npm(["install", "--global", "--prefix", prefix, join(folder, archive)]);
  const version = execFileSync(program, ["version", "--json"], { encoding: "utf8" });
  const { version: wanted } = JSON.parse(readFileSync("package.json", "utf8")) as Version;
  assert.is((JSON.parse(version) as Version).version, wanted);
});

rootTest(test, "the installed package carries a mesh: its wasm and its addon work", () => {
  const lab = (verb: string, ...rest: string[]) =>
    execFileSync(program, ["lab", verb, "--name", name, ...rest, ...roots], { encoding: "utf8" });
  try {
    lab("up", "--nodes", "2", "--pods", "1");
    assert.match(lab("check"), /^2 of 2 ordered pod pairs reachable/);
  } finally {
    lab("down");
  }
});

test.run();
