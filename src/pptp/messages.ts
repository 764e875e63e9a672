// The 15 control messages of RFC 2637, section 2: one table of layouts, by which they are read and
// written. Offsets are from the first byte of the message; all numbers are big-endian.

/** Every message begins: length 2, message type 2 (= 1), magic 4, control type 2, reserved 2. */
export const PREFIX_SIZE = 12;
export const MAGIC = 0x1a2b3c4d;
const CONTROL_MESSAGE = 1;
const LENGTH = 0;
const MESSAGE_TYPE = 2;
const MAGIC_COOKIE = 4;
const CONTROL_TYPE = 8;

interface NumberField {
  at: number;
  size: 1 | 2 | 4;
}
interface TextField {
  at: number;
  /** Room for the text, padded with zero bytes. */
  room: number;
}

const u8 = (at: number): NumberField => ({ at, size: 1 });
const u16 = (at: number): NumberField => ({ at, size: 2 });
const u32 = (at: number): NumberField => ({ at, size: 4 });
const text = (at: number, room: number): TextField => ({ at, room });

// Reserved fields are left out: zero when we send, not looked at when we receive.
const LAYOUTS = {
  startRequest: {
    type: 1,
    length: 156,
    fields: {
      version: u16(12),
      framing: u32(16),
      bearer: u32(20),
      /** Calls that a PAC can carry; 0 from a PNS. */
      maxChannels: u16(24),
      firmware: u16(26),
      hostName: text(28, 64),
      vendor: text(92, 64),
    },
  },
  startReply: {
    type: 2,
    length: 156,
    fields: {
      version: u16(12),
      result: u8(14),
      error: u8(15),
      framing: u32(16),
      bearer: u32(20),
      maxChannels: u16(24),
      firmware: u16(26),
      hostName: text(28, 64),
      vendor: text(92, 64),
    },
  },
  stopRequest: { type: 3, length: 16, fields: { reason: u8(12) } },
  stopReply: { type: 4, length: 16, fields: { result: u8(12), error: u8(13) } },
  echoRequest: { type: 5, length: 16, fields: { identifier: u32(12) } },
  echoReply: {
    type: 6,
    length: 20,
    fields: { identifier: u32(12), result: u8(16), error: u8(17) },
  },
  outgoingCallRequest: {
    type: 7,
    length: 168,
    fields: {
      callId: u16(12),
      serial: u16(14),
      minBps: u32(16),
      maxBps: u32(20),
      bearer: u32(24),
      framing: u32(28),
      /** Data packets that the sender buffers: the other one's send window. */
      window: u16(32),
      /** In tenths of a second. */
      delay: u16(34),
      phoneLength: u16(36),
      phone: text(40, 64),
      subaddress: text(104, 64),
    },
  },
  outgoingCallReply: {
    type: 8,
    length: 32,
    fields: {
      callId: u16(12),
      peerCallId: u16(14),
      result: u8(16),
      error: u8(17),
      cause: u16(18),
      connectSpeed: u32(20),
      window: u16(24),
      delay: u16(26),
      channel: u32(28),
    },
  },
  incomingCallRequest: {
    type: 9,
    length: 220,
    fields: {
      callId: u16(12),
      serial: u16(14),
      bearer: u32(16),
      channel: u32(20),
      dialedLength: u16(24),
      dialingLength: u16(26),
      dialed: text(28, 64),
      dialing: text(92, 64),
      subaddress: text(156, 64),
    },
  },
  incomingCallReply: {
    type: 10,
    length: 24,
    fields: {
      callId: u16(12),
      peerCallId: u16(14),
      result: u8(16),
      error: u8(17),
      window: u16(18),
      delay: u16(20),
    },
  },
  incomingCallConnected: {
    type: 11,
    length: 28,
    fields: {
      peerCallId: u16(12),
      connectSpeed: u32(16),
      window: u16(20),
      delay: u16(22),
      framing: u32(24),
    },
  },
  /** `callId` is the sender's own (a PNS). */
  callClearRequest: { type: 12, length: 16, fields: { callId: u16(12) } },
  /** `callId` is the sender's own (a PAC). */
  callDisconnectNotify: {
    type: 13,
    length: 148,
    fields: {
      callId: u16(12),
      result: u8(14),
      error: u8(15),
      cause: u16(16),
      statistics: text(20, 128),
    },
  },
  wanErrorNotify: {
    type: 14,
    length: 40,
    fields: {
      peerCallId: u16(12),
      crcErrors: u32(16),
      framingErrors: u32(20),
      hardwareOverruns: u32(24),
      bufferOverruns: u32(28),
      timeouts: u32(32),
      alignmentErrors: u32(36),
    },
  },
  setLinkInfo: {
    type: 15,
    length: 24,
    fields: { peerCallId: u16(12), sendAccm: u32(16), receiveAccm: u32(20) },
  },
} as const;

