// The calls of one control connection (RFC 2637, 2.7 to 2.15 and 3.2): set up, told of, cleared.
// Messages go out through `Line`; the connection itself, start, stop and echo, is not known here.
import * as write from "./call-messages.js";
import { CallTable, type Entry } from "./call-table.js";
import {
  DisconnectResult,
  describeResult,
  GeneralError,
  IncomingResult,
  OutgoingResult,
} from "./codes.js";
import { PptpError } from "./errors.js";
import type { Message, MessageOf } from "./messages.js";
import type {
  Call,
  CallEnd,
  CallOffer,
  CallRequest,
  ControlEvents,
  HangUp,
  Refusal,
  Role,
  WanErrors,
} from "./types.js";

/** What calls need of their connection. */
export interface Line {
  send(message: Message): void;
  /** The message came when it must not: the connection ends. */
  badOrder(message: Message): void;
  ignore(): void;
}

export interface CallLimits {
  roles: readonly Role[];
  callsMax: number;
  reply_ms: number;
  answer_ms: number;
}

type CallEvents = Omit<ControlEvents, "send" | "closed" | "established" | "admit">;

const OUTGOING_REFUSALS: Readonly<Record<Refusal, [OutgoingResult, GeneralError]>> = {
  busy: [OutgoingResult.BUSY, GeneralError.NONE],
  "not-allowed": [OutgoingResult.NOT_ACCEPTED, GeneralError.NONE],
  "no-resource": [OutgoingResult.GENERAL_ERROR, GeneralError.NO_RESOURCE],
  timeout: [OutgoingResult.TIMEOUT, GeneralError.NONE],
};
const HANG_UPS: Readonly<Record<HangUp, DisconnectResult>> = {
  request: DisconnectResult.REQUEST,
  admin: DisconnectResult.ADMIN_SHUTDOWN,
  lost: DisconnectResult.LOST_CARRIER,
};
const SERIAL_MAX = 0xffff;
/** Messages tell delays in tenths of a second. */
const DELAY_UNIT_MS = 100;

export class Calls {
  readonly #line: Line;
  readonly #events: CallEvents;
  readonly #limits: CallLimits;
  readonly #table: CallTable;
  #serial = 0;

  constructor(line: Line, events: CallEvents, limits: CallLimits) {
    this.#line = line;
    this.#events = events;
    this.#limits = limits;
    this.#table = new CallTable(limits.callsMax);
  }

  get list(): readonly Call[] {
    return this.#table.all();
  }

  get count(): number {
    return this.#table.size;
  }

  /** PNS: asks their PAC for a call. */
  dial(request: CallRequest, now_ms: number): Call {
    const entry = this.#place("pns", request, now_ms);
    this.#line.send(write.outgoingRequest(entry));
    return entry;
  }

  /** PAC: offers a call that came in on a line of ours to their PNS. */
  offer(request: CallRequest, now_ms: number): Call {
    const entry = this.#place("pac", request, now_ms);
    this.#line.send(write.incomingRequest(entry));
    return entry;
  }

  accept(call: Call, offer: CallOffer, now_ms: number) {
    const entry = this.#requested(call);
    this.#table.needFree(offer.id);
    entry.id = offer.id;
    entry.ownWindow = offer.window;
    entry.speed_bps = offer.speed_bps ?? entry.speed_bps;
    if (entry.role === "pns") {
      entry.state = "connecting";
      entry.deadline = now_ms + this.#limits.reply_ms;
      return this.#line.send(write.incomingYes(entry));
    }
    this.#line.send(write.outgoingYes(entry));
    this.#up(entry);
  }

  refuse(call: Call, why: Refusal): void {
    const entry = this.#requested(call);
    const error = why === "no-resource" ? GeneralError.NO_RESOURCE : GeneralError.NONE;
    const no =
      entry.role === "pac"
        ? write.outgoingNo(entry.peerId, ...OUTGOING_REFUSALS[why])
        : write.incomingNo(entry.peerId, error);
    this.#line.send(no);
    this.#end(entry, { by: "us", reason: `refused: ${why}` });
  }

