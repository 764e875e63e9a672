// `meshd bench` between real nodes, asked for over NATS: figures that agree, and every refusal.
//
//   <lab>-n1 --- bridge --- <lab>-n2 (meshd)      <lab>-ctl: where the administrator sits
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { credentialsText } from "../../control/nats/index.js";
import type { AgentStatus } from "../../src/agent/index.js";
import type { BenchReport, BenchRow } from "../../src/bench/index.js";
import { runIn, runSync, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { MeshLab, meshdAt, type Place } from "./mesh-lab.js";

const test = suite("bench");
const lab = new MeshLab("bn");

type Shown = BenchReport & { figures: BenchRow[] };

if (isRoot) {
  test.before(async () => {
    lab.up("--nodes", "2", "--pods", "0");
    await lab.untilReachable("n1", "n2");
  });
  test.after(() => lab.remove());
}

interface Refusal {
  error: { code: string; message: string };
}

/** Fails with one line; gives its code. */
function refusalOf(place: Place, words: string[], exit = 1): Refusal["error"] {
  const { code, stdout, stderr } = meshdAt(place, ["bench", ...words, "--json"]);
  assert.is(code, exit, `${stdout} ${stderr}`);
  assert.match(stderr, /^meshd: [^\n]+\n$/);
  return (JSON.parse(stdout) as Refusal).error;
}

/** The command on the administrator's host, without waiting for its end. */
function beginBench(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { namespace, stateDir, runDir } = lab.control;
  const where = ["--state-dir", stateDir, "--run-dir", runDir, "--json"];
  return runIn(namespace, [process.execPath, "bin/meshd", "bench", ...words, ...where]);
}

/** Processes of a bench whose parent is an agent of this lab. */
async function benchProcesses(): Promise<string[]> {
  const agents = ["n1", "n2"].map((node) => lab.agent(node).pid);
  const argv = ["pgrep", "-P", agents.join(","), "-f", "bench/child"];
  const { stdout } = await runIn(lab.control.namespace, argv);
  return stdout.split("\n").filter((pid) => pid !== "");
}

rootTest(
  test,
  "all measures on both networks: what arrived is what was sent, or is called lost",
  () => {
    const report = lab.admin<Shown>("bench", "n1", "n2", "--seconds", "1");
    assert.equal([report.from.node, report.to.node], ["n1", "n2"]);
    const addresses = ["n1", "n2"].map((node) => lab.agent(node).node.addresses[0]?.split("/")[0]);
    assert.equal(report.networks.overlay, { from: addresses[0], to: addresses[1] });
    assert.equal(report.networks.underlay, { from: "192.168.77.1", to: "192.168.77.2" });
    assert.is(report.runs.length, 14);
    for (const { measure, network, result, error } of report.runs) {
      assert.is(error, undefined, `${measure} over the ${network}: ${error?.message}`);
      assert.ok(result, `${measure} over the ${network} has a result`);
      if (result?.kind === "stream") assert.is(result.bytes, result.sentBytes);
      if (result?.kind === "stream") assert.ok(result.bytes > 1e6 && result.seconds > 0.3);
      if (result?.kind === "flow") assert.is(result.bytes, result.received * result.size);
      if (result?.kind === "flow") assert.ok(result.received > 0 && result.received <= result.sent);
      if (result?.kind === "search") assert.ok(result.loss <= 0.005 && result.steps.length === 6);
      if (result?.kind === "ping") assert.ok(result.answered > 0 && result.answered <= result.sent);
    }
    const names = report.figures.map((row) => row.name);
    for (const name of [
      "tcp1",
      "daemons",
      "resident",
      "tcp4",
      "udp64",
      "udp1400lossless",
      "ping99",
    ]) {
      assert.ok(names.includes(name), name);
    }
    const overlay = report.runs.find((run) => run.measure === "tcp1" && run.network === "overlay");
    // The agents carried it: their own counters, not the bench's, are what costs them.
    assert.ok((overlay?.agents.from.cpu_s ?? 0) > 0 && (overlay?.agents.to.cpu_s ?? 0) > 0);
  },
);

rootTest(
  test,
  "traffic over the overlay goes through the tunnel, that over the underlay does not",
  () => {
    const sent = () => lab.agent("n2").bytes.egress;
    const report = () => lab.admin<Shown>("bench", "n2", "n1", "--only", "tcp1", "--seconds", "1");
    const before = sent();
    const first = report();
    const bytesOf = (network: string) => {
      const result = first.runs.find((run) => run.network === network)?.result;
      return result?.kind === "stream" ? result.bytes : 0;
    };
    const carried = sent() - before;
    assert.ok(carried > bytesOf("overlay"), `${carried} bytes carried`);
    assert.ok(carried < bytesOf("overlay") * 1.2 + 1e6, `${carried} bytes carried`);
    assert.ok(bytesOf("underlay") > 0);
  },
);

rootTest(
  test,
  "a second bench is refused while the first runs, and nothing of both is left",
  async () => {
    const first = beginBench("n1", "n2", "--only", "tcp1", "--seconds", "5");
    await until("the first has begun", async () => (await benchProcesses()).length === 2);
    const busy = refusalOf(lab.control, ["n2", "n1"]);
    assert.is(busy.code, "MESHD_BENCH_BUSY");
    assert.match(busy.message, /busy with another bench/);
    const done = await first;
    assert.is(done.code, 0, done.stderr);
    await until("no process is left", async () => (await benchProcesses()).length === 0);
  },
);

rootTest(test, "an asker that is killed is missed: both nodes end what they began", async () => {
  const begun = beginBench("n1", "n2", "--only", "tcp1", "--seconds", "20");
  await until("it has begun", async () => (await benchProcesses()).length === 2);
  const where = lab.control.stateDir;
  const asker = await runIn(lab.control.namespace, ["pgrep", "-f", `bench n1 n2.*${where}`]);
  for (const pid of asker.stdout.split("\n").filter(Boolean)) process.kill(Number(pid), "SIGKILL");
  await begun;
  const limit_ms = 20_000;
  await until("no process is left", async () => (await benchProcesses()).length === 0, limit_ms);
  lab.admin<Shown>("bench", "n1", "n2", "--only", "ping", "--seconds", "1");
});

rootTest(test, "an agent that is killed takes its part of a bench with it", async () => {
  const begun = beginBench("n1", "n2", "--only", "tcp1", "--seconds", "20");
  await until("it has begun", async () => (await benchProcesses()).length === 2);
  const processes = await benchProcesses();
  process.kill(lab.agent("n1").pid, "SIGKILL");
  const { code, stdout } = await begun;
  assert.is(code, 1);
  assert.is((JSON.parse(stdout) as Refusal).error.code, "MESHD_BENCH_OFFLINE");
  await until("no process is left", () => processes.every((pid) => !existsSync(`/proc/${pid}`)));
  lab.up("--nodes", "2");
  await lab.untilReachable("n1", "n2");
});

/** Process ids of the control host whose command line holds a word. */
function controlPids(word: string): number[] {
  const listed = runSync(lab.networkSpace, ["ip", "netns", "pids", lab.control.namespace]);
  const holds = (pid: string) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(word);
  return listed.trim().split("\n").filter(holds).map(Number);
}

rootTest(test, "a NATS server that dies meanwhile: figures, or an error with a name", async () => {
  const begun = beginBench("n1", "n2", "--only", "tcp1", "--seconds", "4");
  await until("it has begun", async () => (await benchProcesses()).length === 2);
  for (const pid of controlPids("nats-server.conf")) process.kill(pid, "SIGKILL");
  const { code, stdout } = await begun;
  const said = JSON.parse(stdout) as Partial<Shown & Refusal>;
  if (code === 0) assert.is(said.runs?.length, 2);
  else assert.match(said.error?.code ?? "", /^MESHD_(BENCH_GONE|BENCH_OFFLINE|NO_NATS|TIMEOUT)$/);
  process.stdout.write(`  ${code === 0 ? "figures" : said.error?.message}\n`);
  const limit_ms = 30_000;
  await until("no process is left", async () => (await benchProcesses()).length === 0, limit_ms);
  for (const node of ["n1", "n2"]) {
    await lab.untilAgent(node, "NATS is back", ({ nats }) => nats.connected, limit_ms);
  }
});

rootTest(test, "nodes that are none, twice the same one, and wrong words", () => {
  assert.is(refusalOf(lab.control, ["n1", "n9"]).code, "MESHD_NOT_FOUND");
  assert.is(refusalOf(lab.control, ["n1", "n1"], 2).code, "MESHD_USAGE");
  assert.match(refusalOf(lab.control, ["n2"]).message, /name both, 'meshd bench FROM TO'/);
  for (const words of [
    ["n1", "n2", "--seconds", "0"],
    ["n1", "n2", "--seconds", "21"],
    ["n1", "n2", "--only", "tcp2"],
    ["n1", "n2", "--congestion", "no such"],
  ]) {
    assert.match(refusalOf(lab.control, words, 2).code, /^MESHD_(USAGE|CONFIG_BAD_VALUE)$/);
  }
  const unknown = ["n1", "n2", "--only", "tcp1", "--seconds", "1", "--congestion", "nosuch"];
  assert.match(refusalOf(lab.control, unknown).message, /TCP_CONGESTION/);
});

/** Credentials of a member, as somebody who took its files would have them. */
function credentialsOfNode(name: string): string {
  const { stateDir } = lab.node(name);
  const { jwt } = JSON.parse(readFileSync(join(stateDir, "membership.json"), "utf8")) as {
    jwt: string;
  };
  const seed = readFileSync(join(stateDir, "node.key"), "utf8").trim();
  const path = join(lab.folder, `${name}.creds`);
  writeFileSync(path, credentialsText(jwt, seed), { mode: 0o600 });
  return path;
}

rootTest(test, "a node's own credentials may not ask for it", () => {
  const ca = ["--nats-ca", join(lab.node("n1").stateDir, "ca.pem")];
  const refused = refusalOf(lab.control, ["n1", "n2", "--creds", credentialsOfNode("n1"), ...ca]);
  assert.is(refused.code, "MESHD_PERMISSION");
});

rootTest(test, "the mesh's setting decides: the overlay alone, or nothing", async () => {
  const ping = ["bench", "n1", "n2", "--only", "ping", "--seconds", "1"];
  lab.admin("config", "set", "bench", "overlay");
  await until("the underlay is left out", () => {
    const { networks, runs } = lab.admin<Shown>(...ping);
    if (!("refused" in networks.underlay)) return false;
    assert.match(networks.underlay.refused, /allows the overlay alone/);
    assert.equal(
      runs.map((run) => run.network),
      ["overlay"],
    );
    return true;
  });
  lab.admin("config", "set", "bench", "off");
  await until("both refuse", () => meshdAt(lab.control, ping).code === 1);
  const refused = refusalOf(lab.control, ["n1", "n2"]);
  assert.is(refused.code, "MESHD_BENCH_REFUSED");
  assert.match(refused.message, /takes part in no bench/);
  lab.admin("config", "set", "bench", "all");
});

rootTest(
  test,
  "a node's own setting is its operator's last word, and its agent may be away",
  async () => {
    const { pid } = lab.agent("n2");
    lab.ask("n2", ["down", "--agent"]);
    const away = refusalOf(lab.control, ["n1", "n2"]);
    assert.is(away.code, "MESHD_BENCH_OFFLINE");
    const status = lab.ask<AgentStatus>("n2", ["join", "--bench", "off"]);
    assert.is.not(status.pid, pid);
    await lab.untilReachable("n1", "n2");
    const refused = refusalOf(lab.control, ["n1", "n2"]);
    assert.is(refused.code, "MESHD_BENCH_REFUSED");
    assert.match(refused.message, /node n2/);
  },
);

rootTest(
  test,
  "from the node's own host one word is enough, with the administrator's credentials",
  () => {
    const { MESHD_CREDS: creds = "" } = lab.env();
    lab.ask("n2", ["down", "--agent"]);
    lab.ask("n2", ["join", "--bench", "all"]);
    const server = lab.agent("n1").nats.url;
    const admin = [
      "--nats",
      `nats://${server}`,
      "--creds",
      creds,
      "--mesh",
      lab.agent("n1").mesh.name,
    ];
    const words = ["bench", "n2", "--only", "tcp4", "--seconds", "1", ...admin];
    const report = lab.ask<Shown>("n1", words);
    assert.equal([report.from.node, report.to.node], ["n1", "n2"]);
    assert.is(report.runs.length, 2);
  },
);

test.run();
