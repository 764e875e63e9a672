// meshd lab: many hosts on one machine, made of network namespaces, each a real member of a mesh.
import {
  type CheckReport,
  checkPods,
  LabError,
  type LabRoots,
  type LabStatus,
  type LabWish,
  labDown,
  labEnvironment,
  labMtu,
  labStatus,
  labUp,
  runDemo,
} from "../lab/index.js";
import {
  type Command,
  CommandError,
  type CommandGroup,
  type Context,
  type Invocation,
  type OptionSpec,
  UsageError,
} from "./command.js";
import { impairCommand } from "./lab-impair.js";
import { Progress, print, table } from "./output.js";

const NAME: Readonly<Record<string, OptionSpec>> = {
  name: { value: "LAB", about: "name of the lab (default: lab); its namespaces begin with it" },
};
const SHAPE: Readonly<Record<string, OptionSpec>> = {
  nodes: { value: "N", about: "number of hosts (default 3)" },
  pods: { value: "M", about: "pods on each host (default 2)" },
  subnets: { value: "K", about: "routed underlay subnets the hosts are shared among (default 1)" },
  servers: {
    value: "N",
    about: "hosts with a nats-server and a controller, one cluster: 1, 3 or 5 (default 1)",
  },
  encap: { value: "NAME", about: "encapsulation; the same as --set tunnelProtocol=NAME" },
  underlay: { value: "CIDR", about: "first underlay subnet (default 192.168.77.0/24)" },
  set: {
    value: "KEY=VALUE",
    multiple: true,
    about: "a setting of the mesh, as for meshd config set; given once, when the lab is made",
  },
};

const rootsOf = (invocation: Invocation): LabRoots => ({
  stateDir: invocation.settings.stateDir,
  runDir: invocation.settings.runDir,
});
const nameOf = (invocation: Invocation) => invocation.text("name") ?? "lab";

function countsOf(invocation: Invocation): Partial<LabWish> {
  const named = (["nodes", "pods", "subnets", "servers"] as const).flatMap((option) => {
    const given = invocation.text(option);
    if (given === undefined) return [];
    if (/^\d{1,6}$/.test(given)) return [[option, Number(given)] as const];
    throw new UsageError(`--${option} ${given}: allowed is a whole number`);
  });
  return Object.fromEntries(named);
}

