// What is known of a change of encapsulation, kept over a restart of the agent: without it a peer
// that is not reached in the next form would be sent to in that form all the same.
import { parseForm } from "../../control/index.js";
import type { Form } from "./plan/forms.js";
import { isTunnelProtocol } from "./protocols.js";

export interface FlipState {
  /** By nodeId: the form in which packets to that member arrive. */
  confirmed: Record<string, Form>;
  /** What was open, the mesh's own form first. */
  open: Form[];
}

function formOf(given: unknown): Form[] {
  const form = parseForm(given);
  const { protocol = "" } = form ?? {};
  return form !== null && isTunnelProtocol(protocol) ? [{ ...form, protocol }] : [];
}

/** Reads the file's text; what is damaged in it counts as not known. */
export function parseFlipState(text: string | null): FlipState | undefined {
  try {
    const { confirmed = {}, open = [] } = JSON.parse(text ?? "null") ?? {};
    if (typeof confirmed !== "object") return undefined;
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
