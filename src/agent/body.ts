// Bodies of requests to agent.sock: objects with known fields, or a refusal that names the field.
import { AgentError } from "./errors.js";

export function bad(message: string): AgentError {
  return new AgentError("MESHD_BAD_REQUEST", message);
}

/** A JSON object with no keys but the allowed ones; no body counts as {}. */
export function fieldsOf(body: unknown, allowed: readonly string[]): Record<string, unknown> {
  const given = body ?? {};
  if (typeof given !== "object" || Array.isArray(given)) {
    throw bad("body must be a JSON object");
  }
  const unknown = Object.keys(given).find((key) => !allowed.includes(key));
  if (unknown !== undefined) {
    throw bad(`unknown field ${JSON.stringify(unknown)}, allowed: ${allowed.join(", ")}`);
  }
  return given as Record<string, unknown>;
}
