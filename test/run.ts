// Runs every suite in a process of its own, a few at a time, and adds up what uvu counted.
// The last line is "N passed, N failed"; skipped tests are said on a line of their own.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";

const ROOT = process.cwd();
const SUITE_LIMIT_MS = 300_000;
/** Folders whose suites make namespaces, servers or traffic: fewer of them side by side. */
const HEAVY = new Set([
  "agent",
  "chaos",
  "cli",
  "control",
  "datapath",
  "host",
  "lab",
  "mesh",
  "netns",
  "natsd",
  "interop",
  "pods",
  "peers",
  "package",
]);
/** Of these, suites that wait for servers and timers more than they work. */
const WAITING = new Set(["agent", "cli", "control", "natsd"]);
/** Of these, suites with a guest under emulation, which takes a whole processor. */
const GUESTS = new Set(["interop", "peers"]);
/** So many side by side: of each kind, and in all, where one with a guest counts twice. */
const HEAVY_AT_ONCE = { all: 4, guest: 1, traffic: 2, waiting: 4 };

interface SuiteResult {
  name: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  output: string;
}

interface Suite {
  name: string;
  file: string;
  folder: string;
}

function* filesBelow(folder: string, ending: string): Generator<string> {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== "node_modules") yield* filesBelow(path, ending);
    else if (entry.isFile() && entry.name.endsWith(ending)) yield path;
  }
}

/** Compiled suites whose source is still there (dist may hold an old one), and node-tun's own. */
function findSuites(): Suite[] {
  const compiled = [...filesBelow(join(ROOT, "test"), ".test.ts")].map((source) => ({
    name: relative(ROOT, source).replace(/\.test\.ts$/, ""),
    file: join(ROOT, "dist", relative(ROOT, source).replace(/\.ts$/, ".js")),
    folder: relative(join(ROOT, "test"), source).split("/")[0] ?? "",
  }));
  const own = [...filesBelow(join(ROOT, "node-tun", "test"), ".test.mjs")].map((source) => ({
    name: relative(ROOT, source).replace(/\.test\.mjs$/, ""),
    file: source,
    folder: "node-tun",
  }));
  return [...own, ...compiled].sort((a, b) => a.name.localeCompare(b.name));
}

/** uvu prints one "Total: / Passed: / Skipped:" block a file. */
function countOf(output: string, label: string): number {
  const pattern = new RegExp(`^\\s*${label}:\\s+(\\d+)`, "gm");
  return [...output.matchAll(pattern)].reduce((sum, match) => sum + Number(match[1]), 0);
}

function judge(suite: Suite, code: number | null, output: string, began: number): SuiteResult {
  const total = countOf(output, "Total");
  const passed = countOf(output, "Passed");
  const skipped = countOf(output, "Skipped");
  // uvu stops a suite at a crash without a summary: that is a failure of at least one test.
  const failed = Math.max(total - passed, code === 0 && total + skipped > 0 ? 0 : 1);
  const seconds = (Date.now() - began) / 1000;
  return { name: suite.name, passed, failed, skipped, seconds, output };
}

function runSuite(suite: Suite): Promise<SuiteResult> {
  return new Promise((resolve) => {
    const began = Date.now();
    const chunks: Buffer[] = [];
    const child = spawn(process.execPath, ["--enable-source-maps", suite.file], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, FORCE_COLOR: "0", NO_COLOR: "1" },
    });
    const collect = (bytes: Buffer) => chunks.push(bytes);
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    // SIGTERM first, so that the suite can take down its namespaces.
    const limit = setTimeout(() => {
      chunks.push(Buffer.from(`\nstopped: no end after ${SUITE_LIMIT_MS / 1000} s\n`));
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 10_000).unref();
    }, SUITE_LIMIT_MS);
    child.on("exit", (code) => {
      clearTimeout(limit);
      // Descendants may hold the pipes open; what was printed until now is what counts.
      setTimeout(() => resolve(judge(suite, code, Buffer.concat(chunks).toString(), began)), 50);
    });
  });
}

function report(result: SuiteResult): void {
  const mark = result.failed > 0 ? "FAIL" : result.passed === 0 ? "skip" : "ok  ";
  const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : "";
  const counts = `${result.passed} passed, ${result.failed} failed${skipped}`;
  process.stdout.write(`${mark} ${result.name}: ${counts} (${result.seconds.toFixed(1)} s)\n`);
  if (result.failed > 0) process.stdout.write(`${result.output.trimEnd()}\n\n`);
}

