// The change of the mesh's encapsulation or port, peer by peer: a peer is asked in the next form
// while packets still go in the old one, and gets them in the next when it has answered. Knows no
// timers and no sockets; the clock is its caller's.
import type { MeshSnapshot } from "../../control/index.js";
import type { FlipState } from "./flip-state.js";
import {
  type ChangeFacts,
  type Form,
  formKey,
  isSameForm,
  isSentByOthers,
  withWords,
} from "./plan/forms.js";
import type { Plan, PlannedChange } from "./plan/types.js";
import { parseAddress } from "./prefix.js";
import { decodeReply, encodeProbe } from "./probe-packets.js";
import { askable } from "./probes.js";
import { FLIPS, type Question, Questions } from "./questions.js";
import type { ChangeStatus } from "./types.js";

/** A peer is asked so many times in haste, then it stays in the old form and is asked seldom. */
export const TRIES_MAX = 5;
const HASTY_MS = 1000;
const SLOW_MS = 10_000;
/** A beat comes a little early or late. */
const SLACK_MS = 250;
/** Most questions in one beat. */
export const ASKED_MAX = 50;
/** What nobody sends any more may still be on its way, and records travel. */
const GRACE_MS = 3000;

interface Asking {
  change: PlannedChange;
  tries: number;
  asked_ms: number;
  /** Which of the peer's addresses is asked. */
  turn: number;
}

interface Asked extends Question {
  nodeId: string;
  to: Form;
}

export interface FlipsOptions {
  /** Sends an inner packet by the table entry of that index; false when it cannot now. */
  ask: (packet: Uint8Array, index: number) => boolean;
  /** What was known when the agent ended. */
  saved?: FlipState;
  /** Monotonic milliseconds. */
  now?: () => number;
}

export class Flips {
  /** Called when a new plan would be another one. */
  onChange: () => void = () => undefined;
  private confirmed: Map<string, Form>;
  private open: Form[];
  /** Open forms that records say are sent, and when each open one was last known to be. */
  private sent = new Set<string>();
  private readonly wanted = new Map<string, number>();
  private asking = new Map<string, Asking>();
  private readonly questions = new Questions<Asked>(FLIPS);
  private own: string[] = [];
  private status: ChangeStatus | null = null;
  private readonly now: () => number;

  constructor(private readonly options: FlipsOptions) {
    this.now = options.now ?? (() => performance.now());
    const { confirmed, open } = options.saved ?? { confirmed: {}, open: [] };
    this.confirmed = new Map(Object.entries(confirmed));
    this.open = open;
    // Who sends so may not have heard yet that this node is back.
    for (const form of open) this.wanted.set(formKey(form), this.now());
  }

  /** What the next plan is to be made with. */
  facts(snapshot: MeshSnapshot, ownId: string): ChangeFacts {
    const now = this.now();
    // A store that does not know this node has lost others, too: nothing is forgotten for it.
    if (snapshot.members.has(ownId)) this.forgetRemoved(snapshot);
    this.fillWords(snapshot);
    const sent = this.open.filter((form) => isSentByOthers(snapshot, ownId, form));
    this.sent = new Set(sent.map(formKey));
    // What is the mesh's own until now has been sent until now, whatever records say.
    for (const form of [...sent, ...this.open.slice(0, 1)]) this.wanted.set(formKey(form), now);
    const tries = new Map([...this.asking].map(([nodeId, asking]) => [nodeId, asking.tries]));
    const kept = this.open.filter((form) => !this.isOver(form, now));
    return { confirmed: new Map(this.confirmed), tries, kept };
  }

  /** What an agent of an earlier version left behind has no words. */
  private fillWords({ config }: MeshSnapshot): void {
    this.open = this.open.map((form) => withWords(form, config));
    for (const [nodeId, form] of this.confirmed) {
      this.confirmed.set(nodeId, withWords(form, config));
    }
  }

  private forgetRemoved({ members }: MeshSnapshot): void {
    for (const nodeId of [...this.confirmed.keys()]) {
      const state = members.get(nodeId)?.state ?? "removed";
      if (state === "removed") this.confirmed.delete(nodeId);
    }
  }

