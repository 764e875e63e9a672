// An agent in the foreground, as src/main runs it. argv: AgentOptions as JSON. Exits 1 with one
// line "refused CODE message" when the start is refused.
import { type AgentOptions, runAgent } from "../../src/agent/index.js";

const options = JSON.parse(process.argv[2] ?? "{}") as AgentOptions;
const log = (event: string, fields: Record<string, unknown> = {}) => {
  const plain = (_: string, value: unknown) => (value instanceof Error ? value.message : value);
  process.stderr.write(`${event} ${JSON.stringify(fields, plain)}\n`);
};
try {
  process.exitCode = await runAgent({ ...options, log, onReady: () => console.log("ready") });
} catch (error) {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  console.log(`refused ${code} ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
