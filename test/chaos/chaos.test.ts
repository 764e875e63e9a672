// A short run of the chaos suite, as an operator starts it: one fault of each kind, by a seed that
// is new each time. MESHD_FUZZ_SEED=<n> runs one again.
import { spawn } from "node:child_process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { seededRandom } from "../support/random.js";
import { rootTest } from "../support/root.js";
import { changeFaults } from "./faults/change.js";
import { controlFaults } from "./faults/control.js";
import { diskFaults } from "./faults/disk.js";
import { nodeFaults } from "./faults/node.js";
import { pathFaults } from "./faults/path.js";

const test = suite("chaos");
const PROGRAM = "dist/test/chaos/run.js";
const KINDS = [controlFaults, nodeFaults, pathFaults, [...changeFaults, ...diskFaults]];

/** Runs the program to its end; it takes its lab away also when we are ended. */
function chaos(...argv: string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...argv], { stdio: ["ignore", "pipe", "pipe"] });
  const end = () => child.kill("SIGTERM");
  process.once("exit", end);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (piece: Buffer) => {
      said += piece;
    });
  }
  return new Promise((resolve) => {
    child.once("close", (code) => {
      process.off("exit", end);
      resolve({ code, said });
    });
  });
}

rootTest(test, "after one fault of each kind the mesh is whole", async () => {
  const random = seededRandom("chaos");
  const names = KINDS.map((kind) => random.pick(kind).name);
  const steps = `${names.length}`;
  const what = ["--steps", steps, "--only", names.join(",")];
  const argv = ["--seed", `${random.seed}`, "--nodes", "2", ...what];
  const { code, said } = await chaos(...argv);
  process.stdout.write(said);
  assert.is(code, 0, `chaos ${argv.join(" ")}:\n${said}`);
  assert.is(said.match(/^ok +\d/gm)?.length, names.length, said);
});

test("a fault that nobody knows is a wrong command line, and --list names all", async () => {
  const unknown = await chaos("--only", "rain");
  assert.is(unknown.code, 2);
  assert.match(unknown.said, /--only rain: no such fault; --list/);
  const { code, said } = await chaos("--list");
  assert.is(code, 0);
  for (const { name } of KINDS.flat()) assert.match(said, new RegExp(`^${name} `, "m"));
});

test.run();
