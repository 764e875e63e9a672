// In which form packets go to each member while the mesh's encapsulation, its port or a word of its
// headers changes: pure. A form that is known to arrive stays in use until the next one is known to
// arrive, too.
import {
  FORMS_MAX,
  type MeshConfig,
  type MeshSnapshot,
  type NodeRecord,
  type TunnelForm,
  WORDS,
  wordsOf,
} from "../../../control/index.js";
import { isTunnelProtocol, isUdp, type TunnelProtocol } from "../protocols.js";

/** An encapsulation, the port it goes to (0 where it has none), and the words of its headers. */
export interface Form extends TunnelForm {
  protocol: TunnelProtocol;
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

/** Network numbers, and GRE keys, that the tables accept from one peer. */
const ACCEPTED_MAX = 2;

/** The same for equal forms alone. */
export function formKey(form: TunnelForm): string {
  let key = `${form.protocol} ${form.port}`;
  for (const word of WORDS) key += ` ${form[word] ?? null}`;
  return key;
}

export function isSameForm(a: TunnelForm, b: TunnelForm): boolean {
  return a.port === b.port && isSameButPort(a, b);
}

/** Whether only the port may differ. */
export function isSameButPort(a: TunnelForm, b: TunnelForm): boolean {
  if (a.protocol !== b.protocol) return false;
  for (const word of WORDS) if ((a[word] ?? null) !== (b[word] ?? null)) return false;
  return true;
}

/** The form that the mesh's settings ask for. */
export function meshForm(config: MeshConfig, protocol: TunnelProtocol, port: number): Form {
  return { protocol, port, ...wordsOf(config, protocol) };
}

/** What earlier versions wrote has no words: they have the mesh's own. */
export function withWords<T extends TunnelForm>(form: T, config: MeshConfig): T {
  return { ...wordsOf(config, form.protocol), ...form };
}

/** What a node receives, of what we can send; the one it prefers first. */
function formsOf(node: NodeRecord, config: MeshConfig): Form[] {
  const { tunnelProtocol: protocol } = config;
  const port = isUdp(protocol) ? node.underlay.port : 0;
  const unsaid = node.protocols.includes(protocol) ? [{ protocol, port }] : [];
  return (node.receives ?? unsaid).flatMap((form) => {
    const { protocol } = form;
    return isTunnelProtocol(protocol) ? [{ ...withWords(form, config), protocol }] : [];
  });
}

/**
 * What is sent to a member now, and in which form it is to be asked whether that arrives; null
 * where there is no next one. Null: it receives nothing that we can send.
 */
export function decideForm(
  node: NodeRecord,
  config: MeshConfig,
  confirmed: Form | undefined,
): { form: Form; next: Form | null } | null {
  const taken = formsOf(node, config);
  const wanted = taken.find((form) => isMeshForm(form, config));
  const known = taken.find((form) => confirmed !== undefined && isSameForm(form, confirmed));
  const form = known ?? wanted ?? taken[0];
  if (form === undefined) return null;
  const isSettled = wanted === undefined || isSameForm(form, wanted);
  return { form, next: isSettled ? null : wanted };
}

/** Whether a form is what the settings ask for, at whatever port. */
export function isMeshForm(form: Form, config: MeshConfig): boolean {
  const { tunnelProtocol } = config;
  if (form.protocol !== tunnelProtocol) return false;
  return isSameButPort(form, meshForm(config, tunnelProtocol, form.port));
}

/**
 * What stays open beside the mesh's own form, the newest first. The tables have room for few
 * network numbers and keys, a record for as many forms.
 */
export function keptBeside(own: Form, kept: readonly Form[]): Form[] {
  const open = [own];
  for (const form of kept) {
    if (open.length === FORMS_MAX) break;
    const isNew = !open.some((one) => isSameForm(one, form));
    if (isNew && areReceivable([...open, form])) open.push(form);
  }
  return open.slice(1);
}

function areReceivable(forms: readonly Form[]): boolean {
  const keys = new Set(forms.flatMap(({ greKey = null }) => greKey ?? []));
  const vnis = new Set(forms.flatMap(({ vni }) => vni ?? []));
  return keys.size <= ACCEPTED_MAX && vnis.size <= ACCEPTED_MAX;
}

/** What packets may be in, to or from members: the mesh's own first, each once. */
export function formsInUse(own: Form, change: ChangeFacts): Form[] {
  const all: Form[] = [own];
  const add = (form: Form) => {
    if (!all.some((one) => isSameForm(one, form))) all.push(form);
  };
  for (const form of change.kept) add(form);
  // Of each member there is one, and nearly all are the same.
  for (const form of change.confirmed.values()) add(form);
  return all;
}

/** Whether any member but this node says that it sends a form. */
export function isSentByOthers(snapshot: MeshSnapshot, ownId: string, form: Form): boolean {
  return [...snapshot.nodes.values()].some(({ nodeId, sends = [] }) => {
    const member = snapshot.members.get(nodeId);
    if (nodeId === ownId || member === undefined || member.state === "removed") return false;
    return sends.some((said) => holds(said, form, snapshot.config));
  });
}

/** Whether what a record says is sent may be this form. */
function holds(said: TunnelForm, form: Form, config: MeshConfig): boolean {
  if (said.port !== 0) return isSameForm(withWords(said, config), form);
  const isAnyWord = WORDS.every((word) => said[word] === undefined);
  return isAnyWord ? said.protocol === form.protocol : isSameForm(said, form);
}

/** The different ones; by protocol alone when there are more than `most`. */
export function distinctForms(forms: readonly Form[], most: number): Form[] {
  // Of a thousand peers nearly all have the same: few are ever held side by side.
  const all: Form[] = [];
  for (const form of forms) {
    const at = all.findIndex((one) => isSameForm(one, form));
    all[at < 0 ? all.length : at] = form;
  }
  const protocols = new Map(all.map(({ protocol }) => [protocol, { protocol, port: 0 }]));
  const keyed = all.map((form) => [formKey(form), form] as const);
  const shown: readonly (readonly [string, Form])[] = all.length > most ? [...protocols] : keyed;
  return [...shown].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, form]) => form);
}
