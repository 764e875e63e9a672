// One real nats-server process for a mesh: configuration, start, readiness, adoption after a crash
// of its parent, stop.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, natsServerConfig, type ServerCertificate } from "../../control/index.js";
import { type CertificateOptions, certificateFor, keepRenewed } from "./certificate.js";
import { NatsdError } from "./errors.js";

export interface NatsServerOptions extends Omit<CertificateOptions, "host"> {
  /** Directory for configuration, log, pid, certificate, JetStream and accounts; made if absent. */
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
  /** Its certificate of now; null: it has no TLS. */
  readonly certificate: ServerCertificate | null;
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
  const own = { ...options, host };
  const certificate = await certificateFor(own);
  const running = await findRunning(place);
  const { cluster } = options;
  const isMeant = running?.host === host && [0, running.port].includes(options.port);
  const mark = { cluster: clusterMark(cluster), tls: certificate !== null };
  if (running && isMeant && running.tls === mark.tls && running.cluster === mark.cluster) {
    if (certificate?.isNew) signalTo(running.pid, "SIGHUP");
    return handle(running, place, { own, certificate }, true);
  }
  if (running) await stopProcess(running.pid, place);
  const binary = options.binary ?? (await findBinary());
  const port = await freePort(host, options.port);
  const settings = { host, port, storeDir: dir, ...(certificate && { tls: certificate }) };
  const config = await natsServerConfig(options.mesh, { ...settings, ...(cluster && { cluster }) });
  await writeFile(place.config, config, { mode: 0o600 });
  const child = await launch(binary, place, options.detached ?? false);
  const server = { host, port, pid: child.pid ?? 0, ...mark };
  await waitReady(child, place, server, options.timeout_ms ?? 15_000);
  try {
    await writeFile(place.pid, JSON.stringify(server), { mode: 0o600 });
  } catch (error) {
    // Nobody would find it again.
    await stopProcess(server.pid, place).catch(() => undefined);
    throw error;
  }
  if (options.detached) child.unref();
  return handle(server, place, { own, certificate }, false);
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
  const place = placeIn(dir);
  const running = await findRunning(place);
  if (running) await stopProcess(running.pid, place);
  return running !== null;
}

/** A server that runs is another when the cluster it was started for is. */
function clusterMark(cluster: Cluster | undefined): string {
  if (cluster === undefined) return "";
  const { servers, self, secret } = cluster;
  return createHash("sha256").update(JSON.stringify({ servers, self, secret })).digest("hex");
}

/** What is kept of a server that runs. */
interface Running {
  host: string;
  port: number;
  pid: number;
  cluster: string;
  tls: boolean;
}

interface Certificates {
  own: CertificateOptions;
  certificate: ServerCertificate | null;
}

function handle(
  { host, port, pid, cluster, tls }: Running,
  place: Place,
  { own, certificate }: Certificates,
  adopted: boolean,
): NatsServer {
  let now = certificate;
  const server = {
    ...{ host, port, pid, cluster },
    url: `${tls ? "tls" : "nats"}://${reached(host)}:${port}`,
    adopted,
    log: place.log,
    get certificate() {
      return now;
    },
    running: () => isOurs(pid, place),
    stop: () => stopProcess(pid, place),
  };
  const reload = () => signalTo(pid, "SIGHUP");
  if (certificate !== null) {
    keepRenewed(own, { running: server.running, reload }, (renewed) => {
      now = renewed;
    });
  }
  return server;
}

/** How a client on this host reaches who listens on an address, as part of a URL. */
function reached(host: string): string {
  const local = localOf(host);
  return local.includes(":") ? `[${local}]` : local;
}

const localOf = (host: string) => (host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host);

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
  const host = localOf(server.host);
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
async function findRunning(place: Place): Promise<Running | null> {
  try {
    const { host, port, pid, cluster = "", tls } = JSON.parse(await readFile(place.pid, "utf8"));
    if (typeof host !== "string" || !Number.isInteger(port) || !Number.isInteger(pid)) return null;
    const found = { host, port, pid, cluster: String(cluster), tls: tls === true };
    return (await isOurs(pid, place)) ? found : null;
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
