// The PPTP control connection (RFC 2637, 2.1 to 2.6 and 3.1) as an automaton for both roles: bytes
// and the time come in, bytes and events go out. It owns no socket and no timer.
import { Calls } from "./calls.js";
import {
  ANY_BEARER,
  ANY_FRAMING,
  describeResult,
  GeneralError,
  PlainResult,
  StartResult,
  StopReason,
  VERSION,
} from "./codes.js";
import { PptpError } from "./errors.js";
import { type BadPrefix, type Message, type MessageOf, writeMessage } from "./messages.js";
import { Splitter } from "./splitter.js";
import {
  type Call,
  type CallOffer,
  type CallRequest,
  type CloseCode,
  type ControlEvents,
  type ControlOptions,
  type ControlState,
  type ControlStatus,
  DEFAULT_TIMERS,
  type HangUp,
  type PeerNames,
  type Refusal,
  type Timers,
  type WanErrors,
} from "./types.js";

const CALLS_MAX = 64;
const MINUTE_MS = 60_000;
const FIRMWARE = 1;
const BAD_PREFIXES: Readonly<Record<BadPrefix, string>> = {
  magic: "the magic number is not PPTP's",
  length: "a message has not the length of its type",
  type: "a message has no known type",
};

type Start = MessageOf<"startRequest" | "startReply">;

export class ControlConnection {
  readonly #options: ControlOptions;
  readonly #events: ControlEvents;
  readonly #timers: Timers;
  readonly #splitter = new Splitter();
  readonly #calls: Calls;
  #state: ControlState = "new";
  #peer: PeerNames | null = null;
  /** When we stop waiting for the other end's start, or for its answer to our stop. */
  #patience: number | null = null;
  /** When we ask for a sign of life, and when we stop waiting for it. */
  #idleAt: number | null = null;
  #echoUntil: number | null = null;
  /** When the rest of a message that began must be there. */
  #messageUntil: number | null = null;
  /** Messages since the minute began. */
  #minute = { from_ms: 0, count: 0 };
  #hadCalls = false;
  #calllessSince = 0;
  #echoes = 0;
  readonly #counts = { messagesIn: 0, messagesOut: 0, ignored: 0 };

  constructor(options: ControlOptions, events: ControlEvents) {
    this.#options = options;
    this.#events = events;
    this.#timers = { ...DEFAULT_TIMERS, ...options.timers };
    const line = {
      send: (message: Message) => this.#send(message),
      badOrder: (message: Message) => this.#badOrder(message),
      ignore: () => this.#ignore(),
    };
    const { reply_ms, answer_ms } = this.#timers;
    const { roles, callsMax = CALLS_MAX } = options;
    this.#calls = new Calls(line, events, { roles, callsMax, reply_ms, answer_ms });
  }

  get state(): ControlState {
    return this.#state;
  }

