// meshd join: makes this host a node of a mesh, or starts the node it already is.

import { flagOf, loadSettings, type SettingName } from "../config/index.js";
import type { AgentStatus } from "./agent-answers.js";
import { askAgent } from "./agent-client.js";
import { type Command, CommandError, type Context, type Invocation } from "./command.js";
import { Progress, print, warningLines } from "./output.js";
import { readRemembered, remember } from "./remembered.js";
import {
  AGENT_SETTINGS,
  agentPid,
  readToken,
  runInForeground,
  startAgent,
} from "./service/agent-process.js";

export const command: Command = {
  usage: "[TOKEN | -]",
  about:
    "Makes this host a node of the mesh the token belongs to, and returns when it forwards " +
    "packets. Without a token it starts the node this host already is, with its PodCIDR and the " +
    "flags of the first join. The token may come from a file or from standard input (-), so that " +
    "it is in no list of processes. The agent is a systemd unit (meshd.service) where systemd " +
    "runs, else a process of its own that logs to agent.log in the state directory.",
  example: "meshd join $(meshd token create)\nssh admin-host meshd token create | meshd join -",
  options: {
    "token-file": { value: "FILE", about: "file that holds the token alone" },
    name: { value: "NAME", about: "name of this node (default: the host's name)" },
    foreground: { about: "stay, and log to standard error" },
    "no-systemd": { about: "start a process of its own although systemd runs" },
  },
  settings: AGENT_SETTINGS,
  words: [0, 1],
  run,
};

async function run(invocation: Invocation, context: Context): Promise<undefined | number> {
  const token = await readToken(invocation, context);
  const running = agentPid(invocation);
  const named = withName(invocation);
  if (running !== undefined) return alreadyRunning(named, context, running, token);
  const takeBack = remember(named, AGENT_SETTINGS.concat("nats", "natsCa"));
  const progress = new Progress(context);
  try {
    if (invocation.has("foreground")) return await runInForeground(named, context, token);
    progress.step(token === undefined ? "starting the node" : "joining the mesh");
    const { answer } = await startAgent(named, context, token);
    progress.done();
    print(invocation, context, answer, joinedText);
    return undefined;
  } catch (error) {
    progress.done();
    takeBack();
    throw error;
  }
}

/** `--name` is the short way to say `--node-name`. */
function withName(invocation: Invocation): Invocation {
  const name = invocation.text("name");
  if (name === undefined) return invocation;
  return {
    ...invocation,
    settings: { ...invocation.settings, nodeName: name },
    origins: { ...invocation.origins, nodeName: "flag" },
  };
}

async function alreadyRunning(
  invocation: Invocation,
  context: Context,
  pid: number,
  token: string | undefined,
): Promise<undefined> {
  if (token !== undefined || invocation.has("foreground")) {
    const message = `this host is already a node (process ${pid}); 'meshd leave' ends that first`;
    throw new CommandError("MESHD_ALREADY_RUNNING", message);
  }
  const status = (await askAgent(invocation.settings, "/status")) as AgentStatus;
  await refuseChanges(invocation, context, status);
  print(invocation, context, status, joinedText);
}

/** An agent that runs was started with its flags: others are refused, not ignored. */
async function refuseChanges(
  { settings, origins, namedFile: file }: Invocation,
  { environment }: Context,
  { pid, node }: AgentStatus,
): Promise<void> {
  const flags = { stateDir: settings.stateDir };
  const before = await loadSettings({ file, environment, flags, remembered: readRemembered });
  const isGiven = (name: SettingName) => origins[name] === "flag";
  const refuse = (what: string, todo: string) => {
    const message = `${what}: the agent runs already (process ${pid})`;
    throw new CommandError("MESHD_ALREADY_RUNNING", `${message}; ${todo}`);
  };
  if (isGiven("nodeName") && settings.nodeName !== node.name) {
    const rename = `'meshd node rename ${node.name} ${settings.nodeName}'`;
    refuse(`--name ${settings.nodeName}`, `${rename} where an administrator is`);
  }
  const [given] = AGENT_SETTINGS.filter(
    (name) => name !== "nodeName" && isGiven(name) && settings[name] !== before.settings[name],
  );
  if (given === undefined) return;
  const todo = "'meshd down --agent' first, then 'meshd join' with the flag";
  refuse(`--${flagOf(given)} ${settings[given]}`, todo);
}

/** Such as one that was removed: it runs, and carries nothing. */
function notCarrying({ node, mesh, warnings }: AgentStatus): string {
  const lines = warnings.length === 0 ? ["it has no PodCIDR: see 'meshd status'"] : warnings;
  return `node ${node.name} of mesh ${mesh.name} is ${node.state}\n${warningLines(lines)}`;
}

function joinedText(status: AgentStatus): string {
  const { node, mesh, lease, device, mtu, underlay } = status;
  if (lease.podCIDRs.length === 0) return notCarrying(status);
  const port = underlay.port === 0 ? "" : ` port ${underlay.port}`;
  return (
    `node ${node.name} of mesh ${mesh.name}: PodCIDR ${lease.podCIDRs.join(" and ")}, ` +
    `${device} mtu ${mtu}, underlay ${underlay.address}${port}\n`
  );
}
