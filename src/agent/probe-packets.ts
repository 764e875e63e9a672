// Inner packets of data-path probes: UDP on PROBE_PORT between node addresses (payload: see
// PROBE_* in assembly/shared/layout.ts), ICMP echo (RFC 792, RFC 4443 section 4) towards peers
// that are no meshd.
import {
  PROBE_HEARD_AT,
  PROBE_ICMP_ID,
  PROBE_KIND_AT,
  PROBE_MAGIC,
  PROBE_MAGIC_AT,
  PROBE_MTU_AT,
  PROBE_PORT,
  PROBE_REPLY,
  PROBE_REQUEST,
  PROBE_SEQUENCE_AT,
  PROBE_SIZE,
} from "../../assembly/shared/layout.js";
import { parseAddress } from "./prefix.js";

const IPV4_SIZE = 20;
const IPV6_SIZE = 40;
const UDP_SIZE = 8;
const ECHO_SIZE = 8;
const TTL = 64;
const PROTOCOL_ICMP = 1;
const PROTOCOL_UDP = 17;
const PROTOCOL_ICMPV6 = 58;
const DONT_FRAGMENT = 0x4000;
const ECHO = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;

/** What a reply says: who answered which question. */
export interface ProbeReply {
  sequence: number;
  /** Overlay address it came from, as a number with its family. */
  source: { family: 4 | 6; value: bigint };
  /** Bytes of inner packet that the answerer sends us at most; null or absent: it does not say. */
  mtu?: number | null;
}

/** Ones' complement sum of RFC 1071 over big-endian words, not yet complemented. */
function sum(bytes: Uint8Array, initial: number): number {
  let total = initial;
  for (let at = 0; at < bytes.length; at += 2) {
    total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  }
  while (total > 0xffff) {
    total = (total & 0xffff) + (total >>> 16);
  }
  return total;
}

function writeAddress(bytes: Uint8Array, at: number, family: 4 | 6, value: bigint): void {
  const size = family === 4 ? 4 : 16;
  for (let i = 0; i < size; i++) {
    bytes[at + i] = Number((value >> BigInt(8 * (size - 1 - i))) & 255n);
  }
}