  get status(): ControlStatus {
    const { list: calls } = this.#calls;
    return { state: this.#state, peer: this.#peer, calls, ...this.#counts };
  }

  /** The TCP connection is there. Who opened it sends the first message. */
  start(now_ms: number): void {
    if (this.#state !== "new") return;
    this.#state = "waiting";
    this.#patience = now_ms + this.#timers.establish_ms;
    if (this.#options.opens) this.#send({ kind: "startRequest", ...this.#ownNames() });
  }

  /** Bytes of the TCP stream, cut anyhow. */
  receive(bytes: Uint8Array, now_ms: number) {
    if (this.#isOver()) return;
    const bad = this.#splitter.push(bytes, (message) => this.#message(message, now_ms));
    if (this.#isOver()) return;
    if (bad !== undefined) return this.#close("MESHD_PPTP_BAD_MESSAGE", BAD_PREFIXES[bad]);
    if (this.#splitter.pending === 0) this.#messageUntil = null;
    else this.#messageUntil ??= now_ms + this.#timers.message_ms;
  }

  /** The TCP connection is gone, by the other end or by an error. */
  transportClosed(message: string): void {
    this.#close("MESHD_PPTP_TRANSPORT", message);
  }

  /** Another connection of the same two ends won (3.1.3): this one ends without a word. */
  collided(): void {
    this.#close("MESHD_PPTP_COLLISION", "the other end's connection goes first");
  }

  /** Ends all calls, then the connection. `closed` comes when the other end agreed, or late. */
  stop(now_ms: number, reason: StopReason = StopReason.LOCAL_SHUTDOWN) {
    if (this.#isOver() || this.#state === "stopping") return;
    if (this.#state !== "established") {
      return this.#close("MESHD_PPTP_STOPPED", "stopped before it was up");
    }
    for (const call of this.#calls.list) this.#calls.hangUp(call, "admin", now_ms);
    this.#state = "stopping";
    this.#calls.clear("the control connection stops");
    this.#idleAt = null;
    this.#echoUntil = null;
    this.#patience = now_ms + this.#timers.stop_ms;
    this.#send({ kind: "stopRequest", reason });
  }

  /**
   * PNS: asks for an outgoing call; `connected` or `ended` tells what came of it.
   * @throws PptpError MESHD_PPTP_NOT_UP, _ROLE, _CALLS_FULL, _BAD_CALL
   */
  dial(request: CallRequest, now_ms: number): Call {
    this.#needEstablished();
    const call = this.#calls.dial(request, now_ms);
    this.#lookAtCalls(now_ms);
    return call;
  }

  /** PAC: offers an incoming call; else as `dial`. */
  offer(request: CallRequest, now_ms: number): Call {
    this.#needEstablished();
    const call = this.#calls.offer(request, now_ms);
    this.#lookAtCalls(now_ms);
    return call;
  }

  /** Says yes to a call of `requested`. As PAC it is up at once, as PNS when they confirm. */
  accept(call: Call, offer: CallOffer, now_ms: number): void {
    this.#calls.accept(call, offer, now_ms);
  }

  refuse(call: Call, why: Refusal, now_ms: number): void {
    this.#calls.refuse(call, why);
    this.#lookAtCalls(now_ms);
  }

  /** Ends a call; `ended` comes before this returns. A call that is over stays so. */
  hangUp(call: Call, why: HangUp, now_ms: number): void {
    this.#calls.hangUp(call, why, now_ms);
    this.#lookAtCalls(now_ms);
  }

  /** Tells what their line must escape (our PPP's ACCM). @throws PptpError MESHD_PPTP_NOT_UP */
  setLinkInfo(call: Call, accm: { send: number; receive: number }): void {
    this.#calls.setLinkInfo(call, accm);
  }

  /** Tells errors of our line, sums since the call began. @throws PptpError MESHD_PPTP_NOT_UP */
  tellErrors(call: Call, errors: WanErrors): void {
    this.#calls.tellErrors(call, errors);
  }

  /** When `tick` has something to do next; null: nothing is awaited. */
  nextDeadline(): number | null {
    const life = this.#echoUntil ?? this.#idleAt;
    const own = [this.#patience, life, this.#messageUntil, this.#calllessUntil()];
    const all = [...own, this.#calls.nextDeadline()].filter((deadline) => deadline !== null);
    return all.length === 0 ? null : Math.min(...all);
  }

  /** Does what is due. Calling it early or twice does no harm. */
  tick(now_ms: number) {
    const isDue = (deadline: number | null) => deadline !== null && deadline <= now_ms;
    if (this.#isOver()) return;
    if (isDue(this.#patience)) return this.#late("the other end did not answer in time");
    if (isDue(this.#echoUntil)) return this.#late("no answer to Echo-Request");
    if (isDue(this.#messageUntil)) return this.#late("a message that began did not end in time");
    if (!this.#calls.tick(now_ms)) return this.#late("a reply about a call did not come in time");
    this.#lookAtCalls(now_ms);
    if (isDue(this.#calllessUntil())) return this.stop(now_ms, StopReason.NONE);
    if (isDue(this.#idleAt)) this.#askForLife(now_ms);
  }

  /** False when nothing more of the stream matters. */
  #message(message: Message, now_ms: number): boolean {
    this.#counts.messagesIn += 1;
    this.#messageUntil = null;
    if (this.#isFlood(now_ms)) {
      this.#close("MESHD_PPTP_FLOOD", "the other end sends too many messages");
      return false;
    }
    if (this.#idleAt !== null) this.#idleAt = now_ms + this.#timers.idle_ms;
    if (this.#state === "waiting") this.#whileWaiting(message, now_ms);
    else if (this.#state === "stopping") this.#whileStopping(message);
    else this.#whileEstablished(message, now_ms);
    return !this.#isOver();
  }

  #isFlood(now_ms: number): boolean {
    if (now_ms - this.#minute.from_ms >= MINUTE_MS) this.#minute = { from_ms: now_ms, count: 0 };
    this.#minute.count += 1;
    return this.#minute.count > (this.#options.messagesMax ?? Number.POSITIVE_INFINITY);
  }

  #whileWaiting(message: Message, now_ms: number) {
    if (message.kind === "startRequest") return this.#startRequest(message, now_ms);
    if (!this.#options.opens) return this.#badOrder(message);
    if (message.kind === "startReply") return this.#startReply(message, now_ms);
    if (message.kind === "stopRequest") return this.#stopRequest();
    this.#badOrder(message);
  }

  #whileEstablished(message: Message, now_ms: number) {
    switch (message.kind) {
      case "startRequest":
        this.#replyToStart(StartResult.ALREADY_EXISTS);
        return this.#badOrder(message);
      case "stopRequest":
        return this.#stopRequest();
      case "echoRequest":
        return this.#echoRequest(message);
      case "echoReply":
        if (this.#echoUntil === null) return this.#ignore();
        this.#echoUntil = null;
        return;
      case "startReply":
      case "stopReply":
        return this.#badOrder(message);
      default:
        this.#calls.receive(message, now_ms);
        this.#lookAtCalls(now_ms);
    }
  }

  #whileStopping(message: Message) {
    if (message.kind === "stopRequest") return this.#stopRequest();
    if (message.kind !== "stopReply") return this.#ignore();
    this.#close("MESHD_PPTP_STOPPED", "we stopped it");
  }

  #startRequest(message: MessageOf<"startRequest">, now_ms: number) {
    // Both asked on one TCP connection: the higher address's request stands (3.1.3).
    if (this.#options.opens && this.#options.outranks === true) return this.#ignore();
    if (message.version >> 8 !== VERSION >> 8) {
      this.#replyToStart(StartResult.BAD_VERSION);
      const version = `${message.version >> 8}.${message.version & 0xff}`;
      return this.#close("MESHD_PPTP_REFUSED", `the other end speaks version ${version}`);
    }
    const result = this.#events.admit?.(namesOf(message)) ?? StartResult.OK;
    if (this.#isOver()) return;
    this.#replyToStart(result);
    if (result === StartResult.OK) return this.#establish(message, now_ms);
    const words = describeResult(StartResult, result, GeneralError.NONE);
    this.#close("MESHD_PPTP_REFUSED", `we refused it: ${words}`);
  }

  #startReply(message: MessageOf<"startReply">, now_ms: number) {
    // Some modems answer 0 and mean yes.
    const refused = message.result !== StartResult.OK && message.result !== 0;
    if (!refused && message.version >> 8 === VERSION >> 8) return this.#establish(message, now_ms);
    const words = refused
      ? describeResult(StartResult, message.result, message.error)
      : `version ${message.version >> 8}`;
    this.#close("MESHD_PPTP_REFUSED", `the other end refuses: ${words}`);
  }

  #establish(message: Start, now_ms: number): void {
    this.#state = "established";
    this.#patience = null;
    this.#idleAt = now_ms + this.#timers.idle_ms;
    this.#calllessSince = now_ms;
    this.#peer = namesOf(message);
    this.#events.established?.(this.#peer);
  }

  #stopRequest(): void {
    this.#send({ kind: "stopReply", result: PlainResult.OK, error: GeneralError.NONE });
    this.#close("MESHD_PPTP_STOPPED", "the other end stopped it");
  }

  #echoRequest({ identifier }: MessageOf<"echoRequest">): void {
    const answer = { identifier, result: PlainResult.OK, error: GeneralError.NONE };
    this.#send({ kind: "echoReply", ...answer });
  }

  #askForLife(now_ms: number): void {
    this.#idleAt = now_ms + this.#timers.idle_ms;
    if (this.#echoUntil !== null) return;
    this.#echoUntil = now_ms + this.#timers.echo_ms;
    this.#echoes = (this.#echoes + 1) >>> 0;
    this.#send({ kind: "echoRequest", identifier: this.#echoes });
  }

  #calllessUntil(): number | null {
    const { callless_ms } = this.#timers;
    if (this.#state !== "established" || this.#calls.count > 0 || callless_ms === null) return null;
    return this.#calllessSince + callless_ms;
  }

  /** Remembers since when there is no call. */
  #lookAtCalls(now_ms: number): void {
    const hasCalls = this.#calls.count > 0;
    if (this.#hadCalls && !hasCalls) this.#calllessSince = now_ms;
    this.#hadCalls = hasCalls;
  }

  #ownNames(): Omit<MessageOf<"startRequest">, "kind"> {
    const { hostName, vendor = "meshd", roles, callsMax = CALLS_MAX } = this.#options;
    const abilities = { framing: ANY_FRAMING, bearer: ANY_BEARER };
    const maxChannels = roles.includes("pac") ? callsMax : 0;
    return { version: VERSION, ...abilities, maxChannels, firmware: FIRMWARE, hostName, vendor };
  }

  #replyToStart(result: StartResult): void {
    const error = GeneralError.NONE;
    this.#send({ kind: "startReply", result, error, ...this.#ownNames() });
  }

  #send(message: Message): void {
    if (this.#isOver()) return;
    this.#counts.messagesOut += 1;
    this.#events.send(writeMessage(message));
  }

  #ignore(): void {
    this.#counts.ignored += 1;
  }

  #badOrder(message: Message): void {
    const when = this.#state === "waiting" ? "before the start" : "now";
    this.#close("MESHD_PPTP_BAD_ORDER", `a ${message.kind} must not come ${when}`);
  }

  #late(message: string): void {
    this.#close("MESHD_PPTP_TIMEOUT", message);
  }

  #close(code: CloseCode, message: string): void {
    if (this.#isOver()) return;
    this.#state = "closed";
    this.#patience = null;
    this.#idleAt = null;
    this.#echoUntil = null;
    this.#messageUntil = null;
    this.#calls.clear(message);
    this.#events.closed({ code, message });
  }

  #isOver(): boolean {
    return this.#state === "closed";
  }

  /** @throws PptpError MESHD_PPTP_NOT_UP */
  #needEstablished(): void {
    if (this.#state === "established") return;
    throw new PptpError("MESHD_PPTP_NOT_UP", `the control connection is ${this.#state}`);
  }
}

function namesOf({ hostName, vendor, firmware }: Start): PeerNames {
  return { hostName, vendor, firmware };
}
