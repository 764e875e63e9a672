// The agent as a service of this host: its options from settings, the run in the foreground, and
// the start that returns when it is ready.
import { readFileSync, rmSync } from "node:fs";
import { kinds, type SettingName, TOKEN_BYTES_MAX } from "../../config/index.js";
import { createLogger, eventLog } from "../../telemetry/index.js";
import type { AgentStatus } from "../agent-answers.js";
import { askAgent } from "../agent-client.js";
import {
  type AgentProcessOptions,
  CommandError,
  type Context,
  type Invocation,
  UsageError,
} from "../command.js";
import { readIfThere, writeSecret } from "../files.js";
import { givenAuthorities } from "../nats-ca.js";
import { launch, serviceArgv } from "./launch.js";
import { limitLogs } from "./log-limit.js";
import { forgetProcess, logFile, rememberProcess, runningPid } from "./process-files.js";

/** Settings that `join` takes as flags. */
export const AGENT_SETTINGS: readonly SettingName[] = [
  "nodeName",
  "deviceName",
  "workers",
  "steering",
  "lowLatency",
  "underlayAddress",
  "underlayInterface",
  "underlayProtocol",
  "tunnelPort",
  "mtu",
  "peerCapacity",
  "prefixCapacity",
  "socketBuffer",
  "metricsListen",
  "bench",
  "pptpServer",
  "pptpFilter",
  "withMesh",
];

/** A token on its way to the process that uses it: command lines are seen by every user. */
export const pendingToken = (stateDir: string) => `${stateDir}/pending-token`;

/**
 * The token from the command line, a file or standard input ("-").
 * @throws UsageError, CommandError MESHD_TOKEN_FILE
 */
export async function readToken(
  invocation: Invocation,
  context: Context,
): Promise<string | undefined> {
  const word = invocation.words[0] ?? context.environment.MESHD_TOKEN;
  const file = invocation.text("token-file");
  if (file !== undefined && invocation.words.length > 0) {
    throw new UsageError("a token and --token-file exclude each other; see meshd join --help");
  }
  if (file === undefined && word !== "-") return word;
  const text = file === undefined ? await context.readInput(TOKEN_BYTES_MAX) : tokenFile(file);
  const token = text.trim();
  if (token !== "" && !/\s/.test(token)) return token;
  const where = file ?? "standard input";
  throw new CommandError("MESHD_TOKEN_FILE", `${where} holds no token; it must hold one alone`);
}

function tokenFile(path: string): string {
  try {
    return readFileSync(path, "utf8").slice(0, TOKEN_BYTES_MAX);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandError("MESHD_TOKEN_FILE", `--token-file cannot be read: ${reason}`, { cause });
  }
}

/** Settings to the agent's options. What nobody set is left out: the mesh's own setting counts. */
export function agentOptions(invocation: Invocation, context: Context): AgentProcessOptions {
  const { settings, origins } = invocation;
  const own = <T>(name: SettingName, value: T | null | undefined): T | undefined =>
    origins[name] === "default" ? undefined : (value ?? undefined);
  const logger = createLogger({ level: settings.logLevel, format: settings.logFormat });
  const listen = settings.metricsListen && kinds.splitHostPort(settings.metricsListen);
  const options = {
    stateDir: settings.stateDir,
    runDir: settings.runDir,
    name: settings.nodeName,
    servers: settings.nats,
    ca: givenAuthorities(settings),
    deviceName: settings.deviceName,
    workers: own("workers", settings.workers),
    steering: own("steering", settings.steering),
    lowLatency: own("lowLatency", settings.lowLatency),
    underlayAddress: own("underlayAddress", settings.underlayAddress),
    underlayInterface: own("underlayInterface", settings.underlayInterface),
    underlayProtocol: own("underlayProtocol", settings.underlayProtocol),
    tunnelPort: own("tunnelPort", settings.tunnelPort),
    mtu: settings.mtu === "auto" ? undefined : own("mtu", settings.mtu),
    peerCapacity: settings.peerCapacity,
    prefixCapacity: settings.prefixCapacity,
    socketBuffer: settings.socketBuffer,
    metricsListen: listen || undefined,
    bench: own("bench", settings.bench),
    pptpServer: own("pptpServer", settings.pptpServer),
    pptpFilter: own("pptpFilter", settings.pptpFilter),
    withMesh: own("withMesh", settings.withMesh),
    version: context.version,
    log: eventLog(logger),
  };
  return withoutUndefined(options);
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function withoutUndefined<T extends { stateDir: string; runDir: string }>(
  given: T,
): Partial<Defined<T>> & { stateDir: string; runDir: string } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Partial<Defined<T>> & { stateDir: string; runDir: string };
}

/** Runs the agent in this process until it ends; gives its exit code. */
export async function runInForeground(
  invocation: Invocation,
  context: Context,
  token: string | undefined,
): Promise<number> {
  const place = invocation.settings;
  const pending = pendingToken(place.stateDir);
  const used = token ?? readIfThere(pending)?.trim();
  rememberProcess(place, "agent");
  const stopLimit = limitLogs([logFile(place, "agent")]);
  try {
    return await context.runAgent({
      ...agentOptions(invocation, context),
      ...(used === undefined ? {} : { token: used }),
      onReady: () => rmSync(pending, { force: true }),
    });
  } finally {
    stopLimit();
    // A token that did not work would not work the next time either.
    rmSync(pending, { force: true });
    forgetProcess(place, "agent");
  }
}

/** Starts the agent in the background; gives its status when it is ready. */
export async function startAgent(
  invocation: Invocation,
  context: Context,
  token: string | undefined,
): Promise<{ answer: AgentStatus; how: "systemd" | "detached" }> {
  const { settings } = invocation;
  const { stateDir } = settings;
  if (token !== undefined) writeSecret(pendingToken(stateDir), `${token}\n`);
  try {
    return await launch(context, {
      service: "agent",
      place: settings,
      argv: serviceArgv(["join"], invocation),
      ready: (pid) => readyStatus(invocation, pid),
      wantSystemd: !invocation.has("no-systemd"),
    });
  } finally {
    rmSync(pendingToken(stateDir), { force: true });
  }
}

async function readyStatus(invocation: Invocation, pid: number): Promise<AgentStatus | undefined> {
  try {
    const status = (await askAgent(invocation.settings, "/status")) as AgentStatus;
    return status.ready && status.pid === pid ? status : undefined;
  } catch {
    // The socket is not there yet, or still the one of a process that was killed.
    return undefined;
  }
}

export function agentPid(invocation: Invocation): number | undefined {
  return runningPid(invocation.settings, "agent");
}
