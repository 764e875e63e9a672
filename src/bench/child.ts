// Entry of the process that an agent starts for one session of a bench: it serves or it drives. It
// lives and dies with its agent's word; nothing of it is in the agent's own threads.

import { drive } from "./drive.js";
import { bodyOf } from "./errors.js";
import type { FromChild, ToChild, Way } from "./messages.js";
import { BenchServer } from "./serve.js";

let ways: readonly Way[] = [];

function say(message: FromChild): void {
  if (process.connected) process.send?.(message);
}

async function obey(message: ToChild): Promise<FromChild> {
  if ("run" in message) return { result: await drive(message.run, ways) };
  const { role, secret } = message.start;
  ways = message.start.ways;
  return { ready: role === "serve" ? await BenchServer.open(secret, ways) : {} };
}

process.on("message", (message: ToChild) => {
  obey(message)
    .catch((error: unknown): FromChild => ({ error: bodyOf(error) }))
    .then(say);
});

// A thread may stand in a system call, for which an orderly exit would wait.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
