// Services of the command line: detached processes that become ready or say why not, process files
// that are not fooled by reused numbers, and what is handed to systemd.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Context } from "../../src/cli/index.js";
import { launch } from "../../src/cli/service/launch.js";
import {
  logFile,
  pidFile,
  rememberProcess,
  runningPid,
  stopProcess,
  waitFor,
} from "../../src/cli/service/process-files.js";
import {
  hasUnit,
  type Systemd,
  startUnit,
  stopUnit,
  systemdFits,
  unitState,
  unitText,
} from "../../src/cli/service/systemd.js";
import { makeWorld, type World } from "./world.js";

const test = suite<{ world: World }>("services");
test.before.each((given) => {
  given.world = makeWorld();
  mkdirSync(given.world.stateDir);
});
test.after.each(async ({ world }) => {
  await stopProcess(world, "agent").catch(() => false);
  world.remove();
});

/** A stand-in for the program: argv is [state, run, what it does]. */
const PROGRAM = `
import { rememberProcess, forgetProcess } from ${JSON.stringify(
  resolve("dist/src/cli/service/process-files.js"),
)};
import { writeFileSync } from "node:fs";
const [stateDir, runDir, behaviour] = process.argv.slice(2);
const place = { stateDir, runDir };
if (behaviour === "fail") {
  console.error("2026 info some.event");
  console.error("meshd: the token has expired; ask for another");
  process.exit(1);
}
rememberProcess(place, "agent");
writeFileSync(runDir + "/ready", JSON.stringify(Object.keys(process.env)));
const timer = setInterval(() => {}, 1000);
process.on("SIGTERM", () => { clearInterval(timer); forgetProcess(place, "agent"); });
`;

function contextOf(world: World): Context {
  const script = join(world.dir, "program.mjs");
  writeFileSync(script, PROGRAM);
  return {
    out: () => undefined,
    err: () => undefined,
    terminal: false,
    environment: { ...process.env, MESHD_TEST_SECRET: "1" },
    readInput: () => Promise.resolve(""),
    program: [process.execPath, script],
    version: "0",
    runAgent: () => Promise.resolve(0),
  };
}

function start(world: World, behaviour: string) {
  const { stateDir, runDir } = world;
  return launch(contextOf(world), {
    service: "agent",
    place: world,
    argv: [stateDir, runDir, behaviour],
    ready: (pid) => Promise.resolve(existsSync(join(runDir, "ready")) ? pid : undefined),
    wantSystemd: false,
  });
}

test("a service that becomes ready goes on in its own session, its log is private", async ({
  world,
}) => {
  const { answer: pid, how } = await start(world, "run");
  assert.is(how, "detached");
  assert.is(runningPid(world, "agent"), pid);
  const session = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[3];
  assert.is(session, String(pid));
  assert.is(statSync(logFile(world, "agent")).mode & 0o777, 0o600);
  assert.is(statSync(pidFile(world, "agent")).mode & 0o777, 0o600);
  const names = JSON.parse(readFileSync(join(world.runDir, "ready"), "utf8")) as string[];
  assert.not.ok(names.some((name) => name.startsWith("MESHD_")));
  assert.is(await stopProcess(world, "agent"), true);
  assert.is(runningPid(world, "agent"), undefined);
  assert.not.ok(existsSync(pidFile(world, "agent")));
  assert.is(await stopProcess(world, "agent"), false);
});

test("a service that ends too early is reported with its own line and its log", async ({
  world,
}) => {
  try {
    await start(world, "fail");
    assert.unreachable();
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    assert.is(code, "MESHD_START_FAILED");
    const log = logFile(world, "agent");
    assert.is(message, `the token has expired; ask for another (log: ${log})`);
  }
});

test("a process id that belongs to another process by now is none of ours", async ({ world }) => {
  rememberProcess(world, "agent");
  assert.is(runningPid(world, "agent"), process.pid);
  const [pid, started] = readFileSync(pidFile(world, "agent"), "utf8").trim().split(" ");
  writeFileSync(pidFile(world, "agent"), `${pid} ${Number(started) - 1}\n`);
  assert.is(runningPid(world, "agent"), undefined);
  for (const text of ["", "1 1", "x y", "-5", `${pid}`]) {
    writeFileSync(pidFile(world, "agent"), text);
    assert.is(runningPid(world, "agent"), undefined, text);
  }
});

test("a process that is only a zombie does not run", async ({ world }) => {
  // The shell never waits for its child, which ends at once and stays a zombie.
  const shell = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"]);
  const text = await new Promise<string>((done) =>
    shell.stdout.once("data", (bytes: Buffer) => done(bytes.toString())),
  );
  const stat = () => readFileSync(`/proc/${text.trim()}/stat`, "utf8").split(") ")[1] ?? "";
  assert.ok(await waitFor(() => (stat().startsWith("Z") ? true : undefined), 10_000));
  writeFileSync(pidFile(world, "agent"), `${text.trim()} ${stat().split(" ")[19]}\n`);
  assert.is(runningPid(world, "agent"), undefined);
  shell.kill("SIGKILL");
});