  /** Ends a call in whatever state; `ended` is told at once. */
  hangUp(call: Call, why: HangUp, now_ms: number) {
    const entry = this.#table.find(call);
    if (entry === undefined || entry.state === "clearing") return;
    if (entry.state === "requested") return this.refuse(call, "not-allowed");
    const end: CallEnd = { by: "us", reason: `hung up: ${why}` };
    if (entry.role === "pac") {
      this.#notify(entry, HANG_UPS[why]);
      return this.#end(entry, end);
    }
    entry.state = "clearing";
    entry.deadline = now_ms + this.#limits.reply_ms;
    this.#line.send({ kind: "callClearRequest", callId: entry.id });
    this.#events.ended(entry, end);
  }

  /** The connection is over, and so is each call. */
  clear(reason: string): void {
    for (const entry of this.#table.all()) this.#end(entry, { by: "connection", reason });
  }

  setLinkInfo(call: Call, accm: { send: number; receive: number }): void {
    const { peerId } = this.#needUp(call);
    const info = { peerCallId: peerId, sendAccm: accm.send, receiveAccm: accm.receive };
    this.#line.send({ kind: "setLinkInfo", ...info });
  }

  tellErrors(call: Call, errors: WanErrors): void {
    const { peerId } = this.#needUp(call);
    this.#line.send({ kind: "wanErrorNotify", peerCallId: peerId, ...errors });
  }

  nextDeadline(): number | null {
    return this.#table.nextDeadline();
  }

  /** False when a reply that we waited for is overdue: then the connection ends (3.1.4). */
  tick(now_ms: number): boolean {
    for (const entry of this.#table.all()) {
      if (entry.deadline === null || entry.deadline > now_ms) continue;
      if (entry.state !== "requested") return false;
      this.refuse(entry, "timeout");
    }
    return true;
  }

  /** Takes a message about calls. */
  receive(message: Message, now_ms: number) {
    switch (message.kind) {
      case "outgoingCallRequest":
        return this.#outgoingRequest(message, now_ms);
      case "outgoingCallReply":
        return this.#outgoingReply(message);
      case "incomingCallRequest":
        return this.#incomingRequest(message, now_ms);
      case "incomingCallReply":
        return this.#incomingReply(message);
      case "incomingCallConnected":
        return this.#incomingConnected(message);
      case "callClearRequest":
        return this.#clearRequest(message);
      case "callDisconnectNotify":
        return this.#disconnectNotify(message);
      case "setLinkInfo":
        return this.#linkInfo(message);
      case "wanErrorNotify":
        return this.#wanErrors(message);
      default:
        this.#line.badOrder(message);
    }
  }

  #outgoingRequest(message: MessageOf<"outgoingCallRequest">, now_ms: number) {
    const { callId, serial, window, delay, phone, maxBps } = message;
    const refuse = (...why: [OutgoingResult, GeneralError]) =>
      this.#line.send(write.outgoingNo(callId, ...why));
    if (!this.#limits.roles.includes("pac")) {
      return refuse(OutgoingResult.NOT_ACCEPTED, GeneralError.NONE);
    }
    if (this.#table.byPeer(callId, "pac") !== undefined) {
      return refuse(OutgoingResult.GENERAL_ERROR, GeneralError.BAD_CALL_ID);
    }
    if (this.#table.isFull) return refuse(OutgoingResult.GENERAL_ERROR, GeneralError.NO_RESOURCE);
    const entry = this.#table.add("pac", { peerId: callId, serial, dialed: phone });
    entry.speed_bps = maxBps;
    this.#heard(entry, window, delay);
    this.#ask(entry, now_ms);
  }

  #incomingRequest(message: MessageOf<"incomingCallRequest">, now_ms: number) {
    const { callId, serial, dialed, dialing } = message;
    const refuse = (why: GeneralError) => this.#line.send(write.incomingNo(callId, why));
    if (!this.#limits.roles.includes("pns")) return refuse(GeneralError.NONE);
    if (this.#table.byPeer(callId, "pns") !== undefined) return refuse(GeneralError.BAD_CALL_ID);
    if (this.#table.isFull) return refuse(GeneralError.NO_RESOURCE);
    this.#ask(this.#table.add("pns", { peerId: callId, serial, dialed, dialing }), now_ms);
  }

  #outgoingReply(message: MessageOf<"outgoingCallReply">) {
    const connected = message.result === OutgoingResult.CONNECTED;
    const entry = this.#answered(message, "pns");
    if (entry === undefined) {
      // Our half is gone: the other half must not stay.
      if (!connected) return this.#line.ignore();
      return this.#line.send({ kind: "callClearRequest", callId: message.peerCallId });
    }
    if (!this.#isAwaited(entry, message)) return;
    if (connected) return this.#joined(entry, message);
    const words = describeResult(OutgoingResult, message.result, message.error);
    this.#end(entry, { by: "peer", reason: `refused: ${words}` });
  }

  #incomingReply(message: MessageOf<"incomingCallReply">) {
    const connected = message.result === IncomingResult.CONNECT;
    const entry = this.#answered(message, "pac");
    if (entry === undefined) {
      return connected ? this.#refuseUnknown(message.peerCallId) : this.#line.ignore();
    }
    if (!this.#isAwaited(entry, message)) return;
    if (!connected) {
      const words = describeResult(IncomingResult, message.result, message.error);
      return this.#end(entry, { by: "peer", reason: `refused: ${words}` });
    }
    this.#line.send(write.connected(entry, message.callId));
    this.#joined(entry, message);
  }

  /** Whether a reply is one that we wait for. What crossed our hanging up has no consequence. */
  #isAwaited(entry: Entry, message: MessageOf<"outgoingCallReply" | "incomingCallReply">): boolean {
    if (entry.state === "offered") return true;
    if (entry.state !== "clearing") {
      this.#line.badOrder(message);
      return false;
    }
    this.#line.ignore();
    // Their notify will name it.
    entry.peerId = message.callId;
    return false;
  }

  #joined(entry: Entry, reply: { callId: number; window: number; delay: number }): void {
    entry.peerId = reply.callId;
    this.#heard(entry, reply.window, reply.delay);
    this.#up(entry);
  }

  #incomingConnected(message: MessageOf<"incomingCallConnected">) {
    const entry = this.#table.byOwn(message.peerCallId);
    if (entry === undefined || entry.role !== "pns") {
      return this.#line.send({ kind: "callClearRequest", callId: message.peerCallId });
    }
    if (entry.state === "clearing") return this.#line.ignore();
    if (entry.state !== "connecting") return this.#line.badOrder(message);
    this.#heard(entry, message.window, message.delay);
    this.#up(entry);
  }

