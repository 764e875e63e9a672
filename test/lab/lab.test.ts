// A whole mesh on real packets, driven by the command line as a user would drive it.
//
//   <lab>-net (bridge) --- <lab>-ctl (nats-server, controller)
//                      --- <lab>-n1 (meshd) --- <lab>-n1-p1, -p2
//                      --- ... <lab>-n5
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { CheckReport, LabStatus, LabWire } from "../../src/lab/index.js";
import { atEnd } from "../support/ends.js";
import { inNamespace, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const lab = suite("lab");
const name = `t${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), "meshd-lab-"));
const roots = ["--state-dir", join(folder, "state"), "--run-dir", join(folder, "run")];

function meshd(argv: string[], timeout = 240_000): string {
  const all = ["bin/meshd", ...argv, ...roots];
  return execFileSync(process.execPath, all, { encoding: "utf8", timeout });
}

const labCommand = (verb: string, ...rest: string[]) =>
  meshd(["lab", verb, "--name", name, ...rest]);
const labJson = <T>(verb: string) => JSON.parse(labCommand(verb, "--json")) as T;

function ownNamespaces(): string[] {
  const files = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  return files.filter((file) => file.startsWith(`${name}-`));
}

/** A process that ended but was not yet reaped by its parent is gone, too. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

function cleanUp(): void {
  spawnSync(process.execPath, ["bin/meshd", "lab", "down", "--name", name, ...roots]);
  rmSync(folder, { recursive: true, force: true });
}
atEnd(cleanUp);

rootTest(lab, "five nodes with two pods each come up and are named as agreed", () => {
  labCommand("up", "--nodes", "5", "--pods", "2");
  const status = labJson<LabStatus>("status");
  assert.is(status.name, name);
  assert.equal(
    status.nodes.map((node) => node.namespace),
    [1, 2, 3, 4, 5].map((number) => `${name}-n${number}`),
  );
  for (const node of status.nodes) {
    assert.ok(node.agentPid > 0);
    assert.is(node.podCIDRs.length, 2, "an IPv4 and an IPv6 PodCIDR");
    assert.is(node.pods.length, 2);
    assert.ok(node.pods.every((pod) => pod.addresses.length === 2));
  }
  const cidrs = status.nodes.flatMap((node) => node.podCIDRs);
  assert.is(new Set(cidrs).size, cidrs.length, "no PodCIDR stands twice");
});

rootTest(
  lab,
  "all 90 ordered pod pairs are reachable, IPv4 and IPv6, full-size packets too",
  () => {
    const report = labJson<CheckReport>("check");
    assert.equal(report.failures, []);
    assert.is(report.pairs, 90);
    assert.is(report.pairsReachable, 90);
    assert.is(report.probesAnswered, 360);
    assert.equal(report.families, [4, 6]);
  },
);

rootTest(
  lab,
  "an agent killed under a running ping comes back with its lease and pods",
  async () => {
    const before = labJson<LabStatus>("status").nodes;
    const [first, second] = before;
    const target = second?.pods[0]?.addresses[0] ?? "";
    const pod = first?.pods[0]?.namespace ?? "";
    const [file = "", ...argv] = inNamespace(pod, [
      "ping",
      "-n",
      "-i",
      "0.05",
      "-c",
      "200",
      target,
    ]);
    const ping = spawn(file, argv, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    ping.stdout.on("data", (bytes: Buffer) => {
      said += bytes.toString();
    });
    const ended = new Promise((resolve) => ping.once("exit", resolve));
    await until("first answers", () => said.includes("icmp_seq=5 "), 30_000);
    process.kill(first?.agentPid ?? 0, "SIGKILL");
    labCommand("up");
    const after = labJson<LabStatus>("status").nodes;
    assert.is.not(after[0]?.agentPid, first?.agentPid);
    assert.equal(after[0]?.podCIDRs, first?.podCIDRs);
    assert.equal(after[0]?.pods, first?.pods);
    assert.equal(after.slice(1), before.slice(1), "nothing else was touched");
    await ended;
    assert.match(said, /icmp_seq=200 /, "traffic goes on after the restart");
  },
);

rootTest(lab, "a lab that is there can grow, and is otherwise kept", () => {
  const refusal = (...argv: string[]) => {
    const all = ["bin/meshd", "lab", "up", "--name", name, ...argv, ...roots];
    const { status, stderr } = spawnSync(process.execPath, all, { encoding: "utf8" });
    return `${status} ${stderr}`;
  };
  assert.match(refusal("--pods", "1"), /^2 .*5 nodes with 2 pods each/s);
  assert.match(refusal("--nodes", "4"), /^2 .*lab down/s);
  assert.match(refusal("--set", "mtu=1400"), /^2 .*meshd config set/s);
  assert.match(refusal("--nodes", "61"), /^2 .*allowed are 1 to 60/s);
  assert.is(labJson<LabStatus>("status").nodes.length, 5);
});

rootTest(lab, "a lab whose mesh cannot begin leaves nothing behind", () => {
  const other = `u${process.pid}`;
  const all = ["bin/meshd", "lab", "up", "--name", other, "--set", "mtu=7", ...roots];
  const { status, stderr } = spawnSync(process.execPath, all, { encoding: "utf8" });
  assert.is(status, 1);
  assert.match(stderr, /mtu/);
  const labs = readdirSync(join(folder, "state", "labs"));
  assert.equal(labs, [name]);
  const spaces = readdirSync("/run/netns").filter((file) => file.startsWith(`${other}-`));
  assert.equal(spaces, []);
});

const pingMs = (from: string, to: string): number => {
  const [file = "", ...argv] = inNamespace(from, ["ping", "-n", "-c", "1", "-W", "5", to]);
  const { stdout } = spawnSync(file, argv, { encoding: "utf8" });
  return Number(/time=([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN);
};

rootTest(
  lab,
  "a wire with faults is put in, changed, mended and taken out while the lab runs",
  () => {
    const [first, second] = labJson<LabStatus>("status").nodes;
    const [from, to] = [first?.namespace ?? "", second?.underlay[0] ?? ""];
    const links = () => {
      const [file = "", ...argv] = inNamespace(`${name}-net`, ["ip", "-o", "link"]);
      return execFileSync(file, argv, { encoding: "utf8" });
    };
    // A port with the least address of all, which a bridge would take for its own.
    const least = ["link", "set", "dev", "n1", "address", "02:00:00:00:00:01"];
    execFileSync("ip", ["-n", `${name}-net`, ...least]);
    const router = () => /br0.* link\/ether (\S+)/.exec(links())?.[1];
    const before = links().replace(/\d+: /g, "");
    const known = router();
    labCommand("impair", "n1", "--delay", "30ms", "--direction", "to");
    assert.ok(known !== undefined && router() === known, "hosts know the router by its address");
    assert.ok(pingMs(from, to) >= 30);
    const said = labCommand("impair", "n1", "--cut", "--direction", "from", "--seed", "9");
    assert.match(said, /n1 +to +delay 30 ms.*\nn1 +from +cut/);
    assert.ok(Number.isNaN(pingMs(from, to)));
    const [wire] = JSON.parse(labCommand("impair", "--json")) as LabWire[];
    assert.is(wire?.node, "n1");
    assert.is(wire?.settings.seed, 9);
    assert.ok((wire?.fromNode.cut ?? 0) > 0);
    const programs = execFileSync("ip", ["netns", "pids", `${name}-net`], { encoding: "utf8" });
    for (const pid of programs.trim().split("\n")) process.kill(Number(pid), "SIGKILL");
    labCommand("up");
    assert.ok(pingMs(from, to) < 30, "'lab up' joined it to the bridge again");
    labCommand("impair", "n1", "--loss", "1%");
    assert.match(labCommand("impair", "n1", "--clear"), /no host has a wire/);
    assert.is(links().replace(/\d+: /g, ""), before, "nothing is left of it");
    const refusal = (...argv: string[]) => {
      const all = ["bin/meshd", "lab", "impair", ...argv, "--name", name, ...roots];
      return spawnSync(process.execPath, all, { encoding: "utf8" }).stderr;
    };
    assert.match(refusal("n1", "--loss", "1"), /--loss 1: allowed/);
    assert.match(refusal("n1", "--loss", "101%"), /allowed are 0 to 1000000/);
    assert.match(refusal("n9", "--loss", "1%"), /no host 'n9'/);
  },
);

/** A lab's only node leaves and joins again as a user would: the name it has then. */
function joinByHand(other: string): string {
  const placeOf = (host: string) => [
    ...["--state-dir", join(folder, "state", "labs", other, host)],
    ...["--run-dir", join(folder, "run", "labs", other, host)],
  ];
  const at = (host: string, folderName: string, ...words: string[]) => {
    const argv = [process.execPath, "bin/meshd", ...words, ...placeOf(folderName)];
    const [file = "", ...rest] = inNamespace(`${other}-${host}`, argv);
    return execFileSync(file, rest, { encoding: "utf8", timeout: 90_000 });
  };
  at("n1", "n1", "leave");
  const token = at("ctl", "control", "token", "create").trim();
  const { node } = JSON.parse(at("n1", "n1", "join", token, "--json")) as {
    node: { name: string };
  };
  return node.name;
}

rootTest(lab, "the environment for clients outside leads to the control plane", () => {
  const env = labJson<Record<string, string>>("env");
  assert.equal(
    Object.keys(env).filter((key) => key.endsWith("_DIR")),
    [],
    "the lab stays in view",
  );
  const run = (argv: string[]) =>
    execFileSync(process.execPath, ["bin/meshd", ...argv, "--json"], {
      encoding: "utf8",
      env: { ...process.env, ...env },
    });
  const nodes = JSON.parse(run(["node", "list"])) as { name: string }[];
  assert.equal(nodes.map((node) => node.name).sort(), ["n1", "n2", "n3", "n4", "n5"]);
  // A shell that was told of this lab makes another one all the same.
  const other = ["--name", `o${process.pid}`, ...roots];
  try {
    run(["lab", "up", "--nodes", "1", "--pods", "0", "--underlay", "192.168.99.0/24", ...other]);
    assert.is(joinByHand(`o${process.pid}`), "n1", "not the machine's name, which all have");
  } finally {
    run(["lab", "down", ...other]);
  }
});

rootTest(lab, "workers that nobody names stay as many as the lab was made with", () => {
  const file = join(folder, "state", "labs", name, "lab.json");
  const made = { ...(JSON.parse(readFileSync(file, "utf8")) as object), workers: 2 };
  writeFileSync(file, JSON.stringify(made));
  labCommand("up");
  assert.equal(JSON.parse(readFileSync(file, "utf8")), made);
});

rootTest(lab, "a number of the gateway's that another process has by now is left alone", () => {
  const gateway = join(folder, "run", "labs", name, "control", "gateway.json");
  const before = readFileSync(gateway, "utf8");
  const { pid } = JSON.parse(before) as { pid: number };
  const bystander = spawn("sleep", ["60"]);
  writeFileSync(gateway, JSON.stringify({ pid: bystander.pid, port: 1 }));
  labCommand("up");
  assert.not.match(readFileSync(gateway, "utf8"), `${bystander.pid}`);
  assert.ok(isAlive(bystander.pid ?? 0));
  bystander.kill();
  process.kill(pid);
});

rootTest(
  lab,
  "a lab whose file is damaged goes all the same, with no namespace, process or file left",
  async () => {
    const pids = labJson<LabStatus>("status").nodes.map((node) => node.agentPid);
    writeFileSync(join(folder, "state", "labs", name, "lab.json"), "{");
    labCommand("down");
    assert.equal(ownNamespaces(), []);
    assert.equal(pids.filter(isAlive), []);
    const left = execFileSync("find", [folder, "-type", "f"], { encoding: "utf8" });
    assert.is(left, "");
  },
);

lab.run();
