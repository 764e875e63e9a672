// What meshd itself knows, for a sysdump: settings, the agent's answers, kept state without
// secrets, logs, and the controller's side where it is on this host.
import { existsSync, statSync } from "node:fs";
import { withAdmin } from "../admin.js";
import { askAgent, askAgentText } from "../agent-client.js";
import type { Context, Invocation } from "../command.js";
import { logFile, natsDir, runningPid } from "../service/process-files.js";
import { type Collector, LOG_BYTES_MAX } from "./collector.js";
import { filesBelow, withoutSecretFields } from "./redact.js";

/** What the agent is asked for: each is a file of the archive. */
const QUESTIONS = ["status", "counters", "drops", "fib", "routes", "pods", "calls"];
const AGENT_MAX_MS = 5_000;
const ADMIN_MAX_MS = 5_000;

const STATE_FILES = ["host", "forms", "pods", "settings", "up", "dials"];

export async function collectAgent(collector: Collector, invocation: Invocation): Promise<void> {
  const { settings } = invocation;
  const { stateDir } = settings;
  const ask = async (question: string) => {
    try {
      const answer = await askAgent(settings, `/${question}`, { timeout_ms: AGENT_MAX_MS });
      collector.addJson(`agent/${question}.json`, answer);
    } catch (error) {
      collector.miss(`agent/${question}.json`, error);
    }
  };
  await ask(QUESTIONS[0] ?? "status");
  // One that does not run is said once.
  const isDown = collector.missing.some(({ what }) => what === "agent/status.json");
  if (!isDown) await Promise.all([...QUESTIONS.slice(1).map(ask), metrics(collector, invocation)]);
  await collector.json("agent/membership.json", `${stateDir}/membership.json`, (kept) =>
    withoutSecretFields(withRecords(kept)),
  );
  await collector.json("agent/snapshot.json", `${stateDir}/snapshot.json`, recordsOf);
  for (const name of STATE_FILES) {
    await collector.json(`agent/${name}.json`, `${stateDir}/${name}.json`, withoutSecretFields);
  }
  await collectLogs(collector, settings, "agent");
  await collectProcess(collector, "agent", runningPid(settings, "agent"));
}

async function metrics(collector: Collector, { settings }: Invocation): Promise<void> {
  try {
    collector.add("agent/metrics.txt", await askAgentText(settings, "/metrics", AGENT_MAX_MS));
  } catch (error) {
    collector.miss("agent/metrics.txt", error);
  }
}

/** Signed texts opened: what they say is no secret, their signatures are of no use. */
function recordsOf(kept: unknown): unknown {
  const { meshId, entries } = kept as { meshId?: unknown; entries?: unknown };
  if (!Array.isArray(entries)) return { meshId, entries: null };
  const opened = entries.map(([key, revision, raw]: unknown[]) => ({
    key,
    revision,
    ...open(raw),
  }));
  return { meshId, entries: opened };
}

function withRecords(kept: unknown): unknown {
  const { grants, ...rest } = kept as { grants?: unknown };
  if (!Array.isArray(grants)) return rest;
  return { ...rest, grants: grants.map(({ key, value }) => ({ key, ...open(value) })) };
}

function open(raw: unknown): object {
  try {
    const { record, serial } = JSON.parse(String(raw)) as { record: unknown; serial: unknown };
    return { serial, record: withoutSecretFields(record) };
  } catch {
    return { damaged: true };
  }
}

async function collectLogs(
  collector: Collector,
  place: { stateDir: string; runDir: string },
  name: "agent" | "controller",
): Promise<void> {
  const log = logFile(place, name);
  await collector.file(`logs/${name}.log`, log, LOG_BYTES_MAX);
  await collector.file(`logs/${name}.log.1`, `${log}.1`, LOG_BYTES_MAX);
}

