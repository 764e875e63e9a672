// meshd leave: gives the PodCIDR back, takes links, routes and rules out, ends the agent.
import { rmSync } from "node:fs";
import { AGENT_WORK_TIMEOUT_MS, STOP_TIMEOUT_MS } from "../config/index.js";
import { askAgent } from "./agent-client.js";
import type { Command, Context, Invocation } from "./command.js";
import { Progress, print } from "./output.js";
import { rememberedFile } from "./remembered.js";
import { runningPid, waitFor } from "./service/process-files.js";
import { stopService } from "./service/stop.js";

export const command: Command = {
  usage: "",
  about:
    "Gives this node's PodCIDR back, removes its device, routes and rules, and ends the agent. " +
    "It refuses while pods exist, unless --force removes them too. To stop the agent and stay a " +
    "member, use 'meshd down --agent'.",
  example: "meshd leave --force",
  options: { force: { about: "remove this node's pods, too" } },
  words: [0, 0],
  run,
};

async function run(invocation: Invocation, context: Context): Promise<undefined> {
  const { settings } = invocation;
  const progress = new Progress(context);
  progress.step("leaving the mesh");
  const pid = runningPid(settings, "agent");
  const body = { force: invocation.has("force") };
  try {
    const question = { method: "POST", body, timeout_ms: AGENT_WORK_TIMEOUT_MS } as const;
    await askAgent(settings, "/leave", question);
    const gone = () => (runningPid(settings, "agent") === undefined ? true : undefined);
    if (pid !== undefined) await waitFor(gone, STOP_TIMEOUT_MS);
    await stopService(settings, "agent");
  } finally {
    progress.done();
  }
  rmSync(rememberedFile(settings.stateDir), { force: true });
  print(invocation, context, { left: true }, () => "left the mesh\n");
}
