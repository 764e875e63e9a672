// meshd join in this process: what the agent is given, what is remembered, where tokens come from.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentProcessOptions } from "../../src/cli/index.js";
import { pidFile, rememberProcess, runningPid } from "../../src/cli/service/process-files.js";
import { fakeAgent, makeWorld, STATUS, type World } from "./world.js";

const test = suite<{ world: World }>("join");
test.before.each((given) => {
  given.world = makeWorld();
});
test.after.each(({ world }) => world.remove());

/** Runs `join --foreground` with an agent that only notes what it was given. */
async function joinWith(
  world: World,
  words: string[],
  more: { environment?: Record<string, string>; input?: string; fail?: boolean } = {},
) {
  let given: AgentProcessOptions | undefined;
  let pidWhileRunning: number | undefined;
  const environment = { MESHD_STATE_DIR: world.stateDir, MESHD_RUN_DIR: world.runDir };
  const outcome = await world.run(["join", "--foreground", ...words], {
    environment: { ...environment, ...more.environment },
    readInput: () => Promise.resolve(more.input ?? ""),
    runAgent: (options) => {
      given = options;
      pidWhileRunning = runningPid(world, "agent");
      if (more.fail) return Promise.reject(new Error("the token has expired"));
      options.onReady?.();
      return Promise.resolve(0);
    },
  });
  return { ...outcome, given, pidWhileRunning };
}

/** Options without functions, as plain data. */
const dataOf = (options: AgentProcessOptions | undefined): unknown =>
  JSON.parse(JSON.stringify(options ?? null));

test("what nobody set is left to the mesh: the agent gets directories and version alone", async ({
  world,
}) => {
  const { code, given } = await joinWith(world, ["a-token"]);
  assert.is(code, 0);
  assert.equal(dataOf(given), {
    stateDir: world.stateDir,
    runDir: world.runDir,
    deviceName: "mesh0",
    version: "9.9.9",
    token: "a-token",
  });
  assert.type(given?.log, "function");
});

test("a setting that is true or false may stand alone as a flag", async ({ world }) => {
  const ways = [
    { words: ["--low-latency", "a-token"], wanted: true },
    { words: ["--lowLatency", "true", "a-token"], wanted: true },
    { words: ["a-token", "--low-latency=false"], wanted: false },
    { words: ["--low-latency", "false", "a-token"], wanted: false },
  ];
  for (const { words, wanted } of ways) {
    const { code, given, err } = await joinWith(world, words);
    assert.is(code, 0, err);
    assert.equal([given?.lowLatency, given?.token], [wanted, "a-token"], words.join(" "));
  }
  const { code, err } = await joinWith(world, ["a-token", "--low-latency=maybe"]);
  assert.is(code, 2);
  assert.match(err, "lowLatency");
});

test("flags, variables and the file reach the agent", async ({ world }) => {
  mkdirSync(world.stateDir);
  writeFileSync(
    join(world.stateDir, "meshd.yaml"),
    "deviceName: m1\nmetricsListen: 127.0.0.1:99\n",
  );
  const flags = ["--workers", "4", "--underlayAddress", "192.0.2.1", "--tunnel-port", "9000"];
  const environment = { MESHD_MTU: "1400", MESHD_NATS: "nats://a:1,nats://b:2" };
  const { given } = await joinWith(world, ["t", "--name", "n1", ...flags], { environment });
  assert.equal(dataOf(given), {
    stateDir: world.stateDir,
    runDir: world.runDir,
    name: "n1",
    servers: ["nats://a:1", "nats://b:2"],
    deviceName: "m1",
    workers: 4,
    underlayAddress: "192.0.2.1",
    tunnelPort: 9000,
    mtu: 1400,
    metricsListen: { host: "127.0.0.1", port: 99 },
    version: "9.9.9",
    token: "t",
  });
});

test("a start without flags is the node of the first join; a flag changes what it names", async ({
  world,
}) => {
  await joinWith(world, ["t", "--name", "n1", "--workers", "4", "--device-name", "m7"]);
  const again = await joinWith(world, []);
  assert.is(again.given?.token, undefined);
  assert.equal([again.given?.name, again.given?.workers, again.given?.deviceName], ["n1", 4, "m7"]);
  const changed = await joinWith(world, ["--workers", "2"]);
  assert.equal([changed.given?.name, changed.given?.workers], ["n1", 2]);
  const last = await joinWith(world, []);
  assert.is(last.given?.workers, 2);
});

test("a token comes from standard input, a file or a variable, and is trimmed", async ({
  world,
}) => {
  const file = join(world.dir, "token");
  writeFileSync(file, "from-file\n");
  assert.is((await joinWith(world, ["-"], { input: " from-input\n" })).given?.token, "from-input");
  assert.is((await joinWith(world, ["--token-file", file])).given?.token, "from-file");
  const environment = { MESHD_TOKEN: "from-variable" };
  assert.is((await joinWith(world, [], { environment })).given?.token, "from-variable");
});

