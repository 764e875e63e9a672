// Starts a service and returns when it is ready: a systemd unit, or a detached process with a log.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { flagOf, READY_TIMEOUT_MS } from "../../config/index.js";
import { CommandError, type Context, type Invocation } from "../command.js";
import { logFile, type Place, runningPid, type ServiceName, waitFor } from "./process-files.js";
import {
  hasUnit,
  hostSystemd,
  type Systemd,
  startUnit,
  stopUnit,
  systemdFits,
  unitName,
  unitState,
} from "./systemd.js";

/**
 * New objects of a control plane are few: a smaller room for them saves some 9 MB. Each of V8's own
 * threads keeps memory of its own; one does what a service has for them.
 */
const NODE_FLAGS = ["--max-semi-space-size=1", "--v8-pool-size=1"] as const;

export interface Launch<T> {
  service: ServiceName;
  place: Place;
  /** Words after `meshd`; they must hold no secret. */
  argv: readonly string[];
  /** Asked again and again until it gives something. `pid` is the service's process. */
  ready(pid: number): Promise<T | undefined>;
  wantSystemd: boolean;
  /** Used instead of the host's, whatever the place is. */
  systemd?: Systemd;
}

export interface Launched<T> {
  answer: T;
  how: "systemd" | "detached";
}

/**
 * Starts the service unless it runs already, and waits until it is ready.
 * @throws CommandError with the service's own code and line, else MESHD_START_FAILED
 */
export async function launch<T>(context: Context, what: Launch<T>): Promise<Launched<T>> {
  return what.systemd !== undefined || systemdFits(what.place, what.wantSystemd)
    ? { answer: await launchUnit(context, what), how: "systemd" }
    : { answer: await launchDetached(context, what), how: "detached" };
}

async function launchUnit<T>(context: Context, what: Launch<T>): Promise<T> {
  const systemd = what.systemd ?? hostSystemd;
  const isNew = !hasUnit(systemd, what.service);
  const [file, script] = context.program;
  await startUnit(systemd, what.service, [file, ...NODE_FLAGS, script, ...what.argv]);
  const outcome = await waitFor<{ answer: T } | { failed: string }>(async () => {
    const { state, pid, restarts } = await unitState(systemd, what.service);
    if (state === "failed" || state === "inactive" || restarts > 0) return { failed: state };
    const answer = pid === 0 ? undefined : await what.ready(pid);
    return answer === undefined ? undefined : { answer };
  }, READY_TIMEOUT_MS);
  if (outcome !== undefined && "answer" in outcome) return outcome.answer;
  const said = lastWords(await systemd.journal(unitName(what.service)));
  // What is not ready must not go on by itself: the caller is told that nothing was started.
  await stopUnit(systemd, what.service, isNew);
  throw notReady(what.service, said, `journalctl -u ${unitName(what.service)}`);
}

async function launchDetached<T>(context: Context, what: Launch<T>): Promise<T> {
  mkdirSync(what.place.stateDir, { recursive: true, mode: 0o700 });
  const path = logFile(what.place, what.service);
  const log = openSync(path, "a", 0o600);
  const before = fstatSync(log).size;
  const child = spawnDetached(context, what.argv, log);
  closeSync(log);
  let ended = false;
  child.once("exit", () => {
    ended = true;
  });
  const outcome = await waitFor<{ answer: T } | { failed: true }>(async () => {
    const over = ended;
    const pid = runningPid(what.place, what.service);
    const answer = pid === undefined ? undefined : await what.ready(pid);
    if (answer !== undefined) return { answer };
    return over ? { failed: true } : undefined;
  }, READY_TIMEOUT_MS);
  child.unref();
  if (outcome !== undefined && "answer" in outcome) return outcome.answer;
  if (!ended) child.kill("SIGTERM");
  throw notReady(what.service, lastWords(readFrom(path, before)), path);
}

/**
 * Words that run a command in the foreground as it was given here: directories, and what only flags
 * and variables said of the log, because a service sees neither.
 */
export function serviceArgv(words: readonly string[], invocation: Invocation): string[] {
  const { settings, origins, namedFile } = invocation;
  const given = (["logLevel", "logFormat"] as const).filter((name) =>
    ["flag", "variable"].includes(origins[name]),
  );
  return [
    ...words,
    // JSON, so that an error's code comes back to the command that started it.
    ...["--foreground", "--json"],
    ...["--state-dir", settings.stateDir, "--run-dir", settings.runDir],
    ...(namedFile === undefined ? [] : ["--config", namedFile]),
    ...given.flatMap((name) => [`--${flagOf(name)}`, settings[name]]),
  ];
}

function spawnDetached(context: Context, argv: readonly string[], log: number): ChildProcess {
  const [file, script] = context.program;
  // Settings come from files and flags alone, so that a start by hand and one by systemd agree.
  const environment = Object.fromEntries(
    Object.entries(context.environment).filter(([name]) => !name.startsWith("MESHD_")),
  );
  return spawn(file, [...NODE_FLAGS, script, ...argv], {
    detached: true,
    cwd: "/",
    stdio: ["ignore", log, log],
    env: environment,
  });
}

function readFrom(path: string, offset: number): string {
  return readFileSync(path).subarray(offset).toString("utf8");
}

interface LastWords {
  code: string;
  message: string;
}

/** What a meshd command ended with: its JSON error, its line ("meshd: ..."), or its last line. */
function lastWords(text: string): LastWords {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const json = lines.filter((line) => line.startsWith('{"error":')).at(-1);
  const said = lines.filter((line) => line.startsWith("meshd: ")).at(-1);
  const message = said?.slice("meshd: ".length) ?? lines.at(-1)?.slice(0, 300) ?? "";
  return { code: "MESHD_START_FAILED", message, ...(json === undefined ? {} : errorIn(json)) };
}

function errorIn(json: string): Partial<LastWords> {
  try {
    const { code, message } = (JSON.parse(json) as { error: Partial<LastWords> }).error;
    return typeof code === "string" && typeof message === "string" ? { code, message } : {};
  } catch {
    // A line that was cut off: the plain one says the same.
    return {};
  }
}

function notReady(service: ServiceName, said: LastWords, log: string): CommandError {
  if (said.message !== "") return new CommandError(said.code, `${said.message} (log: ${log})`);
  const seconds = READY_TIMEOUT_MS / 1000;
  const message = `the ${service} was not ready within ${seconds} s; look at ${log}`;
  return new CommandError("MESHD_START_FAILED", message);
}
