// The messages that a call sends, made of what is known of it.
import type { Entry } from "./call-table.js";
import {
  ANY_BEARER,
  ANY_FRAMING,
  type DisconnectResult,
  GeneralError,
  IncomingResult,
  OutgoingResult,
} from "./codes.js";
import type { MessageOf } from "./messages.js";

const SLOW_BPS = 300;
const TEXT_MAX = 64;

export function outgoingRequest(entry: Entry): MessageOf<"outgoingCallRequest"> {
  return {
    kind: "outgoingCallRequest",
    callId: entry.id,
    serial: entry.serial,
    minBps: SLOW_BPS,
    maxBps: entry.speed_bps,
    bearer: ANY_BEARER,
    framing: ANY_FRAMING,
    window: entry.ownWindow,
    delay: 0,
    phoneLength: Math.min(entry.dialed.length, TEXT_MAX),
    phone: entry.dialed,
    subaddress: "",
  };
}

export function outgoingYes(entry: Entry): MessageOf<"outgoingCallReply"> {
  return {
    kind: "outgoingCallReply",
    callId: entry.id,
    peerCallId: entry.peerId,
    result: OutgoingResult.CONNECTED,
    error: GeneralError.NONE,
    cause: 0,
    connectSpeed: entry.speed_bps,
    window: entry.ownWindow,
    delay: 0,
    channel: 0,
  };
}

export function outgoingNo(
  peerCallId: number,
  result: OutgoingResult,
  error: GeneralError,
): MessageOf<"outgoingCallReply"> {
  const nothing = { callId: 0, cause: 0, connectSpeed: 0, window: 0, delay: 0, channel: 0 };
  return { kind: "outgoingCallReply", ...nothing, peerCallId, result, error };
}

export function incomingRequest(entry: Entry): MessageOf<"incomingCallRequest"> {
  return {
    kind: "incomingCallRequest",
    callId: entry.id,
    serial: entry.serial,
    bearer: ANY_BEARER,
    channel: 0,
    dialedLength: Math.min(entry.dialed.length, TEXT_MAX),
    dialingLength: Math.min(entry.dialing.length, TEXT_MAX),
    dialed: entry.dialed,
    dialing: entry.dialing,
    subaddress: "",
  };
}

export function incomingYes(entry: Entry): MessageOf<"incomingCallReply"> {
  return {
    kind: "incomingCallReply",
    callId: entry.id,
    peerCallId: entry.peerId,
    result: IncomingResult.CONNECT,
    error: GeneralError.NONE,
    window: entry.ownWindow,
    delay: 0,
  };
}

export function incomingNo(
  peerCallId: number,
  error: GeneralError,
): MessageOf<"incomingCallReply"> {
  const plain = error === GeneralError.NONE;
  const result = plain ? IncomingResult.NOT_ACCEPTED : IncomingResult.GENERAL_ERROR;
  const nothing = { callId: 0, window: 0, delay: 0 };
  return { kind: "incomingCallReply", ...nothing, peerCallId, result, error };
}

export function connected(entry: Entry, peerCallId: number): MessageOf<"incomingCallConnected"> {
  return {
    kind: "incomingCallConnected",
    peerCallId,
    connectSpeed: entry.speed_bps,
    window: entry.ownWindow,
    delay: 0,
    framing: ANY_FRAMING,
  };
}

export function disconnected(
  callId: number,
  result: DisconnectResult,
  error: GeneralError,
  statistics = "",
): MessageOf<"callDisconnectNotify"> {
  return { kind: "callDisconnectNotify", callId, result, error, cause: 0, statistics };
}
