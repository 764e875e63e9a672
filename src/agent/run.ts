// The foreground run: what src/main calls. Signals stop the process, not the node.
import { Agent } from "./agent.js";
import type { AgentOptions, RunningAgent } from "./types.js";

/** Starts an agent without touching signals; resolves when it is ready. Errors as Agent.start. */
export function startAgent(options: AgentOptions): Promise<RunningAgent> {
  return Agent.start(options);
}

/**
 * Runs an agent until SIGTERM, SIGINT, POST /stop or /leave, and resolves to the exit code.
 * @throws what Agent.start throws: one line for the operator.
 */
export async function runAgent(options: AgentOptions): Promise<number> {
  let agent: RunningAgent | undefined;
  let asked = false;
  const onSignal = () => {
    asked = true;
    void agent?.stop();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  try {
    agent = await startAgent(options);
    // A signal that came during the start waits for its end: then nothing is left half-made.
    if (asked) {
      await agent.stop();
    }
    await agent.ended;
    return 0;
  } finally {
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
  }
}
