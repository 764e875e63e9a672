// One option negotiation automaton: the state table of RFC 1661 brought to life with a restart
// timer, counters and packets. What the options mean is its layer's business.

import type { Action, Event } from "./state-table.js";
import { cellAt, State } from "./state-table.js";
import type { Option, Packet } from "./wire.js";
import { Code, isSame, readOptions, readPacket, writeOptions, writePacket } from "./wire.js";

/** RFC 1661 section 4.6. */
export const RESTART_MS = 3_000;
export const MAX_CONFIGURE = 10;
export const MAX_TERMINATE = 2;
export const MAX_FAILURE = 5;
/** Naks and Rejects in a row that we follow. The RFC has no such end; a peer may go on for ever. */
export const MAX_NAKS = 10;
/** Bytes of a reason in Terminate-Request. */
const REASON_MAX = 64;

/** What a Configure-Request is answered with. */
export interface Answer {
  code: 2 | 3 | 4;
  options: readonly Option[];
}

/** The protocol that an automaton negotiates. Callbacks may open and close other automata. */
export interface Layer {
  readonly protocol: number;
  /** Wishes as at the beginning: a negotiation starts. */
  reset(): void;
  /** The options of our next Configure-Request. */
  request(): Option[];
  /** The answer to these options; `mayNak` is false after Max-Failure Naks. Changes nothing. */
  judge(options: readonly Option[], mayNak: boolean): Answer;
  /** These options of the peer hold from now on; their Configure-Ack leaves right after. */
  acking(options: readonly Option[]): void;
  /** The peer agreed to our request; false: it must be asked once more, with less. */
  acked(options: readonly Option[]): boolean;
  naked(options: readonly Option[]): void;
  rejected(options: readonly Option[]): void;
  /** Whether the peer behaves as if it had agreed to our request; asked when no answer came. */
  hasImplied?(): boolean;
  /** Whether a packet with a code above 7 is one of this protocol's. */
  knows(packet: Packet): boolean;
  /** Such a packet, while the layer is open. */
  extended(packet: Packet): void;
  up(): void;
  down(): void;
  /** The layer needs the one below no more. */
  finished(): void;
}

export interface AutomatonOutput {
  send(frame: Uint8Array): void;
  /** The most that the peer takes; rejected packets are cut to it. */
  peerMru(): number;
}

interface Step {
  event: Event;
  packet: Packet | null;
  answer: Answer | null;
  /** Done between the check of the state and the actions. */
  before: (() => void) | null;
}

/** Timer runs in these states only. */
const isTimed = (state: State) => state >= State.CLOSING && state <= State.ACK_SENT;
/** A negotiation that starts from one of these starts with fresh wishes. */
const isFresh = (state: State) => state <= State.STOPPED || state === State.OPENED;

export class Automaton {
  #state: State = State.INITIAL;
  #count = 0;
  #deadline: number | null = null;
  #now = 0;
  #lastId = 0;
  #request: { id: number; data: Uint8Array; isAnswered: boolean } | null = null;
  #naksSent = 0;
  #naksReceived = 0;
  #reason = "";
  #steps: Step[] = [];
  #isStepping = false;

  constructor(
    private readonly layer: Layer,
    private readonly output: AutomatonOutput,
  ) {}

  get state(): State {
    return this.#state;
  }

  get isOpened(): boolean {
    return this.#state === State.OPENED;
  }

  nextDeadline(): number | null {
    return this.#deadline;
  }

  lowerUp(now_ms: number): void {
    this.#signal("Up", now_ms);
  }

  lowerDown(now_ms: number): void {
    this.#signal("Down", now_ms);
  }

  open(now_ms: number): void {
    this.#signal("Open", now_ms);
  }

  /** @param reason goes into the Terminate-Request, for the peer's log */
  close(reason: string, now_ms: number): void {
    this.#reason = reason;
    this.#signal("Close", now_ms);
  }

  /** The peer rejected this whole protocol. */
  protocolRejected(now_ms: number): void {
    this.#signal("RXJ-", now_ms);
  }

