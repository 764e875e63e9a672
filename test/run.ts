// Runs every suite in a process of its own, a few at a time, and adds up what uvu counted.
// The last line is "N passed, N failed"; skipped tests are said on a line of their own.
//
//   node dist/test/run.js [--unit | --only PART[,PART...]]    PART: of the names of suites
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism, setPriority } from "node:os";
import { join, relative } from "node:path";

const ROOT = process.cwd();
const SUITE_LIMIT_MS = 300_000;
/** For a suite to take down its labs, on a busy machine. */
const END_LIMIT_MS = 30_000;
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
/**
 * What light suites yield to the others: they only compute, and take what these leave idle while
 * they wait. A nice value.
 */
const YIELDS = 10;
/** Those that take longest begin first, else one of them would run alone at the end: seconds. */
const SECONDS: Record<string, number> = {
  "mesh/bench": 100,
  "mesh/settings": 100,
  "mesh/survival": 100,
  "mesh/kernel-peer": 100,
  "mesh/encapsulations": 100,
  "netns/encapsulations": 95,
  "mesh/native": 90,
  "lab/lab": 85,
  "chaos/chaos": 80,
  "interop/pptp": 80,
  "mesh/cluster": 80,
  "control/race": 62,
  "control/server-loss": 60,
  "mesh/liveness": 60,
  "assembly/fuzz/vxlan": 57,
  "mesh/live-change": 55,
  "assembly/fuzz/udp": 54,
  "control/every-step": 44,
  "interop/gre": 42,
  "mesh/pptp": 42,
  "assembly/fuzz/ipip": 42,
  "mesh/hosts": 41,
  "fuzz/state-files": 41,
  "interop/geneve": 40,
  "interop/vxlan": 40,
  "agent/path-mtu": 38,
  "mesh/refusals": 38,
  "control/revocation": 37,
  "assembly/fuzz/gre": 36,
  "mesh/idle": 36,
  "interop/ipip": 35,
  "assembly/fuzz/geneve": 35,
  "node-tun/sanitizer": 34,
  "interop/pptp-mesh": 32,
  "bench/kernels": 32,
  "bench/node-bench": 32,
  "interop/udp": 30,
  "agent/node-life": 29,
  "control/lost-store": 29,
  "agent/places": 28,
  "agent/path-mtu-ipv6": 28,
  "netns/steering": 25,
  "fuzz/requests": 24,
  "control/session": 24,
  "mesh/traffic": 22,
  "netns/outer-fragments": 22,
  "netns/raw-sockets": 20,
  "assembly/fuzz/pptp": 19,
  "netns/kernel-vxlan": 19,
  "mesh/bgp": 18,
  "netns/checksums": 18,
  "mesh/attacker": 18,
  "control/admin": 18,
  "control/older-store": 18,
  "pods/pods": 17,
  "control/cluster": 17,
  "mesh/pods": 16,
  "agent/many-agents": 16,
  "fuzz/tokens": 16,
  "agent/admitted": 16,
  "cli/node": 15,
  "control/admins": 14,
  "fuzz/settings": 14,
  "datapath/open": 14,
  "control/users": 14,
  "netns/link-events": 14,
  "bench/carriers": 14,
  "control/join": 14,
  "netns/pptp-call": 13,
  "package/pack": 12,
  "netns/worker-restart": 12,
  "ppp/fuzz": 12,
};

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

const children = new Set<ChildProcess>();

/** Ends the suites that run: SIGTERM, so that each takes down its namespaces and processes. */
async function stopAll(): Promise<void> {
  const ends = [...children].map((child) => new Promise((resolve) => child.once("exit", resolve)));
  for (const child of children) child.kill("SIGTERM");
  await Promise.race([
    Promise.all(ends),
    new Promise((resolve) => setTimeout(resolve, END_LIMIT_MS)),
  ]);
  for (const child of children) child.kill("SIGKILL");
  process.stderr.write("test/run: stopped by a signal\n");
  process.exit(1);
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
    children.add(child);
    // Before it starts anything of its own: what it starts inherits it.
    if (kindOf(suite) === "light" && child.pid !== undefined) setPriority(child.pid, YIELDS);
    const collect = (bytes: Buffer) => chunks.push(bytes);
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    // SIGTERM first, so that the suite can take down its namespaces.
    const limit = setTimeout(() => {
      chunks.push(Buffer.from(`\nstopped: no end after ${SUITE_LIMIT_MS / 1000} s\n`));
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), END_LIMIT_MS).unref();
    }, SUITE_LIMIT_MS);
    child.on("exit", (code) => {
      children.delete(child);
      clearTimeout(limit);
      // Descendants may hold the pipes open; what was printed until now is what counts.
      setTimeout(() => resolve(judge(suite, code, Buffer.concat(chunks).toString(), began)), 50);
    });
  });
}

