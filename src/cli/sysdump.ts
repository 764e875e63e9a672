// meshd sysdump: one archive for a bug report, without secrets; works without NATS, without an
// agent, and as any user with what that user can read.
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { type Command, CommandError, type Context, type Invocation } from "./command.js";
import { count, Progress, print } from "./output.js";
import { Collector, type Missing } from "./sysdump/collector.js";
import { collectHost } from "./sysdump/host.js";
import {
  collectAgent,
  collectController,
  collectJournal,
  collectSettings,
  listState,
} from "./sysdump/mesh.js";
import { Redactor, secretsBelow } from "./sysdump/redact.js";

interface Dumped {
  file: string;
  files: number;
  missing: Missing[];
}

/** "2026-11-22T164012": in a file's name. */
const timeText = () => new Date().toISOString().slice(0, 19).replaceAll(":", "");

async function run(invocation: Invocation, context: Context): Promise<undefined> {
  const host = hostname().replace(/[^A-Za-z0-9-]/g, "-");
  const name = `meshd-sysdump-${host}-${timeText()}`;
  const file = resolve(invocation.text("output") ?? `${name}.tar.gz`);
  if (existsSync(file)) {
    throw new CommandError("MESHD_FILE_EXISTS", `${file} is there already; name another --output`);
  }
  const progress = new Progress(context);
  const collector = new Collector(name, new Redactor(secretsBelow(invocation.settings.stateDir)));
  try {
    progress.step("asking host and agent");
    await collect(collector, invocation, context);
    progress.step("writing the archive");
    await collector.archive(file);
  } finally {
    progress.done();
    collector.remove();
  }
  const dumped: Dumped = { file, files: collector.count, missing: collector.missing };
  print(invocation, context, dumped, dumpedText);
  return undefined;
}

async function collect(
  collector: Collector,
  invocation: Invocation,
  context: Context,
): Promise<void> {
  const uid = process.geteuid?.() ?? null;
  await Promise.all([
    collectHost(collector),
    collectSettings(collector, invocation),
    collectAgent(collector, invocation),
    collectController(collector, invocation),
    collectJournal(collector),
  ]);
  listState(collector, invocation, context);
  if (uid !== 0)
    collector.miss("whatever is root's alone", `made by user ${uid}; as root it has more`);
  collector.addJson("about.json", {
    version: context.version,
    node: process.versions.node,
    made: new Date().toISOString(),
    uid,
    missing: collector.missing,
  });
}

function dumpedText({ file, files, missing }: Dumped): string {
  const lines = missing.map(({ what, why }) => `missing     ${what}: ${why}\n`);
  const what = `${file}: ${count(files, "file")}, secrets removed; it names addresses and nodes\n`;
  return what + lines.join("");
}

export const command: Command = {
  usage: "",
  about:
    "Writes one archive for a bug report: version, host (kernel, CPUs, addresses, routes, " +
    "nftables, sysctls, sockets), settings, what the agent says, state and logs, and the " +
    "controller's side where it is on this host. Keys, credentials, tokens, hashes and passwords " +
    "are removed. Works without NATS, without an agent, and not only as root; what is missing is " +
    "said.",
  example: "meshd sysdump --output bug.tar.gz",
  options: {
    output: {
      value: "FILE",
      about: "file to write (default meshd-sysdump-HOST-TIME.tar.gz in this folder)",
    },
  },
  words: [0, 0],
  run,
};