/** Where systemd keeps the logs. */
export async function collectJournal(collector: Collector): Promise<void> {
  if (!existsSync("/run/systemd/system")) return;
  const units = ["meshd.service", "meshd-controller.service"];
  const argv = ["journalctl", "--no-pager", "-o", "short-iso", "-n", "5000"];
  const named = units.flatMap((unit) => ["-u", unit]);
  await collector.program("logs/journal.txt", [...argv, ...named]);
}

async function collectProcess(
  collector: Collector,
  name: string,
  pid: number | null | undefined,
): Promise<void> {
  if (!pid) return;
  for (const file of ["status", "limits", "cgroup", "net/udp", "net/raw"]) {
    const path = `/proc/${pid}/${file}`;
    await collector.file(`processes/${name}-${file.replace("/", "-")}.txt`, path);
  }
}

/** Settings as they count here, and where each comes from. */
export async function collectSettings(
  collector: Collector,
  { settings, origins, namedFile }: Invocation,
): Promise<void> {
  collector.addJson("settings.json", withoutSecretFields({ settings, origins, namedFile }));
  await collector.file("settings.yaml", namedFile ?? "/etc/meshd/meshd.yaml");
}

export async function collectController(
  collector: Collector,
  invocation: Invocation,
): Promise<void> {
  const { settings } = invocation;
  const { stateDir, runDir } = settings;
  const mesh = `${stateDir}/mesh`;
  if (!existsSync(mesh) && !existsSync(natsDir(settings))) return;
  await collector.json("controller/state.json", `${runDir}/controller.json`, withoutSecretFields);
  for (const name of ["mesh.json", "cluster.json", "store-report.json"]) {
    await collector.json(`controller/${name}`, `${mesh}/${name}`, withoutSecretFields);
  }
  await collectLogs(collector, settings, "controller");
  for (const name of ["nats-server.conf", "nats-server.log", "nats-server.log.1"]) {
    await collector.file(`controller/${name}`, `${natsDir(settings)}/${name}`, LOG_BYTES_MAX);
  }
  await collector.program("controller/disk.txt", ["df", "-P", natsDir(settings)]);
  await collector.program("controller/store-size.txt", ["du", "-s", natsDir(settings)]);
  await collectProcess(collector, "controller", runningPid(settings, "controller"));
  if (existsSync(mesh)) await collectAdmin(collector, invocation);
}

/** What a controller answers, while NATS is there. */
async function collectAdmin(collector: Collector, { settings }: Invocation): Promise<void> {
  const ask = withAdmin(settings, async (admin) => {
    const answers = {
      nodes: () => admin.nodes.list(),
      leases: () => admin.leases.list(),
      audit: () => admin.leases.audit(),
      config: () => admin.config.get(),
      peers: () => admin.peers.list(),
      refused: () => admin.refused(),
      cluster: () => admin.cluster.status(),
      store: () => admin.store.report(),
    };
    for (const [name, answer] of Object.entries(answers)) {
      collector.addJson(`controller/${name}.json`, withoutSecretFields(await answer()));
    }
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), ADMIN_MAX_MS);
  });
  try {
    await Promise.race([ask, late]);
  } catch (error) {
    collector.miss("controller's answers", error);
    ask.catch(() => undefined);
  } finally {
    clearTimeout(timer);
  }
}

/** Names, sizes, modes and times of what is kept here, secret files too. */
export function listState(collector: Collector, { settings }: Invocation, context: Context): void {
  const lines = [settings.stateDir, settings.runDir].flatMap((folder) =>
    filesBelow(folder).map((path) => {
      const { mode, size, mtime, uid } = statSync(path, { throwIfNoEntry: false }) ?? {};
      const bits = mode === undefined ? "gone" : (mode & 0o7777).toString(8).padStart(4, "0");
      return `${bits} ${uid} ${size} ${mtime?.toISOString()} ${path}`;
    }),
  );
  collector.add("files.txt", `meshd ${context.version}\n${lines.join("\n")}\n`);
}
