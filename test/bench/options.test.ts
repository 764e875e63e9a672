// Options of the benches: what they default to, and what is refused before anything is set up.
import { execFile } from "node:child_process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ALL_CARRIERS, ALL_MEASURES } from "../../bench/support/legs.js";
import {
  parseRunOptions,
  parseThroughputOptions,
  type RunOptions,
  type ThroughputOptions,
  UsageError,
} from "../../bench/support/options.js";

function throughput(...argv: string[]): ThroughputOptions {
  const options = parseThroughputOptions(argv);
  if (options === "help") throw new Error("asked for help");
  return options;
}

function run(...argv: string[]): RunOptions {
  const options = parseRunOptions(argv);
  if (options === "help") throw new Error("asked for help");
  return options;
}

test("without options everything is measured at MTU 1500, meshd as it comes", () => {
  const { carriers, measures, rounds, mtu, offloads, crew } = throughput();
  assert.equal([carriers, measures], [ALL_CARRIERS, ALL_MEASURES]);
  assert.equal([rounds, mtu, offloads, crew], [3, 1500, true, {}]);
});

test("--only names carriers, measures or both, in any order", () => {
  const { carriers, measures } = throughput("--only", "ping,meshd,tcp1");
  assert.equal([carriers, measures], [["meshd"], ["tcp1", "ping"]]);
  assert.equal(throughput("--only", "ping").carriers, ALL_CARRIERS);
  assert.equal(run("--only", "raw").measures, ALL_MEASURES);
});

test("the lab's encapsulation is one that can be set", () => {
  assert.equal(throughput("--encap", "ipip").crew, { encap: "ipip" });
  assert.throws(() => throughput("--encap", "l2tp"), isUsageError);
});

test("workers and steering are the product's own unless given", () => {
  assert.equal(throughput("--workers", "2", "--steering", "auto").crew, {
    ...{ workers: 2, steering: "auto" },
  });
});

test("--compare takes no file, one, or two", () => {
  assert.is(run().compare, undefined);
  assert.equal(run("--compare").compare, []);
  assert.equal(run("--compare", "a.json").compare, ["a.json"]);
  assert.equal(run("--compare", "a.json", "b.json").compare, ["a.json", "b.json"]);
});

test("a full run may be resumed, and may have a journal of its own", () => {
  assert.ok(run("--full", "--resume").resume);
  assert.is(run("--full", "--journal", "x.jsonl").journal, "x.jsonl");
});

const isUsageError = (error: unknown) => error instanceof UsageError;

for (const [what, argv] of Object.entries({
  "an unknown measure": ["--only", "tcp1,sctp"],
  "an unknown option": ["--fast"],
  "no rounds": ["--rounds", "0"],
  "half a second": ["--seconds", "0.5"],
})) {
  test(`${what} is refused by both benches as a mistake of usage`, () => {
    assert.throws(() => parseThroughputOptions(argv), isUsageError);
    assert.throws(() => parseRunOptions(argv), isUsageError);
  });
}

for (const [what, argv] of Object.entries({
  "another MTU": ["--mtu", "1400"],
  "offloads neither on nor off": ["--offloads", "maybe"],
  "33 workers": ["--workers", "33"],
  "a steering that does not exist": ["--steering", "left"],
  "a file that belongs to nothing": ["a.json"],
})) {
  test(`${what} is refused by the throughput bench`, () => {
    assert.throws(() => parseThroughputOptions(argv), isUsageError);
  });
}

for (const [what, argv] of Object.entries({
  "--resume without --full": ["--resume"],
  "a journal without --full": ["--journal", "x"],
  "a journal to resume and one by name": ["--full", "--resume", "--journal", "x"],
  "a file without --compare": ["x.json"],
  "three files to compare": ["--compare", "a", "b", "c"],
})) {
  test(`${what} is refused by the run of all benches`, () => {
    assert.throws(() => parseRunOptions(argv), isUsageError);
  });
}

/** Exit code and standard error of one of the programs. */
function started(program: string, argv: string[]): Promise<{ code: number; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [`dist/bench/${program}.js`, ...argv],
      (_, __, stderr) => resolve({ code: child.exitCode ?? -1, stderr }),
    );
  });
}

for (const program of ["run", "throughput", "kernels"]) {
  test(`${program} ends with 2 and one line when it does not know an option`, async () => {
    const { code, stderr } = await started(program, ["--no-such-option"]);
    assert.is(code, 2);
    assert.match(stderr, /^\w+: .*--no-such-option.*; see --help\n$/);
  });
  test(`${program} --help ends with 0`, async () => {
    assert.is((await started(program, ["--help"])).code, 0);
  });
}

test.run();