/** systemd as far as we talk to it. */
function fakeSystemd(dir: string, state: string): Systemd & { calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    units: dir,
    async systemctl(argv) {
      calls.push(argv.join(" "));
      return argv[0] === "show" ? `MainPID=77\nActiveState=${state}\nNRestarts=0\n` : "";
    },
    journal: async () => "meshd: no\n",
  };
}

test("a unit runs the program in the foreground, restarts it, and starts at boot", ({ world }) => {
  const argv = ["/usr/bin/node", "/opt/my mesh/bin/meshd", "join", "--foreground", "a%b$c"];
  const text = unitText("agent", argv);
  assert.throws(() => unitText("agent", ["/a\nExecStartPre=/b"]), /cannot stand in a unit file/);
  assert.match(
    text,
    '\nExecStart=/usr/bin/node "/opt/my mesh/bin/meshd" join --foreground "a%%b$$c"\n',
  );
  for (const line of ["Type=exec", "Restart=on-failure", "KillMode=mixed"]) {
    assert.match(text, `\n${line}\n`);
  }
  assert.match(text, "\nAfter=network-online.target meshd-controller.service\n");
  assert.match(text, "\n[Install]\nWantedBy=multi-user.target\n");
  assert.not.match(text, /token/i);
  assert.ok(world.dir.length > 0);
});

test("a unit is written, enabled and started; stopping for good takes it away", async ({
  world,
}) => {
  const systemd = fakeSystemd(world.dir, "active");
  await startUnit(systemd, "controller", ["/usr/bin/node", "/x", "up", "--foreground"]);
  assert.ok(hasUnit(systemd, "controller"));
  assert.equal(await unitState(systemd, "controller"), { state: "active", pid: 77, restarts: 0 });
  await stopUnit(systemd, "controller", true);
  assert.not.ok(hasUnit(systemd, "controller"));
  assert.equal(systemd.calls, [
    "daemon-reload",
    "enable meshd-controller.service",
    "restart meshd-controller.service",
    "show -p ActiveState,MainPID,NRestarts meshd-controller.service",
    "stop meshd-controller.service",
    "disable meshd-controller.service",
    "daemon-reload",
  ]);
});

test("a start by systemd is ready when its process is; a failure is taken back", async ({
  world,
}) => {
  const started = (state: string) => {
    const systemd = fakeSystemd(world.dir, state);
    const { stateDir, runDir } = world;
    const result = launch(contextOf(world), {
      service: "agent",
      place: { stateDir, runDir },
      argv: ["join", "--foreground"],
      ready: (pid) => Promise.resolve(pid === 77 ? "yes" : undefined),
      wantSystemd: true,
      systemd,
    });
    return { systemd, result };
  };
  const good = started("active");
  assert.equal(await good.result, { answer: "yes", how: "systemd" });
  assert.match(readFileSync(join(world.dir, "meshd.service"), "utf8"), / join --foreground\n/);
  await stopUnit(good.systemd, "agent", true);
  const bad = started("failed");
  const error = await bad.result.then(
    () => undefined,
    (reason: Error) => reason,
  );
  assert.is(error?.message, "no (log: journalctl -u meshd)");
  assert.not.ok(hasUnit(bad.systemd, "agent"));
});

test("systemd is for the host's own directories only, and not when refused", ({ world }) => {
  const host = { stateDir: "/var/lib/meshd", runDir: "/run/meshd" };
  assert.is(systemdFits(world, true), false);
  assert.is(systemdFits({ ...host, runDir: world.runDir }, true), false);
  assert.is(systemdFits(host, false), false);
});

test("a process does not take a service over from one that runs", async ({ world }) => {
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const started = readFileSync(`/proc/${other.pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19];
  mkdirSync(world.runDir, { recursive: true });
  writeFileSync(pidFile(world, "controller"), `${other.pid} ${started}\n`);
  assert.throws(() => rememberProcess(world, "controller"), /runs here already/);
  other.kill("SIGKILL");
  await waitFor(() => (runningPid(world, "controller") === undefined ? true : undefined), 10_000);
  rememberProcess(world, "controller");
  assert.is(runningPid(world, "controller"), process.pid);
});

test("an error of the system has a code of ours, and says its own in the line", async ({
  world,
}) => {
  const fails = () =>
    Promise.reject(Object.assign(new Error("bind EADDRINUSE"), { code: "EADDRINUSE" }));
  const { code, err, json } = await world.run(["join", "--foreground", "--json"], {
    runAgent: fails,
  });
  assert.is(code, 1);
  assert.is(err, "meshd: bind EADDRINUSE\n");
  assert.equal(json, { error: { code: "MESHD_FAILED", message: "bind EADDRINUSE" } });
});

test.run();
