// What is known of a change of encapsulation, kept over a restart of the agent: without it a peer
// that is not reached in the next form would be sent to in that form all the same.
import type { Form } from "./plan-forms.js";
import { isTunnelProtocol } from "./protocols.js";

export interface FlipState {
  /** By nodeId: the form in which packets to that member arrive. */
  confirmed: Record<string, Form>;
  /** What was open, the mesh's own form first. */
  open: Form[];
}

function formOf(given: unknown): Form[] {
  if (typeof given !== "object" || given === null) return [];
  const { protocol, port } = given as { protocol?: unknown; port?: unknown };
  const isPort = typeof port === "number" && Number.isInteger(port) && port >= 0 && port < 65_536;
  if (typeof protocol !== "string" || !isTunnelProtocol(protocol) || !isPort) return [];
  return [{ protocol, port }];
}

/** Reads the file's text; what is damaged in it counts as not known. */
export function parseFlipState(text: string | null): FlipState | undefined {
  try {
    const { confirmed = {}, open = [] } = JSON.parse(text ?? "null") ?? {};
    const forms = Object.entries(confirmed as object).flatMap(([nodeId, form]) =>
      formOf(form).map((one) => [nodeId, one] as const),
    );
    const opened = Array.isArray(open) ? open.flatMap(formOf) : [];
    return { confirmed: Object.fromEntries(forms), open: opened };
  } catch {
    return undefined;
  }
}

export function flipStateText(state: FlipState): string {
  return `${JSON.stringify(state)}\n`;
}