  tick(now_ms: number): void {
    if (this.#deadline === null || now_ms < this.#deadline) return;
    this.#now = now_ms;
    if (this.#state === State.ACK_SENT && this.layer.hasImplied?.() === true) {
      this.#implied();
      return;
    }
    this.#signal(this.#count > 0 ? "TO+" : "TO-", now_ms);
  }

  /** The next identifier of a packet of ours. */
  nextId(): number {
    this.#lastId = (this.#lastId + 1) & 0xff;
    return this.#lastId;
  }

  /** A packet with a code of its own, as Echo-Request. */
  sendPacket(code: number, id: number, data: Uint8Array): void {
    this.output.send(writePacket(this.layer.protocol, { code, id, data }));
  }

  /** A frame of this protocol. @returns false when it was ignored */
  receive(frame: Uint8Array, now_ms: number): boolean {
    if (this.#state <= State.STARTING) return false;
    const packet = readPacket(frame);
    if (packet === null) return false;
    this.#now = now_ms;
    switch (packet.code) {
      case Code.CONFIGURE_REQUEST:
        return this.#requested(packet);
      case Code.CONFIGURE_ACK:
      case Code.CONFIGURE_NAK:
      case Code.CONFIGURE_REJECT:
        return this.#answered(packet);
      case Code.TERMINATE_REQUEST:
        return this.#step({ event: "RTR", packet, answer: null, before: null });
      case Code.TERMINATE_ACK:
        return this.#step({ event: "RTA", packet, answer: null, before: null });
      case Code.CODE_REJECT:
        return this.#codeRejected(packet);
      default: {
        const event = this.layer.knows(packet) ? "RXR" : "RUC";
        return this.#step({ event, packet, answer: null, before: null });
      }
    }
  }

  #signal(event: Event, now_ms: number): void {
    this.#now = now_ms;
    this.#step({ event, packet: null, answer: null, before: null });
  }

  #requested(packet: Packet): boolean {
    const options = readOptions(packet.data);
    if (options === null) return false;
    const answer = this.layer.judge(options, this.#naksSent < MAX_FAILURE);
    const event = answer.code === Code.CONFIGURE_ACK ? "RCR+" : "RCR-";
    return this.#step({ event, packet, answer, before: null });
  }

  /** Only the first answer to our last request counts: a repeated one is no new event. */
  #answered(packet: Packet): boolean {
    const request = this.#request;
    const options = readOptions(packet.data);
    if (options === null) return false;
    if (this.#state < State.REQ_SENT) {
      const event = packet.code === Code.CONFIGURE_ACK ? "RCA" : "RCN";
      return this.#step({ event, packet, answer: null, before: null });
    }
    if (request === null || request.isAnswered || packet.id !== request.id) return false;
    if (packet.code === Code.CONFIGURE_ACK) return this.#agreed(packet, options, request.data);
    const isReject = packet.code === Code.CONFIGURE_REJECT;
    if (isReject && !isPartOf(options, readOptions(request.data) ?? [])) return false;
    request.isAnswered = true;
    this.#naksReceived += 1;
    if (this.#naksReceived > MAX_NAKS) {
      return this.#step({ event: "TO-", packet, answer: null, before: null });
    }
    const before = () => this.layer[isReject ? "rejected" : "naked"](options);
    return this.#step({ event: "RCN", packet, answer: null, before });
  }

  #agreed(packet: Packet, options: Option[], asked: Uint8Array): boolean {
    if (!isSame(packet.data, asked) || this.#request === null) return false;
    this.#request.isAnswered = true;
    const isFine = this.layer.acked(options);
    if (!isFine) this.#naksReceived += 1;
    const event = isFine ? "RCA" : this.#naksReceived > MAX_NAKS ? "TO-" : "RCN";
    return this.#step({ event, packet, answer: null, before: null });
  }

