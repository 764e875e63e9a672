// Frames of CHAP (RFC 1994 section 4) and PAP (RFC 1334 section 2.2), from the 2-byte protocol
// number on. Reading gives null for whatever is no such frame; bytes behind its length are padding.
import * as wire from "../wire.js";
import type { AuthMethod } from "./types.js";

export const { CHAP, PAP } = wire.Protocol;
export const Code = { CHALLENGE: 1, RESPONSE: 2, SUCCESS: 3, FAILURE: 4 } as const;
export const PapCode = { REQUEST: 1, ACK: 2, NAK: 3 } as const;
/** Longer names are nobody's. */
export const NAME_MAX = 256;

const values: Record<AuthMethod, Uint8Array> = {
  "ms-chap-v2": Uint8Array.of(0xc2, 0x23, 0x81),
  "ms-chap-v1": Uint8Array.of(0xc2, 0x23, 0x80),
  "chap-md5": Uint8Array.of(0xc2, 0x23, 0x05),
  pap: Uint8Array.of(0xc0, 0x23),
};

/** Values of LCP's authentication option (RFC 1661 section 6.2), without type and length. */
export const AUTH_OPTION: Readonly<Record<AuthMethod, Uint8Array>> = values;

/** The method that an authentication option names, null when it is none of ours. */
export function authMethodOf(value: Uint8Array): AuthMethod | null {
  const methods = Object.keys(values) as AuthMethod[];
  return methods.find((method) => Buffer.compare(values[method], value) === 0) ?? null;
}

export interface Packet {
  protocol: number;
  code: number;
  identifier: number;
  data: Uint8Array;
}

export function readPacket(frame: Uint8Array): Packet | null {
  const packet = wire.readPacket(frame);
  if (packet === null) return null;
  const { code, id: identifier, data } = packet;
  return { protocol: wire.protocolOf(frame), code, identifier, data };
}

export function writePacket({ protocol, code, identifier, data }: Packet): Uint8Array {
  return wire.writePacket(protocol, { code, id: identifier, data });
}

/** What a Challenge and a Response carry. */
export interface Valued {
  value: Uint8Array;
  name: Uint8Array;
}

export function readValued(data: Uint8Array): Valued | null {
  const size = data[0];
  if (size === undefined || size === 0 || 1 + size > data.length) return null;
  if (data.length - 1 - size > NAME_MAX) return null;
  return { value: data.subarray(1, 1 + size), name: data.subarray(1 + size) };
}

export function writeValued({ value, name }: Valued): Uint8Array {
  return Buffer.concat([Uint8Array.of(value.length), value, name]);
}

/** A PAP request's name and password. */
export function readRequest(data: Uint8Array): { name: Uint8Array; password: Uint8Array } | null {
  const nameEnd = 1 + (data[0] ?? 0);
  const size = data[nameEnd];
  if (data.length === 0 || size === undefined || nameEnd + 1 + size > data.length) return null;
  return {
    name: data.subarray(1, nameEnd),
    password: data.subarray(nameEnd + 1, nameEnd + 1 + size),
  };
}

/** Both at most 255 bytes. */
export function writeRequest(name: Uint8Array, password: Uint8Array): Uint8Array {
  return Buffer.concat([
    Uint8Array.of(name.length),
    name,
    Uint8Array.of(password.length),
    password,
  ]);
}

/** The message of a PAP Ack or Nak. */
export function papMessage(text: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(text.length), Buffer.from(text, "ascii")]);
}
