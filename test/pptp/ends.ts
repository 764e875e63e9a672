// Two control connections against each other without sockets, and one against a script.
import * as assert from "uvu/assert";
import { ControlConnection } from "../../src/pptp/index.js";
import { type Message, readMessage, writeMessage } from "../../src/pptp/messages.js";
import type {
  Call,
  CallEnd,
  CloseReason,
  ControlEvents,
  ControlOptions,
  PeerNames,
  WanErrors,
} from "../../src/pptp/types.js";

/** A connection with all it said and told. */
export class End {
  readonly control: ControlConnection;
  readonly sent: Uint8Array[] = [];
  readonly requested: Call[] = [];
  readonly connected: Call[] = [];
  readonly ended: { call: Call; end: CallEnd }[] = [];
  readonly linkInfo: { send: number; receive: number }[] = [];
  readonly wanErrors: WanErrors[] = [];
  closed: CloseReason | null = null;
  peer: PeerNames | null = null;
  now_ms = 0;

  constructor(options: Partial<ControlOptions>, handlers: Partial<ControlEvents> = {}) {
    const defaults = { opens: false, roles: ["pac", "pns"], hostName: "end" } as const;
    this.control = new ControlConnection(
      { ...defaults, ...options },
      {
        send: (bytes) => this.sent.push(bytes),
        established: (peer) => {
          this.peer = peer;
        },
        requested: (call) => this.requested.push(call),
        connected: (call) => this.connected.push(call),
        ended: (call, end) => this.ended.push({ call, end }),
        linkInfo: (_, accm) => this.linkInfo.push(accm),
        wanErrors: (_, errors) => this.wanErrors.push(errors),
        statistics: () => "rx 1 tx 2",
        closed: (reason) => {
          if (this.closed !== null) throw new Error("closed twice");
          this.closed = reason;
        },
        ...handlers,
      },
    );
  }

  /** What was sent since the last time, as messages. */
  take(): Message[] {
    return this.sent.splice(0).map((bytes) => readMessage(bytes));
  }

  hear(message: Message): void {
    this.control.receive(writeMessage(message), this.now_ms);
  }

  /** Lets time go by; everything due on the way is done when it is due. */
  pass(ms: number): void {
    const until_ms = this.now_ms + ms;
    for (let turn = 0; turn < 1000; turn++) {
      const next = this.control.nextDeadline();
      if (next === null || next > until_ms) {
        this.now_ms = until_ms;
        return;
      }
      this.now_ms = Math.max(this.now_ms, next);
      this.control.tick(this.now_ms);
    }
    throw new Error("deadlines do not end");
  }
}

/** Carries what both ends sent, in pieces of `size` bytes, until nothing is said any more. */
export function exchange(one: End, other: End, size = 1000): void {
  for (let turn = 0; one.sent.length + other.sent.length > 0; turn++) {
    if (turn > 100) throw new Error("the ends do not stop talking");
    carry(one, other, size);
    carry(other, one, size);
  }
}

function carry(from: End, to: End, size: number): void {
  const bytes = Buffer.concat(from.sent.splice(0));
  for (let at = 0; at < bytes.length; at += size) {
    to.control.receive(bytes.subarray(at, at + size), to.now_ms);
  }
}

/** A client and a server that said start to each other. */
export function pair(
  size = 1000,
  options: Partial<ControlOptions> = {},
): [client: End, server: End] {
  const client = new End({ opens: true, hostName: "client", ...options });
  const server = new End({ hostName: "server", ...options });
  server.control.start(0);
  client.control.start(0);
  exchange(client, server, size);
  return [client, server];
}

/** Never equal: mixing up whose id is whose shows. */
export const PAC_ID = 0x42;
export const PNS_ID = 0x1234;

export const START: Omit<Extract<Message, { kind: "startRequest" }>, "kind"> = {
  version: 0x0100,
  framing: 3,
  bearer: 3,
  maxChannels: 0,
  firmware: 1,
  hostName: "script",
  vendor: "test",
};

export const DIAL: Extract<Message, { kind: "outgoingCallRequest" }> = {
  kind: "outgoingCallRequest",
  callId: 0x1234,
  serial: 1,
  minBps: 300,
  maxBps: 1_000_000,
  bearer: 3,
  framing: 3,
  window: 64,
  delay: 0,
  phoneLength: 0,
  phone: "",
  subaddress: "",
};

/** A server's end that has heard a script's start. */
export function started(
  options: Partial<ControlOptions> = {},
  handlers: Partial<ControlEvents> = {},
): End {
  const end = new End(options, handlers);
  end.control.start(0);
  end.hear({ kind: "startRequest", ...START });
  end.take();
  return end;
}

/** Compares those fields of a message that are named. */
export function hasFields(message: Message | undefined, wanted: Record<string, unknown>): void {
  const fields: Record<string, unknown> = { ...message };
  assert.equal(Object.fromEntries(Object.keys(wanted).map((key) => [key, fields[key]])), wanted);
}
