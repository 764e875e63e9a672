// meshd cluster status: which servers and controllers of the mesh live, and what is amiss.
import type { ClusterStatus, ServerStatus } from "../../control/index.js";
import { meshHere, withAdmin } from "./admin.js";
import { CommandError, type CommandGroup, type Context, type Invocation } from "./command.js";
import { agoText, print, table } from "./output.js";
import { clusterView } from "./up/cluster.js";

async function status(invocation: Invocation, context: Context): Promise<undefined> {
  const view = await withAdmin(invocation.settings, (admin) => admin.cluster.status()).catch(
    async (cause: unknown) => {
      throw await withLook(invocation, cause);
    },
  );
  print(invocation, context, view, statusText);
}

const unanswered = new Set(["MESHD_NO_NATS", "MESHD_NO_CONTROLLER", "MESHD_TIMEOUT"]);

/** Nobody answers: what can be seen from a host of the cluster says more than that alone. */
async function withLook({ settings }: Invocation, cause: unknown): Promise<unknown> {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const mesh = unanswered.has(code) ? await meshHere(settings).catch(() => undefined) : undefined;
  const view = mesh === undefined ? null : await clusterView(mesh, []);
  if (view === null || !(cause instanceof Error)) return cause;
  const { hosts, missing } = view;
  const there = hosts.filter((host) => !missing.includes(host));
  const least = Math.floor(hosts.length / 2) + 1;
  const message =
    `no controller says how the cluster is (${cause.message}). From here: ` +
    `${list(there)} there, ${list(missing)} away; ` +
    `${least} of ${hosts.length} hosts are needed: 'meshd up' there`;
  return new CommandError(code, message, { cause });
}

const list = (hosts: readonly string[]) => (hosts.length === 0 ? "none" : hosts.join(", "));

function statusText({ servers, controllers, buckets, problems }: ClusterStatus): string {
  const rows = servers.map((server) => {
    const own = controllers.filter(({ host }) => host === server.host);
    return [server.host ?? server.name, stateText(server), own.map(controllerText).join("; ")];
  });
  const others = controllers.filter(({ host }) => !servers.some((one) => one.host === host));
  const strangers = others.map((one) => [one.host, null, controllerText(one)]);
  const hostOf = (name: string | null) => servers.find((one) => one.name === name)?.host ?? name;
  const copies = buckets.map(({ name, wanted, current, leader }) => {
    if (wanted === null) return `bucket      ${name}: nobody leads it\n`;
    const led = leader ? `, led by ${hostOf(leader)}` : "";
    return `bucket      ${name}: ${current} of ${wanted} copies${led}\n`;
  });
  const heads = ["HOST", "NATS-SERVER", "CONTROLLER"];
  const said = problems.length === 0 ? ["all         is well\n"] : problems.map(problemLine);
  return [table(heads, [...rows, ...strangers]), "\n", ...copies, ...said].join("");
}

const problemLine = (problem: string) => `problem     ${problem}\n`;

function stateText({ state, isLeader, isCurrent, version }: ServerStatus): string {
  if (state === "missing") return "missing";
  const how =
    state === "off" ? ", JetStream off" : isLeader ? ", leads" : isCurrent ? "" : ", behind";
  return `up${how} (${version})`;
}

function controllerText({ pid, server, started }: ClusterStatus["controllers"][number]): string {
  return `process ${pid} at ${server}, started ${agoText(started)}`;
}

export const command: CommandGroup = {
  about:
    "The control plane of several hosts: 'meshd up --cluster HOST,HOST,HOST' makes it, " +
    "'meshd up --cluster-join FILE' makes a host one of it.",
  commands: {
    status: {
      usage: "",
      about:
        "Shows which nats-servers and controllers of the mesh live, which are missing, how many " +
        "copies the store has, and what to do. Needs role observer.",
      example: "meshd cluster status --json",
      words: [0, 0],
      run: status,
    },
  },
};
