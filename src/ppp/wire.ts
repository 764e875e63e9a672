// PPP control packets and their options (RFC 1661 sections 5 and 6): numbers, reading, writing.
// A frame begins with its 2-byte protocol number; everything is big-endian.

export const Protocol = {
  IPV4: 0x0021,
  IPV6: 0x0057,
  COMPRESSED: 0x00fd,
  IPCP: 0x8021,
  IPV6CP: 0x8057,
  CCP: 0x80fd,
  LCP: 0xc021,
  PAP: 0xc023,
  CHAP: 0xc223,
} as const;

export const Code = {
  CONFIGURE_REQUEST: 1,
  CONFIGURE_ACK: 2,
  CONFIGURE_NAK: 3,
  CONFIGURE_REJECT: 4,
  TERMINATE_REQUEST: 5,
  TERMINATE_ACK: 6,
  CODE_REJECT: 7,
  PROTOCOL_REJECT: 8,
  ECHO_REQUEST: 9,
  ECHO_REPLY: 10,
  DISCARD_REQUEST: 11,
  /** RFC 1570. */
  IDENTIFICATION: 12,
  TIME_REMAINING: 13,
  /** RFC 1962, of CCP. */
  RESET_REQUEST: 14,
  RESET_ACK: 15,
} as const;

export const PROTOCOL_SIZE = 2;
const HEADER_SIZE = 4;
const OPTION_HEADER = 2;
/** MRU before and without negotiation (RFC 1661 section 6.1). */
export const DEFAULT_MRU = 1500;

export interface Packet {
  code: number;
  id: number;
  /** What follows the header, without padding. */
  data: Uint8Array;
}

export interface Option {
  type: number;
  value: Uint8Array;
}

/** The 16-bit number at `at`; the caller has checked the length. */
export function be16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** The unsigned 32-bit number at `at`. */
export function be32(bytes: Uint8Array, at: number): number {
  return be16(bytes, at) * 0x10000 + be16(bytes, at + 2);
}

/** `count` bytes of `value`, most significant first. */
export function bytesOf(value: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => Math.floor(value / 256 ** (count - 1 - i)));
}

/** The protocol number of a frame, or -1 when there is none. */
export function protocolOf(frame: Uint8Array): number {
  return frame.length < PROTOCOL_SIZE ? -1 : be16(frame, 0);
}

/** The control packet of a frame, or null when its length is wrong. `data` is a view. */
export function readPacket(frame: Uint8Array): Packet | null {
  if (frame.length < PROTOCOL_SIZE + HEADER_SIZE) return null;
  const length = be16(frame, PROTOCOL_SIZE + 2);
  if (length < HEADER_SIZE || PROTOCOL_SIZE + length > frame.length) return null;
  const data = frame.subarray(PROTOCOL_SIZE + HEADER_SIZE, PROTOCOL_SIZE + length);
  return { code: frame[PROTOCOL_SIZE] ?? 0, id: frame[PROTOCOL_SIZE + 1] ?? 0, data };
}

/** A frame with one control packet. */
export function writePacket(protocol: number, packet: Packet): Uint8Array {
  const length = HEADER_SIZE + packet.data.length;
  const frame = new Uint8Array(PROTOCOL_SIZE + length);
  frame.set(bytesOf(protocol, 2), 0);
  frame[PROTOCOL_SIZE] = packet.code;
  frame[PROTOCOL_SIZE + 1] = packet.id;
  frame.set(bytesOf(length, 2), PROTOCOL_SIZE + 2);
  frame.set(packet.data, PROTOCOL_SIZE + HEADER_SIZE);
  return frame;
}

/** Options of a Configure packet, or null when one runs past its end: the packet is ignored. */
export function readOptions(data: Uint8Array): Option[] | null {
  const options: Option[] = [];
  for (let at = 0; at < data.length; ) {
    const length = data[at + 1] ?? 0;
    if (length < OPTION_HEADER || at + length > data.length) return null;
    options.push({ type: data[at] ?? 0, value: data.subarray(at + OPTION_HEADER, at + length) });
    at += length;
  }
  return options;
}

/** Options one after the other. */
export function writeOptions(options: readonly Option[]): Uint8Array {
  const length = options.reduce((sum, { value }) => sum + OPTION_HEADER + value.length, 0);
  const data = new Uint8Array(length);
  let at = 0;
  for (const { type, value } of options) {
    data[at] = type;
    data[at + 1] = OPTION_HEADER + value.length;
    data.set(value, at + OPTION_HEADER);
    at += OPTION_HEADER + value.length;
  }
  return data;
}

/** Four bytes of an address as a number: of text that is one. */
export function addressOf(text: string): number {
  return text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** And back. */
export function addressText(value: number): string {
  return [...bytesOf(value, 4)].join(".");
}

/** Whether both are the same bytes. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Printable ASCII of a peer's text, at most `limit` characters. */
export function printable(bytes: Uint8Array, limit: number): string {
  const shown = [...bytes.subarray(0, limit)].filter((byte) => byte >= 0x20 && byte < 0x7f);
  return String.fromCharCode(...shown);
}
