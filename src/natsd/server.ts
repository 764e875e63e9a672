// One real nats-server process for a mesh: configuration, start, readiness, adoption after a crash
// of its parent, stop.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, type Mesh, natsServerConfig } from "../../control/index.js";
import { NatsdError } from "./errors.js";

export interface NatsServerOptions {
  mesh: Mesh;
  /** Directory for configuration, log, pid, JetStream and accounts; made when absent. */
  dir: string;
  /** Address to listen on; default 127.0.0.1. */
  host?: string;
  /** 0 = any free port. */
  port: number;
  /** The cluster that it is one of; absent: it works alone. */
  cluster?: Cluster;
  /** Goes on when this process ends. */
  detached?: boolean;
  /** Default: searched in PATH, /usr/sbin, /usr/local/bin. */
  binary?: string;
  /** Milliseconds until it must be ready; default 15,000. */
  timeout_ms?: number;
}

export interface NatsServer {
  /** What a client on this host connects to. */
  url: string;
  host: string;
  port: number;
  pid: number;
  /** What it was told of a cluster, as a digest; "" when it works alone. */
  cluster: string;
  /** It was already running for this directory. */
  adopted: boolean;
  /** Path of its log. */
  log: string;
  /** Whether its process still runs. */
  running(): Promise<boolean>;
  /** SIGTERM, then SIGKILL after five seconds; resolves when it is gone. */
  stop(): Promise<void>;
}

interface Place {
  config: string;
  log: string;
  pid: string;
}

/**
 * Starts nats-server and waits until it takes connections. One that already runs for the same
 * directory is adopted, or stopped first when it listens elsewhere than asked for. Errors:
 * MESHD_NO_NATS_SERVER (binary missing), MESHD_PORT_IN_USE, MESHD_NATS_SERVER (it ended; the log's
 * last line).
 */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { dir } = options;
  const host = options.host ?? "127.0.0.1";
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const place = placeIn(dir);
  const running = await findRunning(place);
  const { cluster } = options;
  const isSame = running?.cluster === clusterMark(cluster);
  if (isSame && running.host === host && [0, running.port].includes(options.port)) return running;
  await running?.stop();
  const binary = options.binary ?? (await findBinary());
  const port = await freePort(host, options.port);
  const settings = { host, port, storeDir: dir };
  const config = await natsServerConfig(options.mesh, { ...settings, ...(cluster && { cluster }) });
  await writeFile(place.config, config, { mode: 0o600 });
  const child = await launch(binary, place, options.detached ?? false);
  const server = { host, port, pid: child.pid ?? 0, cluster: clusterMark(cluster) };
  await waitReady(child, place, server, options.timeout_ms ?? 15_000);
  try {
    await writeFile(place.pid, JSON.stringify(server), { mode: 0o600 });
  } catch (error) {
    // Nobody would find it again.
    await stopProcess(server.pid, place).catch(() => undefined);
    throw error;
  }
  if (options.detached) child.unref();
  return handle(server, place, false);
}

function placeIn(dir: string): Place {
  return {
    config: join(dir, "nats-server.conf"),
    log: join(dir, "nats-server.log"),
    pid: join(dir, "nats-server.json"),
  };
}

/** Stops the server that runs for a directory, whoever started it. False when there is none. */
export async function stopNatsServer(dir: string): Promise<boolean> {
  const running = await findRunning(placeIn(dir));
  await running?.stop();
  return running !== null;
}

/** A server that runs is another when the cluster it was started for is. */
function clusterMark(cluster: Cluster | undefined): string {
  if (cluster === undefined) return "";
  const { servers, self, secret } = cluster;
  return createHash("sha256").update(JSON.stringify({ servers, self, secret })).digest("hex");
}

function handle(
  server: { host: string; port: number; pid: number; cluster: string },
  place: Place,
  adopted: boolean,
): NatsServer {
  return {
    ...server,
    url: urlOf(server.host, server.port),
    adopted,
    log: place.log,
    running: () => isOurs(server.pid, place),
    stop: () => stopProcess(server.pid, place),
  };
}