type Kind = "guest" | "traffic" | "waiting";
type AtOnce = Record<Kind | "all", number>;
const WEIGHT: Record<Kind, number> = { guest: 2, traffic: 1, waiting: 1 };

function kindOf({ folder }: Suite): Kind {
  if (GUESTS.has(folder)) return "guest";
  return WAITING.has(folder) ? "waiting" : "traffic";
}

/** Takes the next of a queue that may begin beside those that run; those that take long first. */
function takeNext(
  queue: Suite[],
  running: Record<Kind, number>,
  atOnce: AtOnce,
): Suite | undefined {
  for (const kind of ["guest", "traffic", "waiting"] as const) {
    const used = running.traffic + running.waiting + WEIGHT.guest * running.guest;
    if (running[kind] >= atOnce[kind] || used + WEIGHT[kind] > atOnce.all) continue;
    const at = queue.findIndex((suite) => kindOf(suite) === kind);
    if (at >= 0) return queue.splice(at, 1)[0];
  }
  return undefined;
}

async function runSuites(suites: Suite[], atOnce: AtOnce): Promise<SuiteResult[]> {
  const results: SuiteResult[] = [];
  const queue = [...suites];
  const running = { guest: 0, traffic: 0, waiting: 0 };
  const begun = new Set<Promise<void>>();
  const begin = async (suite: Suite) => {
    running[kindOf(suite)]++;
    const result = await runSuite(suite);
    running[kindOf(suite)]--;
    report(result);
    results.push(result);
  };
  while (queue.length > 0 || begun.size > 0) {
    const next = takeNext(queue, running, atOnce);
    if (next === undefined) {
      await Promise.race(begun);
      continue;
    }
    const work: Promise<void> = begin(next).finally(() => begun.delete(work));
    begun.add(work);
  }
  return results;
}

/** The matrix of the interop suites as one table: the heads of later parts are left out. */
function matrixOf(results: readonly SuiteResult[]): string {
  const matrix = results.filter(({ name }) => name.startsWith("test/interop/"));
  const inOrder = matrix.sort((a, b) => a.name.localeCompare(b.name));
  const rows = inOrder.flatMap(({ output }) => output.match(/^\| .*\|$/gm) ?? []);
  return [...new Set(rows)].map((row) => `${row}\n`).join("");
}

/** What the fuzz suites say that they ran. */
function fuzzedOf(results: readonly SuiteResult[]): string {
  const said = results.flatMap(({ output }) => output.match(/^fuzzed .*$/gm) ?? []);
  return said.map((line) => `${line}\n`).join("");
}

/** What skipped tests said they need. */
function reasonsOf(results: readonly SuiteResult[]): string {
  const said = results.flatMap(({ output }) => [...output.matchAll(/SKIPPED \((.*)\): /g)]);
  const reasons = new Set(said.map((match) => match[1] ?? ""));
  return reasons.size === 0 ? "see the suites above" : [...reasons].join("; ");
}

function chosenSuites(): Suite[] {
  const suites = findSuites();
  const only = process.argv.indexOf("--only");
  const word = only < 0 ? undefined : process.argv[only + 1];
  if (word !== undefined) return suites.filter((s) => s.name.includes(word));
  if (process.argv.includes("--unit")) return suites.filter((s) => !HEAVY.has(s.folder));
  return suites;
}

async function main(): Promise<void> {
  const suites = chosenSuites();
  if (suites.length === 0) {
    process.stderr.write("test/run: no suite of that name\n");
    process.exit(2);
  }
  const light = suites.filter((s) => !HEAVY.has(s.folder));
  const heavy = suites.filter((s) => HEAVY.has(s.folder));
  const cpus = availableParallelism();
  const everywhere = { all: cpus, guest: cpus, traffic: cpus, waiting: cpus };
  const first = await runSuites(light, everywhere);
  const last = await runSuites(heavy, HEAVY_AT_ONCE);
  const results = [...first, ...last];
  const sum = (key: "passed" | "failed" | "skipped") => results.reduce((n, r) => n + r[key], 0);
  process.stdout.write(matrixOf(results));
  process.stdout.write(fuzzedOf(results));
  if (sum("skipped") > 0) {
    process.stdout.write(`skipped: ${sum("skipped")} (${reasonsOf(results)})\n`);
  }
  const failed = results.filter((r) => r.failed > 0).map((r) => r.name);
  if (failed.length > 0) process.stdout.write(`failed suites: ${failed.join(", ")}\n`);
  process.stdout.write(`${sum("passed")} passed, ${sum("failed")} failed\n`);
  process.exitCode = failed.length > 0 ? 1 : 0;
}

await main();
