// meshd bench: throughput, loss and delay between two nodes, measured by their agents' children.
import type { AdminClient } from "../../control/index.js";
import {
  type AskNode,
  type BenchReport,
  type BenchRun,
  benchRows,
  isCongestion,
  isMeasure,
  MEASURES,
  type MeasureName,
  type NetworkAnswer,
  runBench,
  SECONDS_DEFAULT,
  SECONDS_MAX,
} from "../bench/index.js";
import { checkValue, kinds } from "../config/index.js";
import { withAdmin } from "./admin.js";
import type { AgentStatus } from "./agent-answers.js";
import { askAgent } from "./agent-client.js";
import {
  type Command,
  CommandError,
  type Context,
  type Invocation,
  UsageError,
} from "./command.js";
import { Progress, print, table } from "./output.js";

export const command: Command = {
  usage: "[FROM] TO",
  about:
    "Measures what the mesh carries from one node to another, on the hosts themselves and " +
    "without ssh: an administrator's request over NATS starts a process beside each agent, one " +
    "that sends and one that counts, and both end with the measurement. With one word it sends " +
    "from the node on this host; with two it may be run wherever administrators' requests are " +
    "(--nats, --creds, --mesh). It loads both hosts and what is between them for a minute or " +
    "two. The setting bench says what may be measured: nothing (off), through the tunnel " +
    "(overlay), or the bare underlay beside it (all), which gives the ratio of both. Exit code " +
    "1 when a measurement failed.",
  example: "meshd bench n1 n2\nmeshd bench n2 --only tcp1,ping --seconds 5 --json",
  options: {
    seconds: {
      value: "N",
      about: `length of one transfer, 1 to ${SECONDS_MAX} (default ${SECONDS_DEFAULT})`,
    },
    only: { value: "LIST", about: `some of ${MEASURES.join(",")}` },
    congestion: { value: "NAME", about: "TCP's congestion control (default: the sending host's)" },
  },
  words: [1, 2],
  run,
};

async function run(invocation: Invocation, context: Context): Promise<undefined | number> {
  const measures = measuresOf(invocation);
  const given = invocation.text("seconds") ?? SECONDS_DEFAULT;
  const seconds = checkValue(kinds.integer(1, SECONDS_MAX), "--seconds", given);
  const wish = { measures, seconds, ...congestionOf(invocation) };
  const progress = new Progress(context);
  const onStep = (text: string) => progress.step(text);
  try {
    const report = await withAdmin(invocation.settings, async (admin) => {
      const [from, to] = await endsOf(invocation, admin);
      return runBench(askThrough(admin), { from, to, ...wish, onStep });
    });
    progress.done();
    print(invocation, context, { ...report, figures: benchRows(report) }, reportText);
    return report.runs.some((one) => one.error !== undefined) ? 1 : undefined;
  } finally {
    progress.done();
  }
}

function measuresOf(invocation: Invocation): MeasureName[] {
  const given = invocation.text("only");
  if (given === undefined) return [...MEASURES];
  const names = given.split(",");
  const wrong = names.find((name) => !isMeasure(name));
  if (wrong !== undefined) {
    throw new UsageError(`--only ${wrong}: allowed are ${MEASURES.join(", ")}, comma between them`);
  }
  return MEASURES.filter((name) => names.includes(name));
}

function congestionOf(invocation: Invocation): { congestion?: string } {
  const congestion = invocation.text("congestion");
  if (congestion === undefined) return {};
  if (congestion !== "" && isCongestion(congestion)) return { congestion };
  throw new UsageError(`--congestion ${congestion}: allowed is a name such as cubic`);
}

/** Ids of both nodes. */
async function endsOf(invocation: Invocation, admin: AdminClient): Promise<[string, string]> {
  const [first = "", second] = invocation.words;
  const idOf = async (node: string) => (await admin.nodes.show(node)).nodeId;
  const from = second === undefined ? await nodeHere(invocation) : await idOf(first);
  const to = await idOf(second ?? first);
  if (from !== to) return [from, to];
  throw new UsageError("a bench needs two different nodes; see meshd bench --help");
}

async function nodeHere(invocation: Invocation): Promise<string> {
  try {
    return ((await askAgent(invocation.settings, "/status")) as AgentStatus).node.id;
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "MESHD_FAILED";
    const message = "no node runs on this host to send from: name both, 'meshd bench FROM TO'";
    throw new CommandError(code, message, { cause });
  }
}

/** A request to an agent that nobody hears is not the controllers' fault. */
export function askThrough(admin: { nodes: Pick<AdminClient["nodes"], "bench"> }): AskNode {
  return async (nodeId, request) => {
    try {
      return await admin.nodes.bench(nodeId, request);
    } catch (cause) {
      const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
      if (code === "MESHD_PERMISSION") throw withoutRight(cause);
      if (code !== "MESHD_NO_CONTROLLER") throw cause;
      const message =
        `the agent of node ${nodeId} does not answer: it is not running, has no connection to ` +
        "NATS, or knows no bench; see 'meshd node list'";
      throw new CommandError("MESHD_BENCH_OFFLINE", message, { cause });
    }
  };
}

/** A mesh is made once: its credentials are as old as it is. */
function withoutRight(cause: unknown): CommandError {
  const message =
    "these admin credentials may not ask for a bench: an earlier meshd made them; run 'meshd up' " +
    "of this version where the mesh's keys are, which gives admin.creds the right, and copy that " +
    "file to here if this is another host";
  return new CommandError("MESHD_PERMISSION", message, { cause });
}

const heads = ["FIGURE", "UNIT", "UNDERLAY", "OVERLAY", "OVERLAY / UNDERLAY"];

function reportText(report: BenchReport): string {
  const rows = benchRows(report).map((row) => [
    ...[row.title, row.unit],
    ...[row.underlay, row.overlay, row.ratio].map((value) => value ?? ""),
  ]);
  const lines = [head(report), networkLine("overlay", report.networks.overlay)];
  lines.push(networkLine("underlay", report.networks.underlay));
  const failed = report.runs.flatMap(failureLine);
  return `${lines.join("\n")}\n\n${table(heads, rows)}${failed.join("")}`;
}

function head({ from, to, seconds, congestion }: BenchReport): string {
  const host = ({ node, cpus, kernel }: BenchReport["from"]) =>
    `${node} (${cpus} CPUs, Linux ${kernel})`;
  const tunnel = `${from.tunnelProtocol}, mtu ${from.mtu}, TCP ${congestion}`;
  return `from ${host(from)} to ${host(to)}: ${tunnel}; transfers of ${seconds} s`;
}

function networkLine(name: string, network: NetworkAnswer): string {
  const what = "refused" in network ? `not measured: ${network.refused}` : pathText(network);
  return `${name.padEnd(8)} ${what}`;
}

const pathText = ({ from, to }: { from: string; to: string }) => `${from} to ${to}`;

function failureLine({ measure, network, error }: BenchRun): string[] {
  return error === undefined ? [] : [`failed   ${measure} over the ${network}: ${error.message}\n`];
}