test("nothing, or several words, is no token; the agent is not started", async ({ world }) => {
  for (const input of ["", "\n", "two words"]) {
    const { code, err, given } = await joinWith(world, ["-"], { input });
    assert.is(code, 1);
    assert.match(err, /standard input holds no token/);
    assert.is(given, undefined);
  }
  const missing = await joinWith(world, ["--token-file", join(world.dir, "none")]);
  assert.match(missing.err, /--token-file cannot be read: ENOENT/);
});

test("a token on its way is used once and is gone, also after a failure", async ({ world }) => {
  mkdirSync(world.stateDir);
  const pending = join(world.stateDir, "pending-token");
  for (const fail of [false, true]) {
    writeFileSync(pending, "passed-on\n");
    const { given, code } = await joinWith(world, [], { fail });
    assert.is(given?.token, "passed-on");
    assert.is(code, fail ? 1 : 0);
    assert.not.ok(existsSync(pending));
  }
});

test("the process file is there while the agent runs, private, and gone afterwards", async ({
  world,
}) => {
  const { pidWhileRunning } = await joinWith(world, ["t"]);
  assert.is(pidWhileRunning, process.pid);
  assert.not.ok(existsSync(pidFile(world, "agent")));
  assert.is(statSync(world.stateDir).mode & 0o777, 0o700);
  assert.is(statSync(join(world.stateDir, "settings.json")).mode & 0o777, 0o600);
});

test("what is remembered holds no token and no directories", async ({ world }) => {
  await joinWith(world, ["secret-token", "--workers", "2"]);
  const text = readFileSync(join(world.stateDir, "settings.json"), "utf8");
  assert.equal(JSON.parse(text), { settings: { workers: 2 } });
});

test("flags of a join that failed do not bind the next one", async ({ world }) => {
  await joinWith(world, ["t", "--workers", "2"]);
  const failed = await joinWith(world, ["t", "--workers", "3"], { fail: true });
  assert.is(failed.given?.workers, 3);
  assert.is((await joinWith(world, [])).given?.workers, 2);
});

test("a YAML file that was named is found again without being named", async ({ world }) => {
  const file = join(world.dir, "n1.yaml");
  writeFileSync(file, "workers: 5\n");
  await joinWith(world, ["t", "--config", file]);
  assert.is((await joinWith(world, [])).given?.workers, 5);
  writeFileSync(file, "workers: 6\n");
  assert.is((await joinWith(world, [])).given?.workers, 6);
  assert.is((await joinWith(world, ["--workers", "7"])).given?.workers, 7);
});

test("a damaged memory of settings is refused by its path", async ({ world }) => {
  mkdirSync(world.stateDir);
  writeFileSync(join(world.stateDir, "settings.json"), "{");
  const { code, err } = await joinWith(world, []);
  assert.is(code, 2);
  assert.match(err, /settings\.json: is damaged; remove it/);
});

test("join while the agent runs: a no-op without a token, refused with one", async ({ world }) => {
  rememberProcess(world, "agent");
  const agent = await fakeAgent(world.runDir, () => STATUS);
  const quiet = await world.run(["join"]);
  const refused = await world.run(["join", "a-token"]);
  await agent.stop();
  assert.is(quiet.code, 0);
  assert.match(quiet.out, /^node n1 of mesh mesh: PodCIDR 10\.244\.0\.0\/24, mesh0 mtu 1450/);
  assert.is(refused.code, 1);
  assert.match(refused.err, /already a node \(process \d+\); 'meshd leave' ends that first/);
});

test("flags that a running agent was not started with are refused, not ignored", async ({
  world,
}) => {
  await joinWith(world, ["t", "--workers", "2"]);
  writeFileSync(join(world.stateDir, "meshd.yaml"), "deviceName: m1\n");
  rememberProcess(world, "agent");
  const agent = await fakeAgent(world.runDir, () => STATUS);
  const same = ["join", "--workers", "2", "--device-name", "m1", "--name", "n1"];
  const outcomes = [same, ["join", "--mtu", "1400"], ["join", "--name", "n7"]].map((words) =>
    world.run(words),
  );
  const [kept, mtu, name] = await Promise.all(outcomes);
  await agent.stop();
  assert.is(kept?.code, 0, kept?.err);
  assert.is(mtu?.code, 1);
  assert.match(mtu?.err ?? "", /^meshd: --mtu 1400: the agent runs already .*down --agent/);
  assert.is(name?.code, 1);
  assert.match(name?.err ?? "", /'meshd node rename n1 n7'/);
  const text = readFileSync(join(world.stateDir, "settings.json"), "utf8");
  assert.equal(JSON.parse(text), { settings: { workers: 2 } }, "nor are they remembered");
});

test.run();