function settingsOf(invocation: Invocation): Partial<LabWish> {
  const encap = invocation.text("encap");
  if (!invocation.has("set") && encap === undefined) return {};
  const pairs = invocation.list("set").map((pair) => {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`--set ${pair}: allowed is KEY=VALUE`);
    return [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
  const protocol = encap === undefined ? {} : { tunnelProtocol: encap };
  return { settings: { ...Object.fromEntries(pairs), ...protocol } };
}

/** Only what was named: a lab that is there keeps the rest. */
function wishOf(invocation: Invocation, name: string): LabWish {
  const underlay = invocation.text("underlay");
  const { settings, origins } = invocation;
  return {
    name,
    ...(origins.workers === "default" ? {} : { workers: settings.workers }),
    ...countsOf(invocation),
    ...(underlay === undefined ? {} : { underlay }),
    ...settingsOf(invocation),
  };
}

/** A shape that is not allowed is a wrong command line. */
function asUsage(error: unknown): unknown {
  const isShape = error instanceof LabError && error.code === "MESHD_LAB_SHAPE";
  return isShape ? new UsageError(error.message) : error;
}

function needRoot(): void {
  if (process.getuid?.() === 0) return;
  const message = "a lab makes network namespaces and TUN devices: run it as root";
  throw new CommandError("MESHD_NOT_ROOT", message);
}

async function withProgress(
  context: Context,
  action: (say: (step: string) => void) => Promise<void>,
): Promise<void> {
  const progress = new Progress(context);
  try {
    await action((step) => progress.step(step));
  } catch (error) {
    throw asUsage(error);
  } finally {
    progress.done();
  }
}

function statusText(status: LabStatus): string {
  const rows = status.nodes.map((node) => [
    node.namespace,
    node.agentPid === 0 ? "down" : node.agentPid,
    node.underlay.join(" "),
    node.podCIDRs.join(" "),
    node.pods.map((pod) => pod.namespace).join(" "),
  ]);
  return table(["NAMESPACE", "AGENT", "UNDERLAY", "PODCIDRS", "PODS"], rows);
}

const up: Command = {
  usage: "",
  about:
    "Makes N hosts out of network namespaces (LAB-n1, LAB-n2, ...) on an underlay of their own, " +
    "starts nats-server and a controller in LAB-ctl (LAB-ctl2 ... with --servers), joins every " +
    "host by meshd join and adds M " +
    "pods to each (LAB-n1-p1, ...). On a running lab it mends what is missing, such as an agent " +
    "that was killed, and keeps the shape it has where no other is named.",
  example: "meshd lab up --nodes 5 --pods 2",
  options: { ...NAME, ...SHAPE },
  settings: ["workers"],
  words: [0, 0],
  async run(invocation, context) {
    needRoot();
    const name = nameOf(invocation);
    const roots = rootsOf(invocation);
    await withProgress(context, (say) => labUp(roots, wishOf(invocation, name), say));
    print(invocation, context, await labStatus(roots, name), statusText);
    return undefined;
  },
};

const status: Command = {
  usage: "",
  about: "Shows each host of a lab: namespace, agent, underlay addresses, PodCIDRs and pods.",
  example: "meshd lab status --json",
  options: NAME,
  words: [0, 0],
  async run(invocation, context) {
    const found = await labStatus(rootsOf(invocation), nameOf(invocation));
    print(invocation, context, found, statusText);
    return undefined;
  },
};

function checkText(report: CheckReport): string {
  const failures = report.failures.map(
    ({ from, to, family, packet_bytes, why }) =>
      `no answer: ${from} -> ${to}, IPv${family}, ${packet_bytes} bytes: ${why}\n`,
  );
  const families = report.families.map((family) => `IPv${family}`).join(" and ");
  const sizes = report.packet_bytes.join(", ");
  const sum = `${report.pairsReachable} of ${report.pairs} ordered pod pairs reachable`;
  return `${failures.join("")}${sum} (${families}; ${sizes} bytes)\n`;
}

const check: Command = {
  usage: "",
  about:
    "Pings every pod from every other, in every family they have addresses of, with small and " +
    "with full-size packets that may not be fragmented. Exit code 1 when a pair is not reachable.",
  example: "meshd lab check",
  options: NAME,
  words: [0, 0],
  async run(invocation, context) {
    needRoot();
    const roots = rootsOf(invocation);
    const name = nameOf(invocation);
    const mtu = await labMtu(roots, name);
    const report = await checkPods(await labStatus(roots, name), mtu);
    print(invocation, context, report, checkText);
    return report.pairsReachable === report.pairs ? undefined : 1;
  },
};

const env: Command = {
  usage: "",
  about:
    "Prints the variables with which meshd and the stock nats client talk to the lab's control " +
    "plane from outside its namespaces.",
  example: "eval $(meshd lab env) && nats micro ls",
  options: NAME,
  words: [0, 0],
  async run(invocation, context) {
    const found = labEnvironment(rootsOf(invocation), nameOf(invocation));
    const quoted = (value: string) => `'${value.replaceAll("'", "'\\''")}'`;
    print(invocation, context, found, (values) =>
      Object.entries(values)
        .map(([key, value]) => `export ${key}=${quoted(value)}\n`)
        .join(""),
    );
    return undefined;
  },
};

const down: Command = {
  usage: "",
  about: "Ends a lab's processes and removes its namespaces, links and files.",
  example: "meshd lab down",
  options: NAME,
  words: [0, 0],
  async run(invocation, context) {
    needRoot();
    const name = nameOf(invocation);
    await withProgress(context, (say) => labDown(rootsOf(invocation), name, say));
    print(invocation, context, { name, removed: true }, () => `lab ${name} is gone\n`);
    return undefined;
  },
};

const demo: Command = {
  usage: "",
  about:
    "A mesh of three hosts from nothing: joins, pods, pings between all, TCP between two, " +
    "status, leases and routes, and everything down again.",
  example: "meshd lab demo",
  options: SHAPE,
  settings: ["workers"],
  words: [0, 0],
  async run(invocation, context) {
    needRoot();
    const wish = wishOf(invocation, `demo${process.pid}`);
    const good = await runDemo(rootsOf(invocation), wish, (line) => context.out(`${line}\n`));
    return good ? undefined : 1;
  },
};

const impair = impairCommand(NAME, (invocation) => {
  needRoot();
  return { roots: rootsOf(invocation), name: nameOf(invocation) };
});

export const command: CommandGroup = {
  about: "Many hosts on one machine, each a real member of a mesh in a network namespace.",
  commands: { up, status, check, impair, env, down, demo },
};
