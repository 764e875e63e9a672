// In which form packets go to each member while the mesh's encapsulation or port changes: pure.
// A form that is known to arrive stays in use until the next one is known to arrive, too.
import type { MeshSnapshot, NodeRecord } from "../../control/index.js";
import { isTunnelProtocol, isUdp, type TunnelProtocol } from "./protocols.js";

/** An encapsulation and the port it goes to; 0 where it has none. */
export interface Form {
  protocol: TunnelProtocol;
  port: number;
}

/** What a plan must know of a change besides the records; flips.ts keeps it. */
export interface ChangeFacts {
  /** By nodeId: the form in which packets to that member arrive. */
  confirmed: ReadonlyMap<string, Form>;
  /** By nodeId: questions in the next form that had no answer. */
  tries: ReadonlyMap<string, number>;
  /** What this node received before, and somebody may still send. */
  kept: readonly Form[];
}

export const NO_CHANGE: ChangeFacts = { confirmed: new Map(), tries: new Map(), kept: [] };

export function isSameForm(a: Form, b: Form): boolean {
  return a.protocol === b.protocol && a.port === b.port;
}

export function formText({ protocol, port }: { protocol: string; port: number }): string {
  return port === 0 ? protocol : `${protocol} on port ${port}`;
}

/** What a node receives, of what we can send; the one it prefers first. */
function formsOf(node: NodeRecord, meshProtocol: string): Form[] {
  const port = isUdp(meshProtocol) ? node.underlay.port : 0;
  const unsaid = node.protocols.includes(meshProtocol) ? [{ protocol: meshProtocol, port }] : [];
  return (node.receives ?? unsaid).flatMap(({ protocol, port }) =>
    isTunnelProtocol(protocol) ? [{ protocol, port }] : [],
  );
}

/**
 * What is sent to a member now, and in which form it is to be asked whether that arrives; null
 * where there is no next one. Null: it receives nothing that we can send.
 */
export function decideForm(
  node: NodeRecord,
  meshProtocol: string,
  confirmed: Form | undefined,
): { form: Form; next: Form | null } | null {
  const taken = formsOf(node, meshProtocol);
  const wanted = taken.find(({ protocol }) => protocol === meshProtocol);
  const known = taken.find((form) => confirmed !== undefined && isSameForm(form, confirmed));
  const form = known ?? wanted ?? taken[0];
  if (form === undefined) return null;
  const isSettled = wanted === undefined || isSameForm(form, wanted);
  return { form, next: isSettled ? null : wanted };
}

/** What stays open beside the mesh's own form. One UDP port has one encapsulation. */
export function keptBeside(own: Form, kept: readonly Form[]): Form[] {
  return kept.filter(
    (form) => !isSameForm(form, own) && (form.port === 0 || form.port !== own.port),
  );
}

/** Encapsulations whose headers packets may have, to or from members: the mesh's own first. */
export function protocolsInUse(own: TunnelProtocol, change: ChangeFacts): TunnelProtocol[] {
  const forms = [...change.kept, ...change.confirmed.values()];
  return [...new Set([own, ...forms.map(({ protocol }) => protocol)])];
}

/** Whether any member but this node says that it sends a form. */
export function isSentByOthers(snapshot: MeshSnapshot, ownId: string, form: Form): boolean {
  return [...snapshot.nodes.values()].some(({ nodeId, sends = [] }) => {
    const member = snapshot.members.get(nodeId);
    if (nodeId === ownId || member === undefined || member.state === "removed") return false;
    return sends.some(
      ({ protocol, port }) => protocol === form.protocol && (port === form.port || port === 0),
    );
  });
}

/** The different ones; by protocol alone when there are more than `most`. */
export function distinctForms(forms: readonly Form[], most: number): Form[] {
  const all = new Map(forms.map((form) => [`${form.protocol} ${form.port}`, form]));
  const protocols = new Map(forms.map(({ protocol }) => [protocol, { protocol, port: 0 }]));
  const shown = all.size > most ? protocols : all;
  return [...shown].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, form]) => form);
}