function readAddress(bytes: Uint8Array, at: number, family: 4 | 6): bigint {
  const size = family === 4 ? 4 : 16;
  return bytes.subarray(at, at + size).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

interface Ends {
  family: 4 | 6;
  source: bigint;
  destination: bigint;
}

function endsOf(source: string, destination: string): Ends | null {
  const from = parseAddress(source);
  const to = parseAddress(destination);
  if (from === undefined || to === undefined || from.family !== to.family) {
    return null;
  }
  return { family: from.family, source: from.value, destination: to.value };
}

function packet4(ends: Ends, protocol: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(IPV4_SIZE + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x45);
  view.setUint16(2, bytes.length);
  view.setUint16(6, DONT_FRAGMENT);
  view.setUint8(8, TTL);
  view.setUint8(9, protocol);
  writeAddress(bytes, 12, 4, ends.source);
  writeAddress(bytes, 16, 4, ends.destination);
  view.setUint16(10, ~sum(bytes.subarray(0, IPV4_SIZE), 0) & 0xffff);
  bytes.set(payload, IPV4_SIZE);
  return bytes;
}

function packet6(ends: Ends, protocol: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(IPV6_SIZE + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, payload.length);
  view.setUint8(6, protocol);
  view.setUint8(7, TTL);
  writeAddress(bytes, 8, 6, ends.source);
  writeAddress(bytes, 24, 6, ends.destination);
  bytes.set(payload, IPV6_SIZE);
  return bytes;
}

function packet(ends: Ends, protocol: number, payload: Uint8Array): Uint8Array {
  return ends.family === 4 ? packet4(ends, protocol, payload) : packet6(ends, protocol, payload);
}

/** Sum over the pseudo header of RFC 768 and RFC 8200 section 8.1. */
function pseudoSum(ends: Ends, protocol: number, length: number): number {
  const size = ends.family === 4 ? 4 : 16;
  const addresses = new Uint8Array(2 * size);
  writeAddress(addresses, 0, ends.family, ends.source);
  writeAddress(addresses, size, ends.family, ends.destination);
  return sum(addresses, protocol + length);
}

/**
 * A probe request of `size` payload bytes (at least PROBE_SIZE), or null when the two addresses are
 * not of one family. `sequence` is a u32; `said` tells how long the asked was not heard
 * (PROBE_HEARD_*), 0: nothing of it.
 */
export function encodeProbe(
  source: string,
  destination: string,
  sequence: number,
  { size = PROBE_SIZE, said = 0 } = {},
): Uint8Array | null {
  const ends = endsOf(source, destination);
  if (ends === null) {
    return null;
  }
  const udp = new Uint8Array(UDP_SIZE + Math.max(size, PROBE_SIZE));
  const view = new DataView(udp.buffer);
  view.setUint16(0, PROBE_PORT);
  view.setUint16(2, PROBE_PORT);
  view.setUint16(4, udp.length);
  view.setUint32(UDP_SIZE + PROBE_MAGIC_AT, PROBE_MAGIC);
  view.setUint8(UDP_SIZE + PROBE_KIND_AT, PROBE_REQUEST);
  view.setUint8(UDP_SIZE + PROBE_HEARD_AT, said);
  view.setUint32(UDP_SIZE + PROBE_SEQUENCE_AT, sequence);
  const total = ~sum(udp, pseudoSum(ends, PROTOCOL_UDP, udp.length)) & 0xffff;
  // Zero means "no checksum" in UDP; its other form stands for it.
  view.setUint16(6, total === 0 ? 0xffff : total);
  return packet(ends, PROTOCOL_UDP, udp);
}

/**
 * An ICMP or ICMPv6 echo request with PROBE_ICMP_ID and `size` bytes of data (at least PROBE_SIZE);
 * `sequence` is cut to 16 bits.
 */
export function encodeEcho(
  source: string,
  destination: string,
  sequence: number,
  size = PROBE_SIZE,
): Uint8Array | null {
  const ends = endsOf(source, destination);
  if (ends === null) {
    return null;
  }
  const echo = new Uint8Array(ECHO_SIZE + Math.max(size, PROBE_SIZE));
  const view = new DataView(echo.buffer);
  view.setUint8(0, ECHO[ends.family].request);
  view.setUint16(4, PROBE_ICMP_ID);
  view.setUint16(6, sequence & 0xffff);
  const protocol = ends.family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  const initial = ends.family === 4 ? 0 : pseudoSum(ends, protocol, echo.length);
  view.setUint16(2, ~sum(echo, initial) & 0xffff);
  return packet(ends, protocol, echo);
}

/**
 * A probe or an echo request that is an inner packet of `size` bytes, or as small as can be; null
 * as for `encodeProbe`.
 */
export function encodeSized(
  kind: "probe" | "echo",
  ends: { source: string; destination: string },
  sequence: number,
  size: number,
): Uint8Array | null {
  const ip = parseAddress(ends.destination)?.family === 6 ? IPV6_SIZE : IPV4_SIZE;
  const { source, destination } = ends;
  const payload = size - ip - UDP_SIZE;
  if (kind === "echo") return encodeEcho(source, destination, sequence, payload);
  return encodeProbe(source, destination, sequence, { size: payload });
}

/** Where the payload begins and which protocol it is; null for anything we would not have sent. */
function split(bytes: Uint8Array): { family: 4 | 6; protocol: number; payload: DataView } | null {
  const version = (bytes[0] ?? 0) >> 4;
  const four = version === 4;
  const start = four ? ((bytes[0] ?? 0) & 15) * 4 : IPV6_SIZE;
  if ((!four && version !== 6) || start < IPV4_SIZE || bytes.length < start + ECHO_SIZE) {
    return null;
  }
  const protocol = bytes[four ? 9 : 6] ?? 0;
  const payload = new DataView(bytes.buffer, bytes.byteOffset + start, bytes.length - start);
  return { family: four ? 4 : 6, protocol, payload };
}

type Said = Omit<ProbeReply, "source">;

function ofUdp(payload: DataView): Said | null {
  const isProbe =
    payload.byteLength >= UDP_SIZE + PROBE_SIZE &&
    payload.getUint16(0) === PROBE_PORT &&
    payload.getUint32(UDP_SIZE + PROBE_MAGIC_AT) === PROBE_MAGIC &&
    payload.getUint8(UDP_SIZE + PROBE_KIND_AT) === PROBE_REPLY;
  if (!isProbe) {
    return null;
  }
  const sequence = payload.getUint32(UDP_SIZE + PROBE_SEQUENCE_AT);
  return { sequence, mtu: payload.getUint16(UDP_SIZE + PROBE_MTU_AT) || null };
}

function ofEcho(payload: DataView, family: 4 | 6): Said | null {
  const isReply =
    payload.getUint8(0) === ECHO[family].reply && payload.getUint16(4) === PROBE_ICMP_ID;
  return isReply ? { sequence: payload.getUint16(6), mtu: null } : null;
}

/** Reads a punted packet; null when it is no answer to a probe. Never throws. */
export function decodeReply(bytes: Uint8Array): ProbeReply | null {
  const parts = split(bytes);
  if (parts === null) {
    return null;
  }
  const { family, protocol, payload } = parts;
  const echo = family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  let said: Said | null = null;
  if (protocol === PROTOCOL_UDP) {
    said = ofUdp(payload);
  } else if (protocol === echo) {
    said = ofEcho(payload, family);
  }
  const at = family === 4 ? 12 : 8;
  const source = { family, value: readAddress(bytes, at, family) };
  return said === null ? null : { ...said, source };
}