function urlOf(host: string, port: number): string {
  const local = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `nats://${local.includes(":") ? `[${local}]` : local}:${port}`;
}

async function findBinary(): Promise<string> {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/bin"];
  for (const folder of folders) {
    if (folder === "") continue;
    const path = join(folder, "nats-server");
    const there = await access(path, 1).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  throw new NatsdError(
    "MESHD_NO_NATS_SERVER",
    "nats-server was not found: install the Debian package nats-server " +
      "(apt-get install nats-server), " +
      "or use a running one with --nats URL",
  );
}

/** The port asked for, found free by one bind without SO_REUSEPORT; for 0 a free one. */
function freePort(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (cause: NodeJS.ErrnoException) => {
      const busy = cause.code === "EADDRINUSE";
      const why = busy ? "is in use by another program" : `cannot be opened (${cause.code})`;
      const what = `${host} port ${port} ${why}; choose another address or port for nats-server`;
      reject(new NatsdError(busy ? "MESHD_PORT_IN_USE" : "MESHD_NATS_SERVER", what, { cause }));
    });
    probe.listen({ host, port, exclusive: true }, () => {
      const bound = probe.address();
      const free = typeof bound === "object" && bound ? bound.port : port;
      probe.close(() => resolve(free));
    });
  });
}

async function launch(binary: string, place: Place, detached: boolean): Promise<ChildProcess> {
  const log = await open(place.log, "a", 0o600);
  try {
    const child = spawn(binary, ["-c", place.config], {
      stdio: ["ignore", log.fd, log.fd],
      detached,
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (cause) =>
        reject(
          new NatsdError(
            "MESHD_NO_NATS_SERVER",
            `${binary} does not start (${cause.message}): install the Debian package nats-server`,
            { cause },
          ),
        ),
      );
    });
    return child;
  } finally {
    await log.close();
  }
}

/**
 * Ready = the protocol's INFO line comes on a connection; a server that ended is reported with its
 * last log line.
 */
async function waitReady(
  child: ChildProcess,
  place: Place,
  server: { host: string; port: number },
  timeout_ms: number,
): Promise<void> {
  const url = new URL(urlOf(server.host, server.port).replace("nats:", "http:"));
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const greeted = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect({ host, port: server.port });
      const end = (answer: boolean) => {
        socket.destroy();
        resolve(answer);
      };
      socket.setTimeout(1_000, () => end(false));
      socket.once("error", () => end(false));
      socket.once("data", (data) => end(data.toString("latin1").startsWith("INFO ")));
    });
  const deadline = Date.now() + timeout_ms;
  while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
    if (await greeted()) return;
    await sleep(20);
  }
  child.kill("SIGKILL");
  const last = (await readFile(place.log, "utf8").catch(() => "")).trim().split("\n").at(-1) ?? "";
  throw new NatsdError(
    "MESHD_NATS_SERVER",
    `nats-server did not become ready: ${last.slice(0, 300)} (log: ${place.log})`,
  );
}

/**
 * A server that an earlier process started for this directory and that still runs with this
 * configuration.
 */
async function findRunning(place: Place): Promise<NatsServer | null> {
  try {
    const { host, port, pid, cluster = "" } = JSON.parse(await readFile(place.pid, "utf8"));
    if (typeof host !== "string" || !Number.isInteger(port) || !Number.isInteger(pid)) return null;
    const found = { host, port, pid, cluster: String(cluster) };
    return (await isOurs(pid, place)) ? handle(found, place, true) : null;
  } catch {
    return null;
  }
}

/** Compares the command line, so that a reused pid is never taken for ours. */
async function isOurs(pid: number, place: Place): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return line.split("\0").includes(place.config);
}

async function stopProcess(pid: number, place: Place): Promise<void> {
  const killAt = Date.now() + 5_000;
  let signal: NodeJS.Signals | null = "SIGTERM";
  while (await isOurs(pid, place)) {
    if (signal) signalTo(pid, signal);
    signal = Date.now() > killAt ? "SIGKILL" : null;
    await sleep(20);
  }
  await rm(place.pid, { force: true });
}

/** It may have ended a moment ago: that is what was wanted. */
function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