  /** The Ack got lost: to ask again would be a negotiation anew for a peer that is open. */
  #implied(): void {
    if (this.#request === null) return;
    this.#request.isAnswered = true;
    this.layer.acked(readOptions(this.#request.data) ?? []);
    this.#step({ event: "RCA", packet: null, answer: null, before: null });
  }

  /** Codes 1 to 7 are needed; a peer without one of the others just lacks it. */
  #codeRejected(packet: Packet): boolean {
    const code = packet.data[0] ?? 0;
    const isNeeded = code >= Code.CONFIGURE_REQUEST && code <= Code.CODE_REJECT;
    if (!isNeeded) this.layer.extended(packet);
    const event = isNeeded ? "RXJ-" : "RXJ+";
    return this.#step({ event, packet, answer: null, before: null });
  }

  /** Runs to completion: what callbacks bring up meanwhile comes after. */
  #step(step: Step): boolean {
    this.#steps.push(step);
    if (this.#isStepping) return true;
    this.#isStepping = true;
    let isTaken = true;
    try {
      for (let next = this.#steps.shift(); next !== undefined; next = this.#steps.shift()) {
        isTaken = this.#apply(next) && isTaken;
      }
    } finally {
      this.#isStepping = false;
      this.#steps = [];
    }
    return isTaken;
  }

  #apply(step: Step): boolean {
    const from = this.#state;
    const cell = cellAt(step.event, from);
    if (cell === null) return false;
    step.before?.();
    this.#state = cell.next;
    // Before the actions: those that need the timer start it anew.
    if (!isTimed(cell.next)) this.#deadline = null;
    for (const action of cell.actions) this.#act(action, cell.actions, step, from);
    return true;
  }

  #act(action: Action, all: readonly Action[], step: Step, from: State): void {
    switch (action) {
      case "tlu":
        this.#naksSent = 0;
        this.#naksReceived = 0;
        this.layer.up();
        return;
      case "tld":
        this.layer.down();
        return;
      case "tls":
        return;
      case "tlf":
        this.layer.finished();
        return;
      case "irc":
        this.#count = all.includes("str") ? MAX_TERMINATE : MAX_CONFIGURE;
        return;
      case "zrc":
        this.#count = 0;
        this.#deadline = this.#now + RESTART_MS;
        return;
      case "scr":
        this.#sendRequest(step.event, from);
        return;
      case "str":
        this.#sendTerminate();
        return;
      default:
        this.#reply(action, step);
        return;
    }
  }

  #reply(action: Action, { packet, answer }: Step): void {
    if (packet === null) return;
    switch (action) {
      case "sca":
        this.#naksSent = 0;
        if (answer !== null) this.layer.acking(answer.options);
        this.sendPacket(Code.CONFIGURE_ACK, packet.id, packet.data);
        return;
      case "scn":
        if (answer === null) return;
        if (answer.code === Code.CONFIGURE_NAK) this.#naksSent += 1;
        this.sendPacket(answer.code, packet.id, writeOptions(answer.options));
        return;
      case "sta":
        this.sendPacket(Code.TERMINATE_ACK, packet.id, new Uint8Array(0));
        return;
      case "scj":
        this.#sendCodeReject(packet);
        return;
      case "ser":
        this.layer.extended(packet);
        return;
      default:
        return;
    }
  }

  /** Repeated with the same identifier on a timeout, so that a late answer still counts. */
  #sendRequest(event: Event, from: State): void {
    this.#count -= 1;
    this.#deadline = this.#now + RESTART_MS;
    if (isFresh(from)) {
      this.layer.reset();
      this.#naksSent = 0;
      this.#naksReceived = 0;
    }
    if (event !== "TO+" || this.#request === null || this.#request.isAnswered) {
      const data = writeOptions(this.layer.request());
      this.#request = { id: this.nextId(), data, isAnswered: false };
    }
    this.sendPacket(Code.CONFIGURE_REQUEST, this.#request.id, this.#request.data);
  }

  #sendTerminate(): void {
    this.#count -= 1;
    this.#deadline = this.#now + RESTART_MS;
    this.#request = null;
    const data = Buffer.from(this.#reason, "utf8").subarray(0, REASON_MAX);
    this.sendPacket(Code.TERMINATE_REQUEST, this.nextId(), data);
  }

  #sendCodeReject(packet: Packet): void {
    const rejected = writePacket(0, packet).subarray(2);
    // The rejected packet comes behind a header of its own.
    const data = rejected.subarray(0, Math.max(0, this.output.peerMru() - 4));
    this.sendPacket(Code.CODE_REJECT, this.nextId(), data);
  }
}

/** A Reject holds options of the request, as they were and in their order (RFC 1661 5.4). */
function isPartOf(options: readonly Option[], asked: readonly Option[]): boolean {
  let at = 0;
  for (const option of options) {
    const found = asked.findIndex(
      ({ type, value }, i) => i >= at && type === option.type && isSame(value, option.value),
    );
    if (found < 0) return false;
    at = found + 1;
  }
  return options.length > 0;
}