/** What a suite that passed wants to have said: "note: ..." at the beginning of a line. */
const NOTES = /^note: .*$/gm;

function report(result: SuiteResult): void {
  const mark = result.failed > 0 ? "FAIL" : result.passed === 0 ? "skip" : "ok  ";
  const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : "";
  const counts = `${result.passed} passed, ${result.failed} failed${skipped}`;
  process.stdout.write(`${mark} ${result.name}: ${counts} (${result.seconds.toFixed(1)} s)\n`);
  if (result.failed > 0) process.stdout.write(`${result.output.trimEnd()}\n\n`);
  else for (const note of result.output.match(NOTES) ?? []) process.stdout.write(`${note}\n`);
}

type Kind = "guest" | "traffic" | "waiting" | "light";
type AtOnce = Record<Kind | "all", number>;
const WEIGHT: Record<Kind, number> = { guest: 2, traffic: 1, waiting: 1, light: 0 };
const KINDS = ["guest", "traffic", "waiting", "light"] as const;

/** So many side by side: of each kind, and in all by weight; light ones are no burden to others. */
function limitsOf(cpus: number): AtOnce {
  return { all: 5, guest: 1, traffic: 3, waiting: 4, light: Math.max(1, cpus - 2) };
}

function kindOf({ folder }: Suite): Kind {
  if (!HEAVY.has(folder)) return "light";
  if (GUESTS.has(folder)) return "guest";
  return WAITING.has(folder) ? "waiting" : "traffic";
}

/** Takes the next of a queue that may begin beside those that run; those that take long first. */
function takeNext(
  queue: Suite[],
  running: Record<Kind, number>,
  atOnce: AtOnce,
): Suite | undefined {
  for (const kind of KINDS) {
    const used = KINDS.reduce((sum, one) => sum + WEIGHT[one] * running[one], 0);
    if (running[kind] >= atOnce[kind] || used + WEIGHT[kind] > atOnce.all) continue;
    const at = queue.findIndex((suite) => kindOf(suite) === kind);
    if (at >= 0) return queue.splice(at, 1)[0];
  }
  return undefined;
}

async function runSuites(suites: readonly Suite[]): Promise<SuiteResult[]> {
  const results: SuiteResult[] = [];
  const seconds = ({ name }: Suite) => SECONDS[name.replace("test/", "")] ?? 0;
  const queue = [...suites].sort((a, b) => seconds(b) - seconds(a));
  const running: Record<Kind, number> = { guest: 0, traffic: 0, waiting: 0, light: 0 };
  const begun = new Set<Promise<void>>();
  const cpus = availableParallelism();
  const begin = async (suite: Suite) => {
    running[kindOf(suite)]++;
    const result = await runSuite(suite);
    running[kindOf(suite)]--;
    report(result);
    results.push(result);
  };
  while (queue.length > 0 || begun.size > 0) {
    const limits = limitsOf(cpus);
    // Nobody is left to yield to.
    if (running.guest + running.traffic + running.waiting === 0) limits.light = cpus;
    const next = takeNext(queue, running, limits);
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
  const words = only < 0 ? undefined : process.argv[only + 1]?.split(",");
  if (words !== undefined) {
    return suites.filter((s) => words.some((word) => s.name.includes(word)));
  }
  if (process.argv.includes("--unit")) return suites.filter((s) => !HEAVY.has(s.folder));
  return suites;
}

async function main(): Promise<void> {
  const suites = chosenSuites();
  if (suites.length === 0) {
    process.stderr.write("test/run: no suite of that name\n");
    process.exit(2);
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stopAll);
  const results = await runSuites(suites);
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
