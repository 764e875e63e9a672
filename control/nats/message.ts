// Messages and answers as rooms above see them, and the headers that requests and writes have.
import { randomBytes } from "node:crypto";
import { headers, type Msg } from "nats";

/** A message as rooms above see it. */
export interface Message {
  subject: string;
  reply: string | undefined;
  text: string;
  /** Id of a request that may come to several who answer; the same each time. */
  ask?: string;
  bytes: Buffer;
  respond(text: string): void;
}

export interface Answer {
  text: string;
  bytes: Buffer;
  /** What the service refused the request with. */
  error: { code: number; error: string } | null;
}

/** The answer to a request; errors that the service sent are in it. */
export function readAnswer(message: Msg): Answer {
  const code = message.headers?.get("Nats-Service-Error-Code") ?? "";
  const error = message.headers?.get("Nats-Service-Error") ?? "";
  return {
    get text() {
      return message.string();
    },
    bytes: bytesOf(message),
    error: code === "" ? null : { code: Number(code), error },
  };
}

const ASK = "Meshd-Ask";
const isAsk = (text: string) => /^[\w-]{8}$/.test(text);

/** An id for `ask`: nobody foresees it. */
export function newAsk(): string {
  return randomBytes(6).toString("base64url");
}

export function askOf(ask: string) {
  const all = headers();
  all.set(ASK, ask);
  return all;
}

export function readMessage(message: Msg): Message {
  const ask = message.headers?.get(ASK) ?? "";
  return {
    subject: message.subject,
    reply: message.reply === "" ? undefined : message.reply,
    get text() {
      return message.string();
    },
    bytes: bytesOf(message),
    ...(isAsk(ask) ? { ask } : {}),
    respond: (text) => void message.respond(text),
  };
}

/** Its bytes, not copied. */
function bytesOf({ data }: Msg): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

/** Headers of a write that expects a revision. */
export function expectRevision(revision: number) {
  const all = headers();
  all.set("Nats-Expected-Last-Subject-Sequence", String(revision));
  return all;
}