  /** Carries the sender's own id by the RFC; some peers write ours. */
  #clearRequest({ callId }: MessageOf<"callClearRequest">) {
    const entry = this.#table.byAny(callId);
    if (entry === undefined) return this.#refuseUnknown(0);
    this.#notify(entry, DisconnectResult.REQUEST);
    // Of a call that we clear, too, their notify is still to come.
    if (entry.state === "clearing") return;
    this.#end(entry, { by: "peer", reason: "cleared by the peer" });
  }

  #disconnectNotify(message: MessageOf<"callDisconnectNotify">) {
    const entry = this.#table.byAny(message.callId) ?? this.#table.onlyClearing;
    if (entry === undefined) return this.#line.ignore();
    const { statistics } = message;
    const words = describeResult(DisconnectResult, message.result, message.error);
    const end: CallEnd = { by: "peer", reason: `disconnected: ${words}` };
    this.#end(entry, statistics === "" ? end : { ...end, statistics });
  }

  #linkInfo({ peerCallId, sendAccm, receiveAccm }: MessageOf<"setLinkInfo">) {
    const entry = this.#table.byAny(peerCallId);
    if (entry?.state !== "up") return this.#line.ignore();
    this.#events.linkInfo?.(entry, { send: sendAccm, receive: receiveAccm });
  }

  #wanErrors({ kind: _, peerCallId, ...errors }: MessageOf<"wanErrorNotify">) {
    const entry = this.#table.byAny(peerCallId);
    if (entry?.state !== "up") return this.#line.ignore();
    this.#events.wanErrors?.(entry, errors);
  }

  #place(role: Role, request: CallRequest, now_ms: number): Entry {
    if (!this.#limits.roles.includes(role)) {
      throw new PptpError("MESHD_PPTP_ROLE", `this end is no ${role} and cannot place such a call`);
    }
    if (this.#table.isFull) {
      const message = `a control connection has at most ${this.#limits.callsMax} calls`;
      throw new PptpError("MESHD_PPTP_CALLS_FULL", message);
    }
    this.#table.needFree(request.id);
    this.#serial = (this.#serial + 1) & SERIAL_MAX;
    const { dialed = "", dialing = "" } = request;
    const entry = this.#table.add(role, { peerId: 0, serial: this.#serial, dialed, dialing });
    entry.id = request.id;
    entry.ownWindow = request.window;
    entry.speed_bps = request.speed_bps ?? entry.speed_bps;
    entry.ours = true;
    entry.state = "offered";
    entry.deadline = now_ms + this.#limits.reply_ms;
    return entry;
  }

  /** A call that they asked for goes to the user, or is refused if nobody listens. */
  #ask(entry: Entry, now_ms: number): void {
    entry.deadline = now_ms + this.#limits.answer_ms;
    if (this.#events.requested === undefined) this.refuse(entry, "not-allowed");
    else this.#events.requested(entry);
  }

  #heard(entry: Entry, window: number, delay: number): void {
    entry.window = Math.max(window, 1);
    entry.delay_ms = delay * DELAY_UNIT_MS;
  }

  #up(entry: Entry): void {
    entry.state = "up";
    entry.deadline = null;
    this.#events.connected(entry);
  }

  #end(entry: Entry, end: CallEnd): void {
    if (!this.#table.remove(entry)) return;
    const wasTold = entry.state === "clearing";
    entry.state = "ended";
    entry.deadline = null;
    if (!wasTold) this.#events.ended(entry, end);
  }

  #notify(entry: Entry, result: DisconnectResult): void {
    const statistics = this.#events.statistics?.(entry) ?? "";
    this.#line.send(write.disconnected(entry.id, result, GeneralError.NONE, statistics));
  }

  #refuseUnknown(callId: number): void {
    this.#line.ignore();
    const { GENERAL_ERROR } = DisconnectResult;
    this.#line.send(write.disconnected(callId, GENERAL_ERROR, GeneralError.BAD_CALL_ID));
  }

  #requested(call: Call): Entry {
    const entry = this.#table.find(call);
    if (entry?.state === "requested") return entry;
    throw new PptpError("MESHD_PPTP_BAD_CALL", `call ${call.id} waits for no answer`);
  }

  #needUp(call: Call): Entry {
    const entry = this.#table.find(call);
    if (entry?.state === "up") return entry;
    throw new PptpError("MESHD_PPTP_NOT_UP", `call ${call.id} is not up`);
  }

  /** The call of ours that a reply names. */
  #answered({ peerCallId }: { peerCallId: number }, role: Role): Entry | undefined {
    const entry = this.#table.byOwn(peerCallId);
    return entry?.role === role && entry.ours ? entry : undefined;
  }
}