  private isOver(form: Form, now: number): boolean {
    const key = formKey(form);
    return !this.sent.has(key) && now - (this.wanted.get(key) ?? 0) >= GRACE_MS;
  }

  /** A plan is in force: its tables are published, its sockets open. Asks whom it says to ask. */
  applied(made: Plan): void {
    if (made.tables === null) return;
    this.own = made.tables.self.addresses;
    this.open = [...made.receives];
    for (const { nodeId, kind, form } of made.peers) {
      if (kind === "member") this.confirmed.set(nodeId, form);
    }
    this.asking = new Map(
      made.changes.flatMap((change) =>
        change.to === null ? [] : [[change.nodeId, this.askingOf(change)] as const],
      ),
    );
    this.status = this.statusOf(made);
    this.askDue();
  }

  private askingOf(change: PlannedChange): Asking {
    const known = this.asking.get(change.nodeId);
    const { to } = known?.change ?? {};
    const isSame = to != null && change.to !== null && isSameForm(to, change.to);
    if (known !== undefined && isSame) return { ...known, change };
    return { change, tries: 0, asked_ms: Number.NEGATIVE_INFINITY, turn: 0 };
  }

  /** One beat: asks those whose time has come; ends what nobody sends any more. */
  tick(): void {
    this.askDue();
    const now = this.now();
    if (this.open.slice(1).some((form) => this.isOver(form, now))) this.onChange();
  }

  private askDue(): void {
    const now = this.now();
    const due = [...this.asking.values()].filter(
      ({ tries, asked_ms }) =>
        now - asked_ms + SLACK_MS >= (tries < TRIES_MAX ? HASTY_MS : SLOW_MS),
    );
    due.sort((a, b) => a.asked_ms - b.asked_ms);
    for (const asking of due.slice(0, ASKED_MAX)) this.ask(asking, now);
    this.questions.forgetOld(now);
  }

  private ask(asking: Asking, now: number): void {
    const { shadow, to, nodeId } = asking.change;
    const pairs = askable(asking.change, this.own);
    const pair = pairs[asking.turn % Math.max(pairs.length, 1)];
    const address = parseAddress(pair?.destination ?? "");
    if (shadow === null || to === null || pair === undefined || address === undefined) return;
    const sequence = this.questions.next();
    const packet = encodeProbe(pair.source, pair.destination, sequence);
    if (packet === null || !this.options.ask(packet, shadow)) return;
    this.questions.add(sequence, { nodeId, to, address: address.value, asked_ms: now });
    asking.asked_ms = now;
    asking.turn++;
    asking.tries++;
  }

  /** Takes a packet that the hot path punted. True when it answered one of our questions. */
  onPunt(packet: Uint8Array): boolean {
    const reply = decodeReply(packet);
    const question = reply === null ? undefined : this.questions.take(reply);
    if (question === undefined) return false;
    const to = this.asking.get(question.nodeId)?.change.to;
    if (to == null || !isSameForm(to, question.to)) return true;
    this.confirmed.set(question.nodeId, question.to);
    this.asking.delete(question.nodeId);
    this.onChange();
    return true;
  }

  /** null while no change is under way. */
  report(): ChangeStatus | null {
    if (this.status === null) return null;
    const now = this.now();
    const staying = [...this.asking.values()].filter((asking) => isStaying(asking, now));
    return { ...this.status, staying: staying.map(({ change }) => change.name).sort() };
  }

  state(): FlipState {
    return { confirmed: Object.fromEntries([...this.confirmed].sort()), open: [...this.open] };
  }

  private statusOf({ peers, receives, changes }: Plan): ChangeStatus | null {
    const [mesh, ...kept] = receives;
    if (mesh === undefined || (changes.length === 0 && kept.length === 0)) return null;
    const members = peers.filter(({ kind }) => kind === "member").length;
    const waiting = changes.filter(({ to }) => to === null).map(({ name }) => name);
    return {
      ...mesh,
      done: members - changes.length,
      total: members,
      waiting: waiting.sort(),
      staying: [],
      kept,
    };
  }
}

/** The hasty questions are over, the last one has had its time. */
function isStaying({ tries, asked_ms }: Asking, now: number): boolean {
  return tries > TRIES_MAX || (tries === TRIES_MAX && now - asked_ms >= HASTY_MS - SLACK_MS);
}
