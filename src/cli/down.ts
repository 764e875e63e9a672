// meshd down: stops what up, controller or join started; nothing is forgotten.
import { type Command, CommandError, type Context, type Invocation } from "./command.js";
import { Progress, print } from "./output.js";
import { natsDir, type ServiceName } from "./service/process-files.js";
import { stopService } from "./service/stop.js";

export const command: Command = {
  usage: "",
  about:
    "Stops the controller and the nats-server that 'meshd up' started here; with --agent the " +
    "agent instead, with --all both. Keys, leases, routes and pods stay: 'meshd up' and 'meshd " +
    "join' go on where they were. 'meshd leave' ends a membership.",
  example: "meshd down --all",
  options: {
    agent: { about: "stop the agent, not the controller" },
    all: { about: "stop the agent and the controller" },
  },
  words: [0, 0],
  run,
};

/** A controller that was killed could not stop its server. */
async function stopServerLeft({ settings }: Invocation): Promise<boolean> {
  const { stopNatsServer } = await import("../natsd/index.js");
  return stopNatsServer(natsDir(settings));
}

async function run(invocation: Invocation, context: Context): Promise<undefined> {
  const all = invocation.has("all");
  const names: ServiceName[] = all || invocation.has("agent") ? ["agent"] : ["controller"];
  if (all) names.push("controller");
  const progress = new Progress(context);
  const stopped: string[] = [];
  for (const name of names) {
    progress.step(`stopping the ${name}`);
    if (await stopService(invocation.settings, name)) stopped.push(name);
  }
  if (names.includes("controller") && (await stopServerLeft(invocation))) {
    stopped.push("nats-server");
  }
  progress.done();
  if (stopped.length === 0) {
    const message = `no ${names.join(" and no ")} runs here (${invocation.settings.runDir})`;
    throw new CommandError("MESHD_NOT_RUNNING", `${message}; nothing was stopped`);
  }
  print(invocation, context, { stopped }, () => `stopped: ${stopped.join(", ")}\n`);
}