export type MessageKind = keyof typeof LAYOUTS;
type Value<F> = F extends TextField ? string : number;
/** The fields of one kind of message: numbers in host order, texts without their padding. */
export type MessageBody<K extends MessageKind> = {
  -readonly [N in keyof (typeof LAYOUTS)[K]["fields"]]: Value<(typeof LAYOUTS)[K]["fields"][N]>;
};
/** A message as a value; `kind` says which fields it has. */
export type Message = { [K in MessageKind]: { kind: K } & MessageBody<K> }[MessageKind];
/** The message of one kind. */
export type MessageOf<K extends MessageKind> = Extract<Message, { kind: K }>;

interface Layout {
  kind: MessageKind;
  type: number;
  length: number;
  fields: [name: string, field: NumberField | TextField][];
}

const KINDS: readonly Layout[] = (Object.keys(LAYOUTS) as MessageKind[]).map((kind) => {
  const { type, length, fields } = LAYOUTS[kind];
  return { kind, type, length, fields: Object.entries(fields) };
});
const BY_TYPE = new Map(KINDS.map((layout) => [layout.type, layout]));
const BY_KIND = new Map(KINDS.map((layout) => [layout.kind, layout]));
export const MESSAGE_KINDS: readonly MessageKind[] = KINDS.map(({ kind }) => kind);
/** The longest message: Incoming-Call-Request. */
export const MESSAGE_SIZE_MAX = Math.max(...KINDS.map(({ length }) => length));

/** Why bytes are no message: the stream has lost its place, and its connection ends. */
export type BadPrefix = "magic" | "length" | "type";

const readU16 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
const readU32 = (bytes: Uint8Array, at: number): number =>
  readU16(bytes, at) * 0x10000 + readU16(bytes, at + 2);

/** Length of the message that begins at `at` with its whole prefix, or why there can be none. */
export function checkPrefix(bytes: Uint8Array, at: number): number | BadPrefix {
  if (readU32(bytes, at + MAGIC_COOKIE) !== MAGIC) return "magic";
  const layout = BY_TYPE.get(readU16(bytes, at + CONTROL_TYPE));
  if (readU16(bytes, at + MESSAGE_TYPE) !== CONTROL_MESSAGE || layout === undefined) return "type";
  return readU16(bytes, at + LENGTH) === layout.length ? layout.length : "length";
}

/** Reads a message whose prefix is good and which is there as a whole. */
export function readMessage(bytes: Uint8Array, at = 0): Message {
  const layout = BY_TYPE.get(readU16(bytes, at + CONTROL_TYPE));
  if (layout === undefined) throw new RangeError("the prefix was not checked");
  const read: Record<string, number | string> = { kind: layout.kind };
  for (const [name, field] of layout.fields) read[name] = readField(bytes, at, field);
  // The table made both the type and this object.
  return read as unknown as Message;
}

/** The bytes of a message. Numbers lose what their field cannot hold, texts what has no room. */
export function writeMessage(message: Message): Uint8Array {
  const layout = BY_KIND.get(message.kind);
  if (layout === undefined) throw new RangeError(`no message is called ${String(message.kind)}`);
  const bytes = new Uint8Array(layout.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(LENGTH, layout.length);
  view.setUint16(MESSAGE_TYPE, CONTROL_MESSAGE);
  view.setUint32(MAGIC_COOKIE, MAGIC);
  view.setUint16(CONTROL_TYPE, layout.type);
  const values: Record<string, number | string> = { ...message };
  for (const [name, field] of layout.fields) writeField(view, field, values[name] ?? 0);
  return bytes;
}

function readField(bytes: Uint8Array, at: number, field: NumberField | TextField) {
  const start = at + field.at;
  if ("room" in field) return readText(bytes.subarray(start, start + field.room));
  if (field.size === 1) return bytes[start] ?? 0;
  return field.size === 2 ? readU16(bytes, start) : readU32(bytes, start);
}

function writeField(view: DataView, field: NumberField | TextField, value: number | string): void {
  if ("room" in field) {
    const characters = Buffer.from(String(value), "latin1").subarray(0, field.room);
    new Uint8Array(view.buffer).set(characters, field.at);
    return;
  }
  const number = Number(value);
  if (field.size === 1) view.setUint8(field.at, number);
  else if (field.size === 2) view.setUint16(field.at, number);
  else view.setUint32(field.at, number);
}

/** Up to the first zero byte. What is no printable ASCII becomes "?": texts go into logs. */
function readText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const length = end < 0 ? bytes.length : end;
  const characters = Buffer.from(bytes.buffer, bytes.byteOffset, length).toString("latin1");
  return characters.replaceAll(/[^ -~]/g, "?");
}
